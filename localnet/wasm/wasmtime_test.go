//go:build wasm64 && cgo

package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/bytecodealliance/wasmtime-go/v41"
	"pgregory.net/rapid"
)

func init() { widths = append(widths, width{"wasm64", true}) }

// call runs a function of stores64 by its table entry or its export.
func callAt(i Instance, index, arg uint64) error {
	_, err := i.Invoke(context.Background(), Entry{Callback: true, Index: index, Arg: arg}, &environment{}, Budget{Instructions: 1_000_000})
	return err
}

// table of all functions of stores64, in their order.
const (
	stByte = iota
	stWord
	stLong
	stFloat
	stFill
	stCopy
	stInit
	stHost
	stGrow
	stTrap
	stGlobals
	stCount
)

func instantiateStores(t testing.TB, e Engine) []Instance {
	t.Helper()
	text := stores64[:len(stores64)-len("\telem 0 $word")-1]
	text = string(bytes.Replace([]byte(text), []byte("table 2\n\telem 1 $byte"), []byte("table 11\n\telem 0 $byte $word $long $float $fill $copy $init $host $grow $trap $globals"), 1))
	m, i := instantiate(t, e, text)
	out := []Instance{i}
	for range 2 {
		j, err := m.Instantiate(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, j)
	}
	t.Cleanup(func() {
		for _, j := range out[1:] {
			_ = j.Close()
		}
	})
	return out
}

// TestCardsTellAll: whatever a module, a bulk instruction or a host function
// writes, an image finds it by the cards, through commits and restores of several
// instances, other images and growth.
func TestCardsTellAll(t *testing.T) {
	e := newEngine(t, Config{})
	instances := instantiateStores(t, e)
	for n, i := range instances {
		if i.(marking).cards() == nil {
			t.Fatalf("instance %d has no cards", n)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		var im, other Image
		main := instances[0]
		im.Commit(main)
		check := func(what string, i Instance) {
			if !bytes.Equal(i.Memory(), im.memory) {
				rt.Fatalf("%s: memory and image differ", what)
			}
			g := i.Globals(nil)
			for n := range g {
				if g[n] != im.globals[n] {
					rt.Fatalf("%s: globals %v, image %v", what, g, im.globals)
				}
			}
		}
		check("first commit", main)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			n := rapid.IntRange(0, 2).Draw(rt, "instance")
			i := instances[n]
			if n > 0 {
				if _, err := im.Restore(i); err != nil {
					rt.Fatal(err)
				}
				check("restored before", i)
			}
			failed := false
			for range rapid.IntRange(0, 4).Draw(rt, "writes") {
				at := rapid.OneOf(rapid.Uint64Range(0, uint64(len(i.Memory()))), rapid.SampledFrom([]uint64{4095, 4092, 4096, 8189, 65535, 65532, math.MaxUint64, 1 << 44, 1<<44 - 1, math.MaxUint64 - 4999})).Draw(rt, "at")
				if callAt(i, rapid.Uint64Range(0, stCount-1).Draw(rt, "op"), at) != nil {
					failed = true
				}
			}
			if rapid.IntRange(0, 5).Draw(rt, "otherImage") == 0 {
				other.Commit(i)
			}
			if n > 0 || failed || rapid.Bool().Draw(rt, "trap") {
				if _, err := im.Restore(i); err != nil {
					rt.Fatal(err)
				}
				check("restored", i)
			} else {
				im.Commit(i)
				check("committed", i)
			}
		}
	})
}

// A commit or restore touches what was written, not the whole memory.
func TestCardsAreFew(t *testing.T) {
	e := newEngine(t, Config{})
	i := instantiateStores(t, e)[0]
	var im Image
	im.Commit(i)
	if err := callAt(i, stLong, 4*grain-3); err != nil {
		t.Fatal(err)
	}
	if n := im.Commit(i); n != grain+spill {
		t.Errorf("%d bytes committed, expected one grain and what was spilled", n)
	}
	im.memory[10*grain] ^= 1 // behind the back of the cards
	if n, err := im.Restore(i); n != 0 || err != nil {
		t.Errorf("%d bytes restored, error %v", n, err)
	}
}

// Vector stores are not marked: such a module is compared as a whole.
func TestVectorStores(t *testing.T) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, `
		memory64 1
		func $f () ()
		  i64.const 9000
		  v128.const 42
		  v128.store
		end
		export $f "f"`)
	if i.(marking).cards() != nil {
		t.Error("it has cards")
	}
	var im Image
	im.Commit(i)
	mustInvoke(t, i, "f")
	if n, err := im.Restore(i); n != grain || err != nil || i.Memory()[9000] != 0 {
		t.Errorf("%d bytes restored, error %v", n, err)
	}
}

