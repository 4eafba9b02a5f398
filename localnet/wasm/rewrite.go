package wasm

import (
	"strconv"
	"strings"
)

// Names that rewriting adds. A module that uses the prefix itself is refused.
const (
	reserved       = "icrelay:"
	exportFuel     = reserved + "fuel"
	exportPages    = reserved + "pages"
	exportMemory   = reserved + "memory"
	exportGlobal   = reserved + "global"
	exportGrow     = reserved + "grow"
	exportCards    = reserved + "cards"
	exportCallback = reserved + "callback"
	exportStart    = reserved + "start"
	hostModule     = "icrelay"
	hostRefuel     = "refuel"
	hostGrow       = "grow"
)

// rewritten is a module ready to be compiled, and what was found on the way.
type rewritten struct {
	info        Info
	binary      []byte
	globals     []int       // indices of the mutable globals, each exported as exportGlobal+index
	globalTypes []ValueType // of these
	memory      bool
	table       bool
	start       bool
	// cards: stores are marked (rewrite64.go).
	cards bool
	// impure modules change tables while they run. As the Internet Computer sets
	// up a fresh instance for each message, such changes must not outlast one.
	impure bool
}

// rewrite parses a module and gives it the exports, the counters and the
// trampoline that the package documentation lists. Its memory may grow to maxPages.
func rewrite(binary []byte, maxPages uint64) (*rewritten, error) {
	p, err := parse(binary)
	if err != nil {
		return nil, err
	}
	if p.info.Memory64 {
		return nil, &Module64Error{}
	}
	return p.rewrite(len(binary), maxPages)
}

// rewrite does the work of the functions rewrite and rewrite64 for a module of the given size.
func (p *parsed) rewrite(size int, maxPages uint64) (*rewritten, error) {
	if p.memory != nil {
		if p.memory.min > maxPages {
			return nil, invalid("the module's memory starts with %d pages, at most %d are allowed", p.memory.min, maxPages)
		}
		p.memory.max, p.memory.hasMax = min(p.memory.max, maxPages), true
	}
	for _, e := range p.info.Exports {
		if strings.HasPrefix(e.Name, reserved) {
			return nil, invalid("export name %q is reserved", e.Name)
		}
	}
	w := &writer{
		parsed:  p,
		out:     append(make([]byte, 0, size+size/4), magic[:]...),
		own:     uint32(len(p.imports)), // #nosec G115 -- bounded by the size of the module
		fuel:    uint32(len(p.globals)), // #nosec G115 -- at most maxGlobals
		typBase: uint32(len(p.types)),   // #nosec G115 -- at most maxTypes
		wide:    p.info.Memory64,
		address: I32,
	}
	w.next = w.own + 1 + uint32(len(p.funcs)) // #nosec G115 -- at most maxFunctions
	w.pages = w.fuel + 1
	if w.wide {
		w.address = I64
		w.grow, w.mark = w.own, w.next
		w.cardPages = cardPages(w.memory.max)
	} else {
		w.grow = w.next
	}
	return w.module()
}

// writer assembles the rewritten module.
type writer struct {
	*parsed
	out []byte

	typBase uint32 // of the added types
	own     uint32 // function: the import added, refuel (the budget is used up) or with a 64-bit memory grow
	grow    uint32 // function: memory.grow
	mark    uint32 // function: marks a range of memory, with a 64-bit memory
	next    uint32 // first function behind the module's own
	fuel    uint32 // global: what is left of the slice, or with a 64-bit memory of the budget, i64
	pages   uint32 // global: pages of memory in use, of the address type
	impure  bool

	wide      bool // a 64-bit memory
	address   ValueType
	cardPages uint64
	unmarked  bool // there are stores that nobody marks
}

// The added types, behind the module's own.
const (
	typeVoid = iota
	typeGrow
	typeCallback
	typeEntry
	addedTypes
	typeMark = typeCallback
)

func (w *writer) section(id byte, content []byte) {
	w.out = append(w.out, id)
	w.out = appendU32(w.out, uint32(len(content))) // #nosec G115 -- bounded by the size of the module
	w.out = append(w.out, content...)
}

