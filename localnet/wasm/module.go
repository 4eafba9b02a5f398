package wasm

import (
	"crypto/sha256"
	"slices"
)

// ValueType is a WebAssembly value type by its code in the binary format.
type ValueType byte

// The value types.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return "unknown"
}

// PageSize is the size of a page of linear memory in bytes.
const PageSize = 1 << 16

// Bounds of what is accepted. The numbers that a canister author can meet are
// those of the interface specification, "WebAssembly module requirements".
const (
	MaxModuleSize   = 100 << 20 // bytes, after decompression
	maxFunctions    = 50_000
	maxGlobals      = 1_000
	maxCodeSize     = 10 << 20
	maxFunctionSize = 1_000_000 // instructions
	maxTableSize    = 1_000_000 // entries of all tables at instantiation
	maxLocals       = 50_000
	maxTypes        = 100_000
	maxNesting      = 10_000 // blocks within blocks
)

// FuncType is the type of a function.
type FuncType struct{ Params, Results []ValueType }

// Import is an imported function; nothing else can be imported.
type Import struct {
	Module, Name string
	Type         FuncType
}

// Kind is what an export names.
type Kind byte

// The kinds of exports.
const (
	KindFunc   Kind = 0
	KindTable  Kind = 1
	KindMemory Kind = 2
	KindGlobal Kind = 3
)

// Export is one export. Type is set for functions.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32
	Type  FuncType
}

// CustomSection is a custom section, with its content as it stood in the module.
type CustomSection struct {
	Name    string
	Content []byte
}

// Info is what a module says about itself.
type Info struct {
	Hash     [32]byte // SHA-256 of the module (decompressed)
	Imports  []Import
	Exports  []Export
	Custom   []CustomSection
	MinPages uint64 // of the memory, 0 without one
	MaxPages uint64
	Memory64 bool
	HasStart bool
	Globals  int // declared globals
}

// Module64Error reports a module that addresses its memory with 64 bits, which
// this build cannot run. Its text is for the person who built the module.
type Module64Error struct{}

func (*Module64Error) Error() string {
	return "the module has a 64-bit memory (wasm64), which this build cannot run. " +
		"Either compile the canister for 32 bits: moc --legacy-persistence, or with the npm package motoko compiler.gcFlags('classicOP'). " +
		"Or build this program with -tags wasm64, which needs cgo (CGO_ENABLED=1 and a C compiler)"
}

type limits struct {
	min, max uint64
	hasMax   bool
}

type global struct {
	typ     ValueType
	mutable bool
	init    []byte
}

// parsed is a module taken apart as far as rewriting needs it.
type parsed struct {
	info     Info
	types    []FuncType
	rawTypes [][]byte
	imports  []uint32 // type indices
	funcs    []uint32 // type indices
	tables   [][]byte
	tables64 []bool // which have 64-bit indices
	memory   *limits
	globals  []global
	start    *uint32
	elems    []elem
	dataN    *uint32
	bodies   []body
	data     []byte // section content
}

type body struct {
	code []byte
	base int
}

// elem is an element segment, in parts that either name functions or do not.
type elem struct {
	flags  uint32
	table  uint32
	offset []byte
	kind   byte
	funcs  []uint32
	exprs  [][]byte
}

var magic = [8]byte{0, 'a', 's', 'm', 1, 0, 0, 0}

// sectionOrder gives the place of each known section; the data count section
// (12) stands before the code (core specification, "Modules").
var sectionOrder = [13]int{0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 12: 10, 10: 11, 11: 12}

// Parse reads what a module says about itself and checks its structure as far
// as the package relies on it. The instructions are checked when it is compiled.
func Parse(binary []byte) (*Info, error) {
	p, err := parse(binary)
	if err != nil {
		return nil, err
	}
	return &p.info, nil
}