// TestInstructions64 has for each program what the Internet Computer counts for it: one
// for entering a function, and the weights of what runs.
func TestInstructions64(t *testing.T) {
	e := newEngine(t, Config{})
	for _, c := range []struct {
		name, body string
		want       uint64
	}{
		{"empty", "", 1},
		{"constants", "i64.const 1\ndrop", 1 + 2},
		{"stores and loads, marks apart", "i64.const 8\ni64.const 8\ni64.load\ni64.store", 1 + 2 + 2 + 2},
		{"globals", "global.get $g\nglobal.set $g", 1 + 4},
		{"division", "i64.const 7\ni64.const 3\ni64.div_u\ndrop", 1 + 2 + 10 + 1},
		{"a call", "call $empty", 1 + 5 + 1},
		{"an indirect call", "i64.const 0\ncall_indirect () ()", 1 + 1 + 10 + 1},
		{"a tail call", "return_call $empty", 1 + 3 + 1},
		{"the branch taken", "i32.const 1\nif\ni64.const 1\ndrop\nelse\nnop\nend", 1 + 1 + 2 + 2},
		{"the other", "i32.const 0\nif\ni64.const 1\ndrop\nelse\nnop\nend", 1 + 1 + 2 + 1},
		{"what is jumped over", "block\nbr 0\ni64.const 1\ndrop\nend", 1 + 2},
		{"what follows a return", "return\ni64.const 1\ndrop", 1 + 1},
		{"a loop", "i64.const 100\nlocal.set 0\nloop\nlocal.get 0\ni64.const 1\ni64.sub\nlocal.tee 0\ni32.wrap_i64\nbr_if 0\nend", 1 + 2 + 100*7},
		{"a fill", "i64.const 0\ni32.const 7\ni64.const 1000\nmemory.fill", 1 + 3 + 100 + 1000},
		{"a copy", "i64.const 0\ni64.const 5\ni64.const 5000\nmemory.copy", 1 + 3 + 100 + 5000},
		{"an empty copy", "i64.const 0\ni64.const 5\ni64.const 0\nmemory.copy", 1 + 3 + 100},
		{"memory.size", "memory.size\ndrop", 1 + 20 + 1},
		{"memory.grow", "i64.const 2\nmemory.grow\ndrop", 1 + 1 + 300 + 1},
		{"memory.grow that fails", "i64.const -1\nmemory.grow\ndrop", 1 + 1 + 300 + 1},
		{"a host function", "call $used\nglobal.set $g", 1 + 5 + 1000 + 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, i := instantiate(t, e, "import ic0 used () (i64)\nmemory64 1 4\nglobal $g i64 mut 0\ntable 1\nelem 0 $empty\n"+
				"func $empty () ()\nend\nfunc $f () ()\nlocals i64\n"+c.body+"\nend\nexport $f \"f\"")
			for range 2 {
				_, got, err := invoke(t, i, "f")
				if got != c.want || err != nil {
					t.Errorf("%d instructions, expected %d, error %v", got, c.want, err)
				}
			}
			// All of a block is counted at its beginning.
			if g := i.Globals(nil)[0]; c.name == "a host function" && g != c.want {
				t.Errorf("the host saw %d instructions", g)
			}
		})
	}
}

// Whatever goes on without end comes to the end of its budget.
func TestInstructionLimit64(t *testing.T) {
	e := newEngine(t, Config{})
	for name, body := range map[string]string{
		"a loop":                    "loop\nbr 0\nend",
		"loops in loops":            "loop\nloop\nbr 1\nend\nend",
		"blocks in a loop":          "loop\nblock\nblock\nend\nend\nbr 0\nend",
		"recursion":                 "return_call $f",
		"calls of a host function":  "loop\ncall $used\ndrop\nbr 0\nend",
		"growth that fails":         "loop\ni64.const -1\nmemory.grow\ndrop\nbr 0\nend",
		"bulk instructions":         "loop\ni64.const 0\ni32.const 0\ni64.const 65536\nmemory.fill\nbr 0\nend",
		"a branch that comes later": "loop\nblock\ni32.const 1\nbr_if 0\nreturn\nend\nbr 0\nend",
	} {
		t.Run(name, func(t *testing.T) {
			_, i := instantiate(t, e, "import ic0 used () (i64)\nmemory64 1 4\nfunc $f () ()\n"+body+"\nend\nexport $f \"f\"")
			_, n, err := invoke(t, i, "f")
			if !errors.Is(err, ErrInstructionLimit) || n != 1_000_000 {
				t.Errorf("%d instructions, error %v", n, err)
			}
		})
	}
	t.Run("unlimited", func(t *testing.T) {
		_, i := instantiate(t, e, "memory64 1\nfunc $f () ()\nnop\nend\nexport $f \"f\"")
		if n, err := i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{}); n != 2 || err != nil {
			t.Errorf("%d instructions, error %v", n, err)
		}
	})
}

