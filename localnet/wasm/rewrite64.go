package wasm

import "encoding/binary"

// Modules with a 64-bit memory are rewritten differently in three ways.
//
// memory.grow, which is rare, is a host function.
//
// Instructions are counted as the Internet Computer does, with its weights
// (weights64.go): what a basic block costs is taken off the fuel at its beginning,
// and at the beginning of functions and loops the fuel is looked at. What is
// added by rewriting counts for nothing. So performance_counter says what it would
// say there, up to what the documentation of package execution lists.
//
// And stores are marked. The memories that the Motoko compiler's runtime system
// builds up start at four megabytes and go into the hundreds: to compare all of it
// after each message would cost milliseconds. So there is a second memory, the cards, of one byte for each grain of the
// first, and each store sets the byte of the grain where it begins. A store that
// begins in one grain may end in the next, by spill bytes at most; whoever reads the
// cards looks at those, too. Both bounds checks stay the engine's: an address
// outside of the memory marks something or traps, and then the store itself traps.
//
// Stores of the vector instructions are not marked. Modules that have some are
// compared as a whole.
const (
	grainBits = 12
	spill     = 16
)

// rewrite64 is rewrite for modules with a 64-bit memory.
func rewrite64(binary []byte, maxPages uint64) (*rewritten, error) {
	p, err := parse(binary)
	if err != nil {
		return nil, err
	}
	if !p.info.Memory64 {
		return nil, invalid("the module has no 64-bit memory")
	}
	return p.rewrite(len(binary), maxPages)
}

// cardPages is how many pages the cards for so many pages of memory take.
func cardPages(pages uint64) uint64 { return (pages*(PageSize/grain) + PageSize) / PageSize }

func (w *writer) memories64() []byte {
	b := binary.AppendUvarint([]byte{2, 5}, w.memory.min)
	b = binary.AppendUvarint(b, w.memory.max)
	b = append(b, 1)
	b = binary.AppendUvarint(b, w.cardPages)
	return binary.AppendUvarint(b, w.cardPages)
}

// Locals that are added to a function that stores, behind its own.
const (
	localAddress = iota // i64
	localI64
	localMore // i64
	localI32
	localLess // i32
	localF32
	localF64
)

var addedLocals = []byte{3, byte(I64), 2, byte(I32), 1, byte(F32), 1, byte(F64)}

const addedLocalGroups = 4

// storeLocals gives the local for the value of each store instruction from i32.store on.
var storeLocals = [...]uint32{localI32, localI64, localF32, localF64, localI32, localI32, localI64, localI64, localI64}

// markStore writes the code in front of a store, if it is one.
func (m *meter) markStore(in instruction, text []byte, tmp uint32) {
	if in.op == opPrefixFD && (in.sub == fdStore || in.sub >= fdStoreLane && in.sub <= fdStoreLane+3) {
		m.unmarked = true
	}
	if in.op < opI32Store || in.op > opI64Store32 {
		return
	}
	m.marks = true
	value := storeLocals[in.op-opI32Store]
	m.local(opLocalSet, tmp, value)
	m.local(opLocalTee, tmp, localAddress)
	if in.offset != 0 {
		m.code = append(m.code, opI64Const)
		m.code = appendS64(m.code, int64(in.offset)) // #nosec G115 -- the same bits
		m.code = append(m.code, opI64Add)
	}
	m.code = append(m.code, opI64Const, grainBits, opI64ShrU, opI32WrapI64, opI32Const, 1)
	m.code = append(m.code, opI32Store8, 0x40, 1, 0) // in memory 1
	m.local(opLocalGet, tmp, localAddress)
	m.local(opLocalGet, tmp, value)
}

