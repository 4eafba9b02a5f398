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

func TestFuel(t *testing.T) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, `
		import ic0 used () (i64)
		memory64 1 4
		global $n i64 mut 0
		func $f () ()
		  locals i64
		  i64.const 100
		  local.set 0
		  loop
		    local.get 0
		    i64.const 1
		    i64.sub
		    local.tee 0
		    i32.wrap_i64
		    br_if 0
		  end
		  call $used
		  global.set $n
		end
		func $grow () ()
		  i64.const 2
		  memory.grow
		  drop
		end
		export $f "f"
		export $grow "grow"`)
	_, n, err := invoke(t, i, "f")
	if err != nil {
		t.Fatal(err)
	}
	if n < 1000+100*5 || n > 1000+100*8 {
		t.Errorf("%d instructions", n)
	}
	if g := i.Globals(nil)[0]; g > n || g+5 < n {
		t.Errorf("the host saw %d instructions, in all there were %d", g, n)
	}
	if _, again, err := invoke(t, i, "f"); err != nil || again != n {
		t.Errorf("the same again takes %d instructions, not %d, error %v", again, n, err)
	}
	if _, n, err = invoke(t, i, "grow"); err != nil || n < 2*PageSize/8 || len(i.Memory()) != 3*PageSize {
		t.Errorf("grow: %d instructions, %d bytes, error %v", n, len(i.Memory()), err)
	}
	if _, err := i.Invoke(context.Background(), Entry{Export: "f"}, &environment{}, Budget{Instructions: 900}); !errors.Is(err, ErrInstructionLimit) && err != nil {
		t.Errorf("%v, expected nothing or the instruction limit", err)
	}
	n, err = i.Invoke(context.Background(), Entry{Export: "f"}, &environment{}, Budget{Instructions: 300})
	if !errors.Is(err, ErrInstructionLimit) || n != 300 {
		t.Errorf("%d instructions, %v, expected the instruction limit", n, err)
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
