package wasm

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestImage(t *testing.T) { eachWidth(t, testImage) }

func testImage(t *testing.T, w width) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, w.text(`
		memory 1 10
		global $n i64 mut 5
		func $write () ()
		  i32.const 10000
		  i32.const 42
		  i32.store
		  i64.const 6
		  global.set $n
		end
		func $grow () ()
		  i32.const 1
		  memory.grow
		  drop
		  i32.const 65536
		  i32.const 43
		  i32.store
		end
		export $write "write"
		export $grow "grow"`))
	var im Image
	im.Commit(i)
	restore := func(want int) {
		t.Helper()
		n, err := im.Restore(i)
		if err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Errorf("%d bytes restored, expected %d", n, want)
		}
	}
	restore(0)
	mustInvoke(t, i, "write")
	if i.Memory()[10000] != 42 || i.Globals(nil)[0] != 6 {
		t.Fatal("the module did not write")
	}
	restore(grain)
	if i.Memory()[10000] != 0 || i.Globals(nil)[0] != 5 {
		t.Error("memory or global not restored")
	}
	mustInvoke(t, i, "grow")
	if len(i.Memory()) != 2*PageSize {
		t.Fatal("the memory did not grow")
	}
	restore(0)
	if len(i.Memory()) != PageSize {
		t.Error("the memory has not shrunk")
	}
	mustInvoke(t, i, "write")
	mustInvoke(t, i, "grow")
	if n := im.Commit(i); n != grain+PageSize {
		t.Errorf("%d bytes committed", n)
	}

	// Another instance catches up, and one that is ahead falls back.
	_, j := instantiate(t, e, w.text(`
		memory 1 10
		global $n i64 mut 0
		func $f () ()
		end
		export $f "f"`))
	if _, err := im.Restore(j); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(i.Memory(), j.Memory()) || j.Globals(nil)[0] != 6 {
		t.Error("the instances differ")
	}
	_, small := instantiate(t, e, w.text("memory 1 1"))
	if _, err := im.Restore(small); err == nil {
		t.Error("two pages fit into one")
	}
	_, none := instantiate(t, e, "func $f () ()\nend")
	if err := none.Resize(1); err == nil {
		t.Error("a module without memory has a page")
	}
}

// Pages that a rollback took away come back empty.
func TestGrowthIsClean(t *testing.T) { eachWidth(t, testGrowthIsClean) }

func testGrowthIsClean(t *testing.T, w width) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, w.text(`
		memory 1 4
		func $grow () ()
		  i32.const 2
		  memory.grow
		  i32.const 1
		  i32.sub
		  drop
		end
		func $write () ()
		  call $grow
		  i32.const 65536
		  i64.const -1
		  i64.store
		  i32.const 196600
		  i64.const -1
		  i64.store
		end
		func $fail () ()
		  i32.const 2
		  memory.grow
		  i32.const -1
		  i32.eq
		  if
		    unreachable
		  end
		end
		export $grow "grow"
		export $write "write"
		export $fail "fail"`))
	var im Image
	im.Commit(i)
	mustInvoke(t, i, "write")
	if _, err := im.Restore(i); err != nil {
		t.Fatal(err)
	}
	if err := i.Resize(2); err != nil {
		t.Fatal(err)
	}
	if err := i.Resize(1); err != nil {
		t.Fatal(err)
	}
	mustInvoke(t, i, "grow")
	if m := i.Memory(); len(m) != 3*PageSize || !bytes.Equal(m[PageSize:], make([]byte, 2*PageSize)) {
		t.Errorf("%d bytes, not all of them zero", len(m))
	}
	im.Commit(i)
	var trap *Trap
	if _, _, err := invoke(t, i, "fail"); !errors.As(err, &trap) || trap.Kind != TrapUnreachable || len(i.Memory()) != 3*PageSize {
		t.Errorf("growth beyond the maximum: %v, %d bytes", err, len(i.Memory()))
	}
}

func mustInvoke(t testing.TB, i Instance, export string) {
	t.Helper()
	if _, _, err := invoke(t, i, export); err != nil {
		t.Fatal(err)
	}
}

func TestCopyChanged(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		src := make([]byte, r.IntN(5)*grain+r.IntN(grain))
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		dst := bytes.Clone(src)
		changed := map[int]bool{}
		for range r.IntN(4) {
			if len(dst) > 0 {
				i := r.IntN(len(dst))
				dst[i]++
				changed[i/grain] = true
			}
		}
		want := 0
		for g := range changed {
			want += min(grain, len(src)-g*grain)
		}
		if n := copyChanged(dst, src, nil, nil, 0, func(int) {}); n != want || !bytes.Equal(dst, src) {
			t.Fatalf("%d bytes copied, expected %d", n, want)
		}
	}
}

func TestModulesAreCompiledOnce(t *testing.T) {
	e, err := newWazero(context.Background(), Config{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	compile := func(text string) Module {
		t.Helper()
		m, err := e.Compile(context.Background(), assemble(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b := compile("memory 1"), compile("memory 1")
	if a != b {
		t.Error("the same module was compiled twice")
	}
	a.Release()
	if len(e.idle) != 0 {
		t.Error("a module in use counts as idle")
	}
	b.Release()
	if c := compile("memory 1"); c != a {
		t.Error("an idle module was not found")
	} else {
		c.Release()
	}
	compile("memory 2").Release()
	if len(e.modules) != 1 || len(e.idle) != 1 {
		t.Errorf("%d modules, %d idle, expected one", len(e.modules), len(e.idle))
	}
	if _, err := e.Compile(context.Background(), []byte("junk")); err == nil || len(e.modules) != 1 {
		t.Errorf("a module that does not compile is kept: %v", err)
	}
}

// An engine gives each message a fresh table; a module that changes it says so.
func TestPurity(t *testing.T) { eachWidth(t, testPurity) }

func testPurity(t *testing.T, w width) {
	e := newEngine(t, Config{})
	pure, i := instantiate(t, e, w.text(`
		memory 1
		func $f () ()
		  data.drop 0
		end
		export $f "f"
		data 0 "x"`))
	_ = i
	if !pure.Pure() {
		t.Error("data.drop counts as a change")
	}
	impure, _ := instantiate(t, e, w.text(`
		memory 1
		table 1
		func $f () ()
		  i32.const 0
		  ref.null funcref
		  table.set 0
		end
		export $f "f"`))
	if impure.Pure() {
		t.Error("table.set does not count as a change")
	}
}
