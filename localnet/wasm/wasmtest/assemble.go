// Package wasmtest assembles small WebAssembly modules for tests.
//
// The text is one item a line, without nesting; ";" starts a comment:
//
//	import ic0 msg_reply () ()        functions come first
//	memory 1 4                        minimum, optional maximum; memory64 makes memory and tables 64-bit
//	table 3
//	global $n i32 mut 0
//	data 16 "hello\n"
//	passive "text"                    a data segment for memory.init
//	elem 0 $f $g
//	start $f
//	export $f "canister_update f"     memory, table and globals by their kind: export memory "m"
//	func $f (i32 i64) (i32)           parameters and results
//	locals i32 i64
//	  local.get 0
//	  call $g
//	end
//
// Instructions take numbers, names of functions and globals, and labels by
// their depth. Blocks are ended by their own "end".
package wasmtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

type section struct {
	n    uint32
	body []byte
}

type assembler struct {
	types     map[string]uint32
	sections  [12]section
	functions map[string]uint32
	globals   map[string]uint32
	imports   uint32
	nfuncs    uint32
	bodies    []*function
	body      *function
	depth     int
	fixups    []func()
	wide      bool // memory64
}

type function struct {
	locals []byte
	groups uint32
	lines  [][]string
}

// Assemble returns the module. It panics on a mistake in the text: that is one in the test.
func Assemble(text string) []byte {
	a := &assembler{types: map[string]uint32{}, functions: map[string]uint32{}, globals: map[string]uint32{}}
	for n, line := range strings.Split(text, "\n") {
		words := split(line)
		if len(words) == 0 {
			continue
		}
		func() {
			defer func() {
				if r := recover(); r != nil {
					panic(fmt.Sprintf("line %d: %q: %v", n+1, line, r))
				}
			}()
			a.line(words)
		}()
	}
	for _, f := range a.fixups {
		f()
	}
	return a.module()
}

// split cuts a line at spaces, keeping quoted text and parenthesised lists whole.
func split(line string) []string {
	var out []string
	for {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == ';':
			return out
		case line[0] == '"':
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				panic(err)
			}
			s, _ := strconv.Unquote(q)
			out, line = append(out, s), line[len(q):]
		case line[0] == '(':
			i := strings.IndexByte(line, ')')
			out, line = append(out, line[1:i]), line[i+1:]
		default:
			i := strings.IndexAny(line, " \t")
			if i < 0 {
				i = len(line)
			}
			out, line = append(out, line[:i]), line[i:]
		}
	}
}

var valueTypes = map[string]byte{"i32": 0x7f, "i64": 0x7e, "f32": 0x7d, "f64": 0x7c, "v128": 0x7b, "funcref": 0x70, "externref": 0x6f}

func types(list string) []byte {
	names := strings.Fields(list)
	b := u32(nil, len(names))
	for _, n := range names {
		t, ok := valueTypes[n]
		if !ok {
			panic("unknown type " + n)
		}
		b = append(b, t)
	}
	return b
}

func (a *assembler) typeIndex(params, results string) uint32 {
	t := string(append(append([]byte{0x60}, types(params)...), types(results)...))
	i, ok := a.types[t]
	if !ok {
		i = uint32(len(a.types)) // #nosec G115 -- a handful
		a.types[t] = i
		a.sections[1].n++
		a.sections[1].body = append(a.sections[1].body, t...)
	}
	return i
}

func u32[T int | uint32 | uint64](b []byte, v T) []byte { return binary.AppendUvarint(b, uint64(v)) }

func s64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func number(s string) int64 {
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		u, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			panic("not a number: " + s)
		}
		return int64(u) // #nosec G115 -- the same bits
	}
	return v
}

func unsigned(v int64) uint64 { return uint64(v) } // #nosec G115 -- the same bits

// narrow is v as the signed value of its lower 32 bits.
func narrow(v int64) int64 { return int64(int32(v)) } // #nosec G115 -- meant

func str(b []byte, s string) []byte { return append(u32(b, len(s)), s...) }

func (a *assembler) add(section int, item []byte) {
	a.sections[section].n++
	a.sections[section].body = append(a.sections[section].body, item...)
}