func parse(binary []byte) (*parsed, error) {
	if len(binary) > MaxModuleSize {
		return nil, invalid("Wasm module size of %d exceeds the maximum allowed size of %d", len(binary), MaxModuleSize)
	}
	if len(binary) < len(magic) || [8]byte(binary[:8]) != magic {
		return nil, invalid("the magic header and version of a Wasm module are missing")
	}
	p := &parsed{}
	p.info.Hash = sha256.Sum256(binary)
	r := &reader{b: binary, off: 8}
	last := 0
	for r.more() {
		id := r.byte()
		size := r.u32()
		base := r.off
		s := &reader{b: r.bytes(size), base: base, memory64: p.info.Memory64}
		if r.err != nil {
			break
		}
		if id != 0 {
			if int(id) >= len(sectionOrder) {
				return nil, invalid("unknown section %d (at offset 0x%x)", id, base)
			}
			if sectionOrder[id] <= last {
				return nil, invalid("section %d is out of order or stands twice (at offset 0x%x)", id, base)
			}
			last = sectionOrder[id]
		}
		p.section(id, s)
		if s.err == nil && s.off != len(s.b) {
			s.fail("section %d is longer than its content", id)
		}
		if s.err != nil {
			return nil, s.err
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return p, p.finish()
}

func (p *parsed) section(id byte, s *reader) {
	switch id {
	case 0:
		name := s.name()
		p.info.Custom = append(p.info.Custom, CustomSection{Name: name, Content: s.b[s.off:]})
		s.off = len(s.b)
	case 1:
		p.typeSection(s)
	case 2:
		p.importSection(s)
	case 3:
		p.functionSection(s)
	case 4:
		p.tableSection(s)
	case 5:
		p.memorySection(s)
	case 6:
		p.globalSection(s)
	case 7:
		p.exportSection(s)
	case 8:
		f := s.u32()
		p.start = &f
	case 9:
		p.elementSection(s)
	case 10:
		p.codeSection(s)
	case 11:
		p.dataSection(s)
	case 12:
		n := s.u32()
		p.dataN = &n
	}
}

func (p *parsed) typeSection(s *reader) {
	n := s.count()
	if n > maxTypes {
		s.fail("%d types, at most %d are allowed", n, maxTypes)
		return
	}
	for i := uint32(0); i < n && s.err == nil; i++ {
		from := s.off
		if form := s.byte(); form != 0x60 && s.err == nil {
			s.fail("type form 0x%x is not supported", form)
			return
		}
		t := FuncType{Params: s.valueTypes(), Results: s.valueTypes()}
		if s.err == nil {
			p.types = append(p.types, t)
			p.rawTypes = append(p.rawTypes, s.b[from:s.off])
		}
	}
}

func (r *reader) valueTypes() []ValueType {
	n := r.count()
	if n > 1000 {
		r.fail("a function type of %d values, at most 1000 are allowed", n)
		return nil
	}
	ts := make([]ValueType, 0, n)
	for i := uint32(0); i < n && r.err == nil; i++ {
		ts = append(ts, r.valueType())
	}
	return ts
}

func (r *reader) valueType() ValueType {
	t := ValueType(r.byte())
	switch t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return t
	}
	r.fail("invalid value type 0x%x", byte(t))
	return 0
}

func (p *parsed) importSection(s *reader) {
	n := s.count()
	for i := uint32(0); i < n && s.err == nil; i++ {
		im := Import{Module: s.name(), Name: s.name()}
		kind := s.byte()
		if s.err != nil {
			return
		}
		if kind != 0 {
			s.fail("the module imports %q from %q, which is not a function; only functions can be imported", im.Name, im.Module)
			return
		}
		t := s.u32()
		if s.err == nil && int(t) >= len(p.types) {
			s.fail("unknown type %d", t)
		}
		if s.err != nil {
			return
		}
		im.Type = p.types[t]
		p.imports = append(p.imports, t)
		p.info.Imports = append(p.info.Imports, im)
	}
}

func (p *parsed) functionSection(s *reader) {
	n := s.count()
	if n > maxFunctions {
		s.fail("Wasm module defined %d functions, which exceeds the maximum number allowed %d", n, maxFunctions)
		return
	}
	for i := uint32(0); i < n && s.err == nil; i++ {
		t := s.u32()
		if s.err == nil && int(t) >= len(p.types) {
			s.fail("unknown type %d", t)
		}
		p.funcs = append(p.funcs, t)
	}
}

func (p *parsed) tableSection(s *reader) {
	n := s.count()
	entries := uint64(0)
	for i := uint32(0); i < n && s.err == nil; i++ {
		t := ValueType(s.byte())
		if s.err == nil && t != FuncRef && t != ExternRef {
			s.fail("table type 0x%x is not supported", byte(t))
		}
		l, is64 := s.limits()
		p.tables64 = append(p.tables64, is64)
		if entries += l.min; s.err == nil && entries > maxTableSize {
			s.fail("tables of %d entries, at most %d are allowed", entries, maxTableSize)
		}
		p.tables = append(p.tables, appendTable(nil, t, l, is64))
	}
	if len(p.tables) > 100 {
		s.fail("%d tables, at most 100 are allowed", len(p.tables))
	}
}

// limits reads the limits of a table or memory and whether they are of 64 bits.
func (r *reader) limits() (limits, bool) {
	flags := r.byte()
	if r.err == nil && flags&^0x05 != 0 {
		r.fail("limits with flags 0x%x are not supported", flags)
	}
	if r.err != nil {
		return limits{}, false
	}
	is64 := flags&4 != 0
	number := func() uint64 {
		if is64 {
			return r.u64()
		}
		return uint64(r.u32())
	}
	l := limits{min: number()}
	if flags&1 != 0 {
		l.hasMax = true
		l.max = number()
	}
	return l, is64
}

func (p *parsed) memorySection(s *reader) {
	n := s.count()
	if n > 1 {
		s.fail("multiple memories")
		return
	}
	if n == 0 {
		return
	}
	l, is64 := s.limits()
	p.info.Memory64 = is64
	possible := uint64(1 << 16)
	if is64 {
		possible = 1 << 48
	}
	if !l.hasMax {
		l.max = possible
	}
	if s.err == nil && (l.min > possible || l.max > possible || l.min > l.max) {
		s.fail("memory of %d to %d pages, at most %d are possible", l.min, l.max, possible)
	}
	p.memory = &l
	p.info.MinPages, p.info.MaxPages = l.min, l.max
}

func (p *parsed) globalSection(s *reader) {
	n := s.count()
	if n > maxGlobals {
		s.fail("Wasm module defined %d globals which exceeds the maximum number allowed %d", n, maxGlobals)
		return
	}
	for i := uint32(0); i < n && s.err == nil; i++ {
		g := global{typ: s.valueType()}
		switch m := s.byte(); {
		case s.err != nil:
			return
		case m == 1:
			g.mutable = true
			if g.typ == V128 || g.typ == FuncRef || g.typ == ExternRef {
				s.fail("global %d: a mutable global of type %v is not supported", i, g.typ)
				return
			}
		case m != 0:
			s.fail("malformed mutability")
			return
		}
		g.init = p.constExpr(s)
		p.globals = append(p.globals, g)
	}
	p.info.Globals = len(p.globals)
}

// constExpr reads a constant expression and returns it, with the indices of
// functions moved as rewriting needs them. The import section is known by then.
func (p *parsed) constExpr(s *reader) []byte {
	var out []byte
	for s.err == nil {
		from := s.off
		in := s.instruction()
		if s.err != nil {
			return nil
		}
		if in.op == opRefFunc {
			out = appendU32(append(out, opRefFunc), p.moved(in.index))
		} else {
			out = append(out, s.b[from:s.off]...)
		}
		if in.op == opEnd {
			return out
		}
		if in.op == opBlock || in.op == opLoop || in.op == opIf {
			s.fail("constant expression required")
		}
	}
	return nil
}

// moved is the index of a function after rewriting, which puts one import of
// its own behind the module's.
func (p *parsed) moved(f uint32) uint32 {
	if int64(f) >= int64(len(p.imports)) && f < 1<<31 {
		return f + 1
	}
	return f
}

func (p *parsed) exportSection(s *reader) {
	n := s.count()
	seen := make(map[string]bool, min(n, 4096))
	for i := uint32(0); i < n && s.err == nil; i++ {
		e := Export{Name: s.name(), Kind: Kind(s.byte()), Index: s.u32()}
		if s.err != nil {
			return
		}
		if e.Kind > KindGlobal {
			s.fail("export %q is of an unknown kind", e.Name)
			return
		}
		if seen[e.Name] {
			s.fail("duplicate export name %q", e.Name)
			return
		}
		seen[e.Name] = true
		p.info.Exports = append(p.info.Exports, e)
	}
}

func (p *parsed) elementSection(s *reader) {
	n := s.count()
	for i := uint32(0); i < n && s.err == nil; i++ {
		e := elem{flags: s.u32()}
		if e.flags > 7 {
			s.fail("malformed element segment")
			return
		}
		if e.flags&1 == 0 {
			if e.flags&2 != 0 {
				e.table = s.u32()
			}
			e.offset = p.constExpr(s)
		}
		if e.flags&3 != 0 {
			e.kind = s.byte()
		}
		m := s.count()
		for j := uint32(0); j < m && s.err == nil; j++ {
			if e.flags&4 == 0 {
				e.funcs = append(e.funcs, s.u32())
			} else {
				e.exprs = append(e.exprs, p.constExpr(s))
			}
		}
		p.elems = append(p.elems, e)
	}
}

func (p *parsed) codeSection(s *reader) {
	if len(s.b) > maxCodeSize {
		s.fail("Wasm module code section size of %d exceeds the maximum allowed size of %d", len(s.b), maxCodeSize)
		return
	}
	n := s.count()
	for i := uint32(0); i < n && s.err == nil; i++ {
		size := s.u32()
		base := s.base + s.off
		p.bodies = append(p.bodies, body{code: s.bytes(size), base: base})
	}
}

func (p *parsed) finish() error {
	if !p.info.Memory64 && slices.Contains(p.tables64, true) {
		return invalid("a table with 64-bit indices and a 32-bit memory are not supported")
	}
	if len(p.bodies) != len(p.funcs) {
		return invalid("%d functions are declared, %d have a body", len(p.funcs), len(p.bodies))
	}
	for i := range p.info.Exports {
		e := &p.info.Exports[i]
		if e.Kind != KindFunc {
			continue
		}
		t, ok := p.funcType(e.Index)
		if !ok {
			return invalid("export %q names the unknown function %d", e.Name, e.Index)
		}
		e.Type = t
	}
	if p.start != nil {
		t, ok := p.funcType(*p.start)
		if !ok {
			return invalid("the start function %d is unknown", *p.start)
		}
		if len(t.Params)+len(t.Results) > 0 {
			return invalid("the start function must have type () -> ()")
		}
		p.info.HasStart = true
	}
	return nil
}

func (p *parsed) funcType(f uint32) (FuncType, bool) {
	if int64(f) < int64(len(p.imports)) {
		return p.types[p.imports[f]], true
	}
	i := int64(f) - int64(len(p.imports))
	if i >= int64(len(p.funcs)) {
		return FuncType{}, false
	}
	return p.types[p.funcs[i]], true
}