func (w *writer) module() (*rewritten, error) {
	res := &rewritten{
		memory: w.memory != nil,
		table:  len(w.tables) > 0 && ValueType(w.tables[0][0]) == FuncRef,
		start:  w.start != nil,
	}
	w.section(1, w.typeContent())
	w.section(2, w.importContent())
	w.section(3, w.functionContent(res))
	if len(w.tables) > 0 {
		b := appendU32(nil, uint32(len(w.tables))) // #nosec G115 -- at most 100
		for _, t := range w.tables {
			b = append(b, t...)
		}
		w.section(4, b)
	}
	if w.memory != nil {
		w.section(5, w.memoryContent())
	}
	w.section(6, w.globalContent(res))
	w.section(7, w.exportContent(res))
	if len(w.elems) > 0 {
		w.section(9, w.elementContent())
	}
	if w.dataN != nil {
		w.section(12, appendU32(nil, *w.dataN))
	}
	code, err := w.codeContent(res)
	if err != nil {
		return nil, err
	}
	w.section(10, code)
	if w.data != nil {
		w.section(11, w.data)
	}
	res.binary = w.out
	res.info = w.info
	res.impure = w.impure
	res.cards = w.wide && !w.unmarked
	return res, nil
}

func (w *writer) typeContent() []byte {
	b := appendU32(nil, w.typBase+addedTypes)
	for _, t := range w.rawTypes {
		b = append(b, t...)
	}
	addr := byte(w.address)
	b = append(b, 0x60, 0, 0)             // typeVoid
	b = append(b, 0x60, 1, addr, 1, addr) // typeGrow
	b = append(b, 0x60, 2, addr, addr, 0) // typeCallback and typeMark
	return append(b, 0x60, 1, addr, 0)    // typeEntry
}

func (w *writer) importContent() []byte {
	b := appendU32(nil, w.own+1)
	for i, im := range w.info.Imports {
		b = appendName(b, im.Module)
		b = appendName(b, im.Name)
		b = append(b, byte(KindFunc))
		b = appendU32(b, w.imports[i])
	}
	name, typ := hostRefuel, w.typBase+typeVoid
	if w.wide {
		name, typ = hostGrow, w.typBase+typeGrow
	}
	b = appendName(b, hostModule)
	b = appendName(b, name)
	b = append(b, byte(KindFunc))
	return appendU32(b, typ)
}

// added counts the functions that rewriting appends.
func (res *rewritten) added() uint32 {
	var n uint32
	if res.memory {
		n++
	}
	if res.table {
		n++
	}
	return n
}

func (w *writer) functionContent(res *rewritten) []byte {
	b := appendU32(nil, uint32(len(w.funcs))+res.added()) // #nosec G115 -- at most maxFunctions
	for _, t := range w.funcs {
		b = appendU32(b, t)
	}
	if w.wide {
		b = appendU32(b, w.typBase+typeMark)
	} else if res.memory {
		b = appendU32(b, w.typBase+typeGrow)
	}
	if res.table {
		b = appendU32(b, w.typBase+typeCallback)
	}
	return b
}

func (w *writer) globalContent(res *rewritten) []byte {
	n := w.fuel + 1
	if res.memory {
		n++
	}
	b := appendU32(nil, n)
	for i, g := range w.globals {
		m := byte(0)
		if g.mutable {
			m = 1
			res.globals = append(res.globals, i)
			res.globalTypes = append(res.globalTypes, g.typ)
		}
		b = append(b, byte(g.typ), m)
		b = append(b, g.init...)
	}
	b = append(b, byte(I64), 1, opI64Const, 0, opEnd)
	if res.memory {
		op := byte(opI32Const)
		if w.wide {
			op = opI64Const
		}
		b = append(b, byte(w.address), 1, op)
		b = appendS64(b, int64(w.memory.min)) // #nosec G115 -- at most 65536
		b = append(b, opEnd)
	}
	return b
}

func (w *writer) exportContent(res *rewritten) []byte {
	var b []byte
	var n uint32
	add := func(name string, kind Kind, index uint32) {
		n++
		b = appendName(b, name)
		b = append(b, byte(kind))
		b = appendU32(b, index)
	}
	for _, e := range w.info.Exports {
		index := e.Index
		if e.Kind == KindFunc {
			index = w.moved(index)
		}
		add(e.Name, e.Kind, index)
	}
	for _, g := range res.globals {
		add(exportGlobal+strconv.Itoa(g), KindGlobal, uint32(g)) // #nosec G115 -- at most maxGlobals
	}
	next := w.next
	add(exportFuel, KindGlobal, w.fuel)
	if w.wide {
		add(exportCards, KindMemory, 1)
		next++
	}
	if res.memory {
		add(exportPages, KindGlobal, w.pages)
		add(exportMemory, KindMemory, 0)
	}
	if res.memory && !w.wide {
		add(exportGrow, KindFunc, next)
		next++
	}
	if res.table {
		add(exportCallback, KindFunc, next)
	}
	if w.start != nil {
		add(exportStart, KindFunc, w.moved(*w.start))
	}
	return append(appendU32(nil, n), b...)
}

