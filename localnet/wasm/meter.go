package wasm

// meter rewrites the bodies of functions: it moves function indices, sends
// memory.size and memory.grow through the page counter, and makes the code
// count its instructions.
//
// Counting happens in two places only, so that it stays cheap: a function
// charges the instructions outside its loops when it is entered, a loop those
// of its body on each turn. Branches not taken are counted too: the count is an
// upper bound, but the same for the same work, never decreasing, and no code
// can run on without it. Bulk memory instructions charge by their length.
//
// With a 64-bit memory the counting is exact, and stores are marked (rewrite64.go).
//
// When the slice in the fuel global is used up the code calls refuel, and the
// host decides (Budget). A function that calls nothing only charges: whoever
// runs for long comes through a loop or a call.
type meter struct {
	*writer
	code  []byte
	slots []slot
	scope []int // index into slots for each open block
	// With a 64-bit memory.
	blocks []basicBlock
	marks  bool // the function marks what it stores
}

// slot collects the instructions of one place that charges.
type slot struct {
	at   int // of the padded number in code; -1: the entry of the function
	cost uint64
}

// function returns the size-less new body of one function.
func (m *meter) function(raw body, params int) ([]byte, error) {
	r := &reader{b: raw.code, base: raw.base, memory64: m.wide}
	groups := r.count()
	locals := uint64(params) // #nosec G115 -- at most 1000
	header := r.off
	for i := uint32(0); i < groups && r.err == nil; i++ {
		locals += uint64(r.u32())
		r.valueType()
		if locals > maxLocals {
			r.fail("more than %d locals", maxLocals)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	declared := raw.code[header:r.off]
	tmp := uint32(locals) // #nosec G115 -- at most maxLocals

	m.code = m.code[:0]
	m.slots = append(m.slots[:0], slot{at: -1})
	m.scope = append(m.scope[:0], 0)
	calls, bulk, n := false, false, 0
	m.marks = false
	m.blocks = append(m.blocks[:0], basicBlock{cost: 1, again: true})
	for len(m.scope) > 0 {
		from := r.off
		in := r.instruction()
		if n++; n > maxFunctionSize {
			r.fail("Wasm module contains a function of size %d that exceeds the maximum allowed size of %d", n, maxFunctionSize)
		}
		if r.err != nil {
			return nil, r.err
		}
		text := r.b[from:r.off]
		current := m.scope[len(m.scope)-1]
		m.slots[current].cost++
		if m.wide {
			m.blocks[len(m.blocks)-1].cost += in.weight64()
		}
		switch in.op {
		case opBlock, opIf:
			m.scope = append(m.scope, current)
			m.code = append(m.code, text...)
		case opLoop:
			m.scope = append(m.scope, len(m.slots))
			m.code = append(m.code, text...)
			if m.wide {
				m.slots = append(m.slots, slot{})
			} else {
				m.slots = append(m.slots, slot{at: m.charge(tmp, true)})
			}
		case opEnd:
			m.scope = m.scope[:len(m.scope)-1]
			m.code = append(m.code, text...)
		case opCall, opReturnCall, opRefFunc:
			calls = calls || in.op != opRefFunc
			m.code = append(m.code, in.op)
			m.code = appendU32(m.code, m.moved(in.index))
		case opCallIndirect, opReturnCallIndirect:
			calls = true
			m.code = append(m.code, text...)
		case opMemorySize:
			m.code = append(m.code, opGlobalGet)
			m.code = appendU32(m.code, m.pages)
		case opMemoryGrow:
			m.code = append(m.code, opCall)
			m.code = appendU32(m.code, m.grow)
		case opTableSet:
			m.impure = true
			m.code = append(m.code, text...)
		case opPrefixFC:
			bulk = m.prefixFC(in.sub, text, tmp) || bulk
		default:
			if m.wide {
				m.markStore(in, text, tmp)
			}
			m.code = append(m.code, text...)
		}
		if (in.op == opMemorySize || in.op == opMemoryGrow) && m.memory == nil {
			r.fail("unknown memory 0")
		}
		if m.wide && in.endsBlock() {
			m.blocks = append(m.blocks, basicBlock{at: len(m.code), again: in.op == opLoop})
		}
		if len(m.scope) > maxNesting {
			r.fail("blocks are nested deeper than %d", maxNesting)
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	if r.more() {
		r.fail("instructions behind the end of the function")
		return nil, r.err
	}
	if m.wide {
		return m.assemble64(groups, declared), nil
	}
	return m.assemble(groups, declared, tmp, calls, bulk), nil
}

func (m *meter) assemble(groups uint32, declared []byte, tmp uint32, calls, bulk bool) []byte {
	for _, s := range m.slots[1:] {
		setPadded(m.code[s.at:s.at+paddedLen], s.cost)
	}
	code := m.code
	m.code = make([]byte, 0, len(code)+len(declared)+48)
	groups++
	if bulk {
		groups++
	}
	m.code = appendU32(m.code, groups)
	m.code = append(m.code, declared...)
	m.code = append(m.code, 1, byte(I64))
	if bulk {
		m.code = append(m.code, 1, byte(I32))
	}
	at := m.charge(tmp, calls)
	setPadded(m.code[at:at+paddedLen], m.slots[0].cost)
	out := append(m.code, code...)
	m.code = code
	return out
}

// charge appends the code that takes a padded number off the fuel, and returns
// where the number stands. With check it calls refuel when none is left.
func (m *meter) charge(tmp uint32, check bool) (at int) {
	c := append(m.code, opGlobalGet)
	c = appendU32(c, m.fuel)
	c = append(c, opI64Const)
	at = len(c)
	c = append(appendPadded(c), opI64Sub)
	m.code = m.store(c, tmp, check)
	return at
}

// store appends the code that stores the fuel computed on the stack.
func (m *meter) store(c []byte, tmp uint32, check bool) []byte {
	if !check {
		c = append(c, opGlobalSet)
		return appendU32(c, m.fuel)
	}
	c = append(c, opLocalTee)
	c = appendU32(c, tmp)
	c = append(c, opGlobalSet)
	c = appendU32(c, m.fuel)
	c = append(c, opLocalGet)
	c = appendU32(c, tmp)
	c = append(c, opI64Const, 0, opI64LtS, opIf, blockVoid, opCall)
	c = appendU32(c, m.own)
	return append(c, opEnd)
}

// prefixFC rewrites the instructions behind the prefix 0xfc and reports whether
// the function needs the second local.
func (m *meter) prefixFC(sub uint32, text []byte, tmp uint32) bool {
	switch sub {
	case fcDataDrop, fcElemDrop:
		// Each message starts from the segments of the module, dropped or not.
		return false
	case fcTableInit, fcTableCopy, fcTableGrow, fcTableFill:
		m.impure = true
	case fcMemoryInit, fcMemoryCopy, fcMemoryFill:
		if m.wide {
			m.markBulk(sub, tmp)
			break
		}
		// The length is on top of the stack.
		c := append(m.code, opLocalTee)
		c = appendU32(c, tmp+1)
		c = append(c, opGlobalGet)
		c = appendU32(c, m.fuel)
		c = append(c, opLocalGet)
		c = appendU32(c, tmp+1)
		c = append(c, opI64ExtendI32U, opI64Const, 3, opI64ShrU, opI64Sub)
		c = m.store(c, tmp, true)
		m.code = append(c, text...)
		return true
	}
	m.code = append(m.code, text...)
	return false
}