func (a *assembler) line(w []string) {
	if a.body != nil {
		a.inFunction(w)
		return
	}
	switch w[0] {
	case "import":
		b := append(str(str(nil, w[1]), w[2]), 0)
		a.add(2, u32(b, a.typeIndex(w[3], w[4])))
		a.functions["$"+w[2]] = a.imports
		a.imports++
	case "memory", "memory64", "table":
		b := []byte{}
		sec, flags := 5, byte(0)
		if w[0] == "table" {
			b, sec = append(b, 0x70), 4
		}
		a.wide = a.wide || w[0] == "memory64"
		if a.wide {
			flags = 4
		}
		if len(w) > 2 {
			b = u32(u32(append(b, flags|1), unsigned(number(w[1]))), unsigned(number(w[2])))
		} else {
			b = u32(append(b, flags), unsigned(number(w[1])))
		}
		a.add(sec, b)
	case "global":
		m := byte(0)
		if w[3] == "mut" {
			m = 1
		}
		a.globals[w[1]] = a.sections[6].n
		b := []byte{valueTypes[w[2]], m}
		switch w[2] {
		case "i32":
			b = s64(append(b, 0x41), narrow(number(w[4])))
		case "i64":
			b = s64(append(b, 0x42), number(w[4]))
		case "f64":
			b = binary.LittleEndian.AppendUint64(append(b, 0x44), math.Float64bits(float64(number(w[4]))))
		default:
			panic("no initial value for " + w[2])
		}
		a.add(6, append(b, 0x0b))
	case "passive":
		a.add(11, str([]byte{1}, w[1]))
	case "data":
		b := a.address([]byte{0}, w[1])
		a.add(11, str(append(b, 0x0b), w[2]))
	case "elem":
		a.later(func() {
			b := append(a.address([]byte{0}, w[1]), 0x0b)
			b = u32(b, len(w)-2)
			for _, f := range w[2:] {
				b = u32(b, a.function(f))
			}
			a.add(9, b)
		})
	case "start":
		a.later(func() { a.sections[8] = section{n: a.function(w[1]) + 1} })
	case "export":
		a.later(func() { a.export(w[1], w[2]) })
	case "func":
		a.functions[w[1]] = a.imports + a.nfuncs
		a.nfuncs++
		a.add(3, u32(nil, a.typeIndex(w[2], w[3])))
		a.body = &function{}
		a.bodies = append(a.bodies, a.body)
		a.depth = 1
	default:
		panic("unknown item")
	}
}

// address appends a constant of the type that the module has for addresses.
func (a *assembler) address(b []byte, n string) []byte {
	if a.wide {
		return s64(append(b, 0x42), number(n))
	}
	return s64(append(b, 0x41), number(n))
}

func (a *assembler) later(f func()) { a.fixups = append(a.fixups, f) }

func (a *assembler) export(what, name string) {
	b := str(nil, name)
	switch what {
	case "memory":
		b = append(b, 2, 0)
	case "table":
		b = append(b, 1, 0)
	default:
		if g, ok := a.globals[what]; ok {
			b = u32(append(b, 3), g)
		} else {
			b = u32(append(b, 0), a.function(what))
		}
	}
	a.add(7, b)
}

func (a *assembler) function(name string) uint32 {
	if i, ok := a.functions[name]; ok {
		return i
	}
	return uint32(unsigned(number(name))) // #nosec G115 -- an index
}

func (a *assembler) inFunction(w []string) {
	switch w[0] {
	case "locals":
		for _, t := range w[1:] {
			a.body.groups++
			a.body.locals = append(a.body.locals, 1, valueTypes[t])
		}
		return
	case "block", "loop", "if":
		a.depth++
	case "end":
		a.depth--
	}
	a.body.lines = append(a.body.lines, w)
	if a.depth == 0 {
		a.body = nil
	}
}

func (a *assembler) module() []byte {
	for _, f := range a.bodies {
		code := append(u32(nil, f.groups), f.locals...)
		for _, w := range f.lines {
			code = a.instruction(code, w)
		}
		a.add(10, append(u32(nil, len(code)), code...))
	}
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	for id, s := range a.sections {
		if s.n == 0 {
			continue
		}
		if id == 10 && a.sections[11].n > 0 { // the data count section, for memory.init
			n := u32(nil, a.sections[11].n)
			out = append(append(out, 12, byte(len(n))), n...) // #nosec G115 -- a few bytes
		}
		b := append(u32(nil, s.n), s.body...)
		if id == 8 {
			b = u32(nil, s.n-1)
		}
		out = append(u32(append(out, byte(id)), len(b)), b...)
	}
	return out
}

// Custom appends a custom section to a module.
func Custom(module []byte, name, content string) []byte {
	b := append(str(nil, name), content...)
	return append(u32(append(append([]byte(nil), module...), 0), len(b)), b...)
}