// The weights of what the programs above do not have.
func TestWeights64(t *testing.T) {
	for op, want := range map[byte]uint64{
		0x5b: 3, 0x66: 3, 0x67: 1, // f32.eq, f64.ge, i32.clz
		0x6c: 1, 0x6d: 10, 0x70: 10, 0x71: 1, // i32.mul, div_s, rem_u, and
		0x7e: 1, 0x7f: 10, 0x82: 10, 0x83: 1,
		0x8b: 1, 0x8d: 2, 0x91: 5, 0x94: 2, 0x95: 3, 0x97: 18, 0x98: 2, // f32: abs, ceil, sqrt, mul, div, max, copysign
		0x99: 1, 0x9b: 2, 0x9f: 8, 0xa2: 2, 0xa3: 5, 0xa5: 18, 0xa6: 3,
		0xa7: 1, 0xa8: 20, 0xab: 20, 0xac: 1, 0xae: 20, 0xb1: 20, // i32.wrap, trunc, extend, trunc
		0xb2: 3, 0xb3: 16, 0xb4: 3, 0xb5: 16, 0xb6: 1, 0xb7: 3, 0xb8: 16, 0xb9: 3, 0xba: 16, 0xbb: 1, // convert, demote, promote
		0xbf: 1, 0xc0: 1, 0xc4: 1,
		opTableGet: 5, opTableSet: 5, opReturnCallIndirect: 60, opBrTable: 2, opI32Load: 2, opI64Store32: 2,
		0xd0: 1, opRefIsNull: 5, opRefFunc: 130, opSelect: 1, opLocalTee: 1, opUnreachable: 1,
	} {
		if got := (instruction{op: op}).weight64(); got != want {
			t.Errorf("opcode %#x: %d, expected %d", op, got, want)
		}
	}
	for sub, want := range map[uint32]uint64{0: 20, 7: 20, fcMemoryInit: 100, fcDataDrop: 300, fcElemDrop: 300, fcTableGrow: 300, fcTableSize: 100, fcTableFill: 100} {
		if got := (instruction{op: opPrefixFC, sub: sub}).weight64(); got != want {
			t.Errorf("0xfc %d: %d, expected %d", sub, got, want)
		}
	}
	for sub, want := range map[uint32]uint64{0: 2, fdStore: 2, 12: 1, 84: 2, 93: 2, 94: 1} {
		if got := (instruction{op: opPrefixFD, sub: sub}).weight64(); got != want {
			t.Errorf("0xfd %d: %d, expected %d", sub, got, want)
		}
	}
}

func TestDirtyPages(t *testing.T) {
	e := newEngine(t, Config{})
	i := instantiateStores(t, e)[0]
	var im Image
	im.Commit(i)
	for n, at := range []uint64{0, 100, 5 * grain, 6 * grain} {
		if err := callAt(i, stLong, at); err != nil {
			t.Fatal(err)
		}
		if got, want := DirtyPages(i), []int{1, 1, 2, 3}[n]; got != want {
			t.Errorf("%d dirty pages after a store at %d, expected %d", got, at, want)
		}
	}
	if _, err := im.Restore(i); err != nil || DirtyPages(i) != 0 {
		t.Errorf("%d dirty pages, error %v", DirtyPages(i), err)
	}
}

// What ends one invocation does not end another of the same module.
func TestInterruptionsAreSeparate(t *testing.T) {
	e := newEngine(t, Config{})
	m, first := instantiate(t, e, `
		memory64 1
		func $f () ()
		  loop
		    br 0
		  end
		end
		export $f "f"`)
	instances := []Instance{first}
	for range 2 {
		i, err := m.Instantiate(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = i.Close() }()
		instances = append(instances, i)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for n, i := range instances {
		wg.Add(1)
		go func() {
			defer wg.Done()
			after := time.Duration(n+1) * 30 * time.Millisecond
			for range 2 { // once more: a late interruption must not reach the next
				from := time.Now()
				if _, err := i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{Deadline: from.Add(after)}); !errors.Is(err, ErrDeadline) {
					t.Errorf("instance %d: %v", n, err)
				}
				if took := time.Since(from); took < after {
					t.Errorf("instance %d ended after %v, not %v", n, took, after)
				}
			}
		}()
	}
	wg.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestGlobalTypes(t *testing.T) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, "memory64 1\nglobal $a i32 mut -1\nglobal $b i64 mut -2\nglobal $c f64 mut 3\nglobal $d i64 const 4")
	want := []uint64{math.MaxUint32, math.MaxUint64 - 1, math.Float64bits(3)}
	for range 2 {
		got := i.Globals(nil)
		if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Fatalf("globals %x, expected %x", got, want)
		}
		want = []uint64{7, 8, math.Float64bits(9)}
		i.SetGlobals(want)
	}
}