func (w *writer) elementContent() []byte {
	b := appendU32(nil, uint32(len(w.elems))) // #nosec G115 -- bounded by the size of the module
	for _, e := range w.elems {
		b = appendU32(b, e.flags)
		if e.flags&1 == 0 {
			if e.flags&2 != 0 {
				b = appendU32(b, e.table)
			}
			b = append(b, e.offset...)
		}
		if e.flags&3 != 0 {
			b = append(b, e.kind)
		}
		b = appendU32(b, uint32(len(e.funcs)+len(e.exprs))) // #nosec G115 -- bounded by the size of the module
		for _, f := range e.funcs {
			b = appendU32(b, w.moved(f))
		}
		for _, x := range e.exprs {
			b = append(b, x...)
		}
	}
	return b
}

func (w *writer) codeContent(res *rewritten) ([]byte, error) {
	b := appendU32(nil, uint32(len(w.bodies))+res.added()) // #nosec G115 -- at most maxFunctions
	m := meter{writer: w}
	for i, raw := range w.bodies {
		code, err := m.function(raw, len(w.types[w.funcs[i]].Params))
		if err != nil {
			return nil, err
		}
		b = appendU32(b, uint32(len(code))) // #nosec G115 -- bounded by the size of the module
		b = append(b, code...)
	}
	add := func(code []byte) {
		b = appendU32(b, uint32(len(code))) // #nosec G115 -- a few bytes
		b = append(b, code...)
	}
	if w.wide {
		add(w.markCode())
	} else if res.memory {
		add(w.growCode())
	}
	if res.table {
		c := []byte{0, opLocalGet, 1, opLocalGet, 0}
		if w.wide && !w.tables64[0] {
			c = append(c, opI32WrapI64)
		}
		c = append(c, opCallIndirect)
		c = appendU32(c, w.typBase+typeEntry)
		add(append(c, 0, opEnd))
	}
	return b, nil
}

func (w *writer) memoryContent() []byte {
	if w.wide {
		return w.memories64()
	}
	b := appendU32([]byte{1, 1}, uint32(w.memory.min)) // #nosec G115 -- at most 65536
	return appendU32(b, uint32(w.memory.max))          // #nosec G115 -- at most 65536
}

// growCode is the body of what memory.grow becomes: it hands out pages that the
// engine's memory has already, zeroed, before it asks for more. The number of
// pages in use is an ordinary global, so that a rollback can lower it.
func (w *writer) growCode() []byte {
	const delta, old, need, size = 0, 1, 2, 3
	c := []byte{1, 3, byte(I32)}
	fail := []byte{opI32Const, 0x7f, opReturn, opEnd}

	c = append(c, opGlobalGet)
	c = appendU32(c, w.pages)
	c = append(c, opLocalTee, old, opLocalGet, delta, opI32Add, opLocalTee, need)
	c = append(c, opLocalGet, old, opI32LtU, opIf, blockVoid) // wrapped around
	c = append(c, fail...)

	c = append(c, opMemorySize, 0, opLocalTee, size, opLocalGet, need, opI32LtU, opIf, blockVoid)
	c = append(c, opLocalGet, need, opLocalGet, size, opI32Sub, opMemoryGrow, 0)
	c = append(c, opI32Const, 0x7f, opI32Eq, opIf, blockVoid)
	c = append(c, fail...)
	c = append(c, opEnd)

	// Zero what is handed out again: [old, min(need, size)).
	c = append(c, opLocalGet, size, opLocalGet, old, opI32GtU, opIf, blockVoid)
	c = append(c, opLocalGet, old, opI32Const, 16, opI32Shl, opI32Const, 0)
	c = append(c, opLocalGet, need, opLocalGet, size, opLocalGet, need, opLocalGet, size, opI32LtU, opSelect)
	c = append(c, opLocalGet, old, opI32Sub, opI32Const, 16, opI32Shl, opPrefixFC, fcMemoryFill, 0)
	c = append(c, opEnd)

	// New pages are work too: an eighth of an instruction for each byte.
	c = append(c, opGlobalGet)
	c = appendU32(c, w.fuel)
	c = append(c, opLocalGet, delta, opI64ExtendI32U, opI64Const, 13, opI64Shl, opI64Sub, opGlobalSet)
	c = appendU32(c, w.fuel)

	c = append(c, opLocalGet, need, opGlobalSet)
	c = appendU32(c, w.pages)
	return append(c, opLocalGet, old, opEnd)
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