// markBulk writes the code in front of a bulk instruction. Its operands are an
// address, a source or a value, and a length.
func (m *meter) markBulk(sub, tmp uint32) {
	m.marks = true
	source, length := uint32(localMore), uint32(localI64)
	switch sub {
	case fcMemoryFill:
		source = localLess
	case fcMemoryInit:
		source, length = localLess, localI32
	}
	m.local(opLocalSet, tmp, length)
	m.local(opLocalSet, tmp, source)
	m.local(opLocalTee, tmp, localAddress)
	m.local(opLocalGet, tmp, length)
	if length == localI32 {
		m.code = append(m.code, opI64ExtendI32U)
	}
	m.code = append(m.code, opCall)
	m.code = appendU32(m.code, m.mark)
	m.local(opLocalGet, tmp, localAddress)
	m.local(opLocalGet, tmp, source)
	m.local(opLocalGet, tmp, length)
}

func (m *meter) local(op byte, tmp, local uint32) {
	m.code = append(m.code, op)
	m.code = appendU32(m.code, tmp+local)
}

// basicBlock is a stretch of code that runs as a whole.
type basicBlock struct {
	at    int // where it begins in the meter's code
	cost  uint64
	again bool // the code may come back here: a function or a loop
}

func (m *meter) assemble64(groups uint32, declared []byte) []byte {
	out := make([]byte, 0, len(m.code)+len(declared)+16*len(m.blocks)+24)
	if m.marks {
		out = append(appendU32(out, groups+addedLocalGroups), declared...)
		out = append(out, addedLocals...)
	} else {
		out = append(appendU32(out, groups), declared...)
	}
	done := 0
	for _, b := range m.blocks {
		if b.cost == 0 && !b.again {
			continue
		}
		out = append(out, m.code[done:b.at]...)
		done = b.at
		if b.cost > 0 {
			out = append(out, opGlobalGet)
			out = appendU32(out, m.fuel)
			out = append(out, opI64Const)
			out = appendS64(out, int64(b.cost)) // #nosec G115 -- at most maxFunctionSize instructions
			out = append(out, opI64Sub, opGlobalSet)
			out = appendU32(out, m.fuel)
		}
		if b.again {
			out = append(out, opGlobalGet)
			out = appendU32(out, m.fuel)
			out = append(out, opI64Const, 0, opI64LtS, opIf, blockVoid, opI64Const)
			out = appendS64(out, growNothing)
			out = append(out, opCall)
			out = appendU32(out, m.grow)
			out = append(out, opDrop, opEnd)
		}
	}
	return append(out, m.code[done:]...)
}

// growNothing is the argument of the host function grow by which code says that
// its fuel is used up. (There is one import for both, because indices of functions
// have to be moved before it is known how wide the memory is.)
const growNothing = -1

// markCode is the body of the function that marks a range, and takes what a bulk
// instruction costs off the fuel, one for each byte. A range that cannot be one of
// any memory is left to the instruction that it belongs to.
func (w *writer) markCode() []byte {
	const start, length = 0, 1
	c := []byte{0}
	c = append(c, opLocalGet, length, opI64Eqz)
	c = append(c, opLocalGet, start, opLocalGet, length, opI64Or, opI64Const)
	c = appendS64(c, 1<<44)
	c = append(c, opI64GtU, opI32Or, opIf, blockVoid, opReturn, opEnd)

	c = append(c, opGlobalGet)
	c = appendU32(c, w.fuel)
	c = append(c, opLocalGet, length, opI64Sub, opGlobalSet)
	c = appendU32(c, w.fuel)

	c = append(c, opLocalGet, start, opI64Const, grainBits, opI64ShrU, opI32WrapI64, opI32Const, 1)
	c = append(c, opLocalGet, start, opLocalGet, length, opI64Add, opI64Const, 1, opI64Sub, opI64Const, grainBits, opI64ShrU)
	c = append(c, opLocalGet, start, opI64Const, grainBits, opI64ShrU, opI64Sub, opI64Const, 1, opI64Add, opI32WrapI64)
	return append(c, opPrefixFC, fcMemoryFill, 1, opEnd)
}