func TestMalformedModules64(t *testing.T) {
	e := newEngine(t, Config{})
	for _, c := range []struct {
		name   string
		module []byte
		text   string
	}{
		{"too large", assemble("memory64 20000"), "at most 16384 are allowed"},
		{"unknown import", assemble("import ic0 nothing () ()\nmemory64 1"), "imports function 'nothing' from 'ic0' that is not exported"},
		{"import of the other width", assemble("import ic0 note (i32) ()\nmemory64 1"), "imported with type [i32] -> [], expected [i64] -> []"},
		{"does not validate", assemble("memory64 1\nfunc $f () ()\ni32.const 1\ni32.load\ndrop\nend"), "failed to validate"},
		{"writes to the cards", bytes.Replace(assemble(stores64), []byte{0xfc, 11, 0}, []byte{0xfc, 11, 1}, 1), "multiple memories"},
		{"reserved", assemble("memory64 1\nfunc $f () ()\nend\nexport $f \"icrelay:cards\""), "reserved"},
		{"segment outside", assemble("memory64 1\ndata 65535 \"ab\""), "cannot be instantiated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := e.Compile(context.Background(), c.module)
			if err == nil {
				defer m.Release()
				_, err = m.Instantiate(context.Background())
			}
			var inv *InvalidError
			if !errors.As(err, &inv) || !bytes.Contains([]byte(err.Error()), []byte(c.text)) {
				t.Fatalf("%v, expected an error with %q", err, c.text)
			}
		})
	}
}

func TestCellsAreReused(t *testing.T) {
	e := newWasmtime(Config{Keep: 1})
	defer func() { _ = e.Close() }()
	m, err := e.Compile(context.Background(), assemble("memory64 1"))
	if err != nil {
		t.Fatal(err)
	}
	var instances []Instance
	for range 4 {
		i, err := m.Instantiate(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		instances = append(instances, i)
	}
	for _, i := range instances {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := len(m.(*wasmtimeModule).cells); n != maxCells {
		t.Errorf("%d cells are kept", n)
	}
	m.Release()
	again, err := e.Compile(context.Background(), assemble("memory64 1"))
	if err != nil || again != m {
		t.Errorf("an idle module was not found: %v", err)
	}
	again.Release()
}

// FuzzValidity64: what Wasmtime accepts as it is, it accepts rewritten.
func FuzzValidity64(f *testing.F) {
	seeds(f)
	b, err := os.ReadFile("../execution/testdata/counter64.wasm")
	if err != nil {
		f.Fatal(err)
	}
	if res, err := rewrite64(b, 1<<14); err != nil || res.impure || !res.cards {
		f.Fatalf("what the Motoko compiler emits: %+v, %v", res, err)
	}
	engine := newStoreEngine()
	f.Fuzz(func(t *testing.T, module []byte) {
		res, err := rewrite64(module, 100)
		if err != nil || len(module) < 8 || binary.LittleEndian.Uint32(module[4:]) != 1 {
			return
		}
		if wasmtime.ModuleValidate(engine, module) != nil {
			return
		}
		if err := wasmtime.ModuleValidate(engine, res.binary); err != nil {
			t.Fatalf("valid as it was, but rewritten: %v", err)
		}
	})
}

func BenchmarkLoop64(b *testing.B) {
	e := newEngine(b, Config{})
	_, i := instantiate(b, e, `
		memory64 1
		func $f () ()
		  locals i64
		  i64.const 1000000
		  local.set 0
		  loop
		    local.get 0
		    i64.const 65535
		    i64.and
		    local.get 0
		    i64.store8
		    local.get 0
		    i64.const 1
		    i64.sub
		    local.tee 0
		    i32.wrap_i64
		    br_if 0
		  end
		end
		export $f "f"`)
	for b.Loop() {
		if _, err := i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{}); err != nil {
			b.Fatal(err)
		}
	}
}
