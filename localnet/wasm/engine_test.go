package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

// environment is what the test's host functions work on.
type environment struct {
	calls []uint64
	fail  error
}

// testFunctions can be imported by the tests' modules with addresses of the given type.
func testFunctions(address ValueType) []HostFunction {
	return []HostFunction{
		{Module: "ic0", Name: "note", Type: FuncType{Params: []ValueType{address}}, Call: func(c *Call, stack []uint64) error {
			env := c.Env.(*environment)
			env.calls = append(env.calls, stack[0])
			return env.fail
		}},
		{Module: "ic0", Name: "peek", Type: FuncType{Params: []ValueType{address}, Results: []ValueType{address}}, Call: func(c *Call, stack []uint64) error {
			m := c.Memory()
			if stack[0] >= uint64(len(m)) {
				return errors.New("peek out of bounds")
			}
			stack[0] = uint64(m[stack[0]])
			return nil
		}},
		{Module: "ic0", Name: "poke", Type: FuncType{Params: []ValueType{address, address}}, Call: func(c *Call, stack []uint64) error {
			b, ok := c.Writable(stack[0], stack[1])
			if !ok {
				return errors.New("poke out of bounds")
			}
			for i := range b {
				b[i]++
			}
			return nil
		}},
		{Module: "ic0", Name: "used", Type: FuncType{Results: []ValueType{I64}}, Call: func(c *Call, stack []uint64) error {
			c.Charge(1000)
			stack[0] = c.Instructions()
			return nil
		}},
	}
}

// width is one of the two kinds of modules. Texts are written for 32 bits.
type width struct {
	name  string
	widen bool
}

// text is the same module with this width.
func (w width) text(text string) string {
	if !w.widen {
		return text
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, "i32", "i64"), "memory 1", "memory64 1")
}

var widths = []width{{"wasm32", false}}

// eachWidth runs a test with modules of each width that the build can run.
func eachWidth(t *testing.T, test func(t *testing.T, w width)) {
	t.Helper()
	for _, w := range widths {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

func newEngine(t testing.TB, cfg Config) Engine {
	t.Helper()
	cfg.Functions = append(cfg.Functions, testFunctions(I32)...)
	cfg.Functions64 = append(cfg.Functions64, testFunctions(I64)...)
	e, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func instantiate(t testing.TB, e Engine, text string) (Module, Instance) {
	t.Helper()
	m, err := e.Compile(context.Background(), wasmtest.Assemble(text))
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		m.Release()
	})
	return m, i
}

func invoke(t testing.TB, i Instance, export string) (*environment, uint64, error) {
	t.Helper()
	env := &environment{}
	n, err := i.Invoke(context.Background(), Entry{Export: export}, env, Budget{Instructions: 1_000_000})
	return env, n, err
}

func TestTraps(t *testing.T) { eachWidth(t, testTraps) }

func testTraps(t *testing.T, w width) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, w.text(`
		import ic0 note (i32) ()
		import ic0 peek (i32) (i32)
		memory 1 2
		table 2
		elem 0 $needsArg
		func $needsArg (i64) ()
		end
		func $ok () ()
		  i32.const 7
		  call $note
		end
		func $unreachable () ()
		  unreachable
		end
		func $memory () ()
		  i32.const 65536
		  i32.load
		  drop
		end
		func $divide () ()
		  i32.const 1
		  i32.const 0
		  i32.div_u
		  drop
		end
		func $null () ()
		  i32.const 1
		  call_indirect () ()
		end
		func $table () ()
		  i32.const 2
		  call_indirect () ()
		end
		func $signature () ()
		  i32.const 0
		  call_indirect () ()
		end
		func $forever () ()
		  loop
		    br 0
		  end
		end
		func $mutual () ()
		  loop
		    call $ok2
		    br 0
		  end
		end
		func $ok2 () ()
		end
		func $host () ()
		  i32.const 0x10000
		  call $peek
		  drop
		end
		export $ok "ok"
		export $unreachable "unreachable"
		export $memory "memory"
		export $divide "divide"
		export $null "null"
		export $table "table"
		export $signature "signature"
		export $forever "forever"
		export $mutual "mutual"
		export $host "host"`))
	for _, c := range []struct {
		export string
		kind   TrapKind
		err    string
	}{
		{"ok", -1, ""},
		{"unreachable", TrapUnreachable, "unreachable"},
		{"memory", TrapMemory, "heap out of bounds"},
		{"divide", TrapDivideByZero, "integer division by 0"},
		{"null", TrapTable, "table out of bounds"},
		{"table", TrapTable, "table out of bounds"},
		{"signature", TrapSignature, "indirect call"},
		{"forever", -1, "instruction limit"},
		{"mutual", -1, "instruction limit"},
		{"host", -1, "peek out of bounds"},
		{"absent", -1, "no such function"},
	} {
		t.Run(c.export, func(t *testing.T) {
			_, n, err := invoke(t, i, c.export)
			if c.err == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, expected one with %q", err, c.err)
			}
			var trap *Trap
			if got := errors.As(err, &trap); got != (c.kind >= 0) || got && trap.Kind != c.kind {
				t.Fatalf("trap %+v, expected kind %v", trap, c.kind)
			}
			if n > 1_100_000 {
				t.Errorf("%d instructions counted past the limit", n)
			}
			if env, _, err := invoke(t, i, "ok"); err != nil || len(env.calls) != 1 {
				t.Fatalf("the instance is not usable afterwards: %v", err)
			}
		})
	}
}

func TestStackOverflow(t *testing.T) { eachWidth(t, testStackOverflow) }

func testStackOverflow(t *testing.T, w width) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, w.text(`
		memory 1
		func $f () ()
		  call $f
		end
		export $f "f"`))
	if _, _, err := invoke(t, i, "f"); err == nil {
		t.Fatal("endless recursion ended well")
	}
	_, err := i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{Instructions: 1 << 40})
	var trap *Trap
	if !errors.As(err, &trap) || trap.Kind != TrapStack {
		t.Fatalf("%v, expected a stack overflow", err)
	}
}

func TestDeadlineAndContext(t *testing.T) { eachWidth(t, testDeadlineAndContext) }

func testDeadlineAndContext(t *testing.T, w width) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, w.text(`
		memory 1
		func $f () ()
		  loop
		    br 0
		  end
		end
		export $f "f"`))
	start := time.Now()
	_, err := i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{Deadline: start.Add(20 * time.Millisecond)})
	if !errors.Is(err, ErrDeadline) {
		t.Errorf("%v, expected the deadline", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err = i.Invoke(ctx, Entry{Export: "f"}, nil, Budget{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, expected the context's error", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("stopped after %v", took)
	}
}

func BenchmarkLoop(b *testing.B) {
	e := newEngine(b, Config{})
	_, i := instantiate(b, e, `
		memory 1
		func $f () ()
		  locals i32
		  i32.const 1000000
		  local.set 0
		  loop
		    local.get 0
		    i32.const 65535
		    i32.and
		    local.get 0
		    i32.store8
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
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

func TestInstructionCount(t *testing.T) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, `
		import ic0 used () (i64)
		memory 1
		global $n i64 mut 0
		func $f () ()
		  locals i32
		  i32.const 100
		  local.set 0
		  loop
		    local.get 0
		    i32.const 1
		    i32.sub
		    local.tee 0
		    br_if 0
		  end
		  call $used
		  global.set $n
		end
		func $bulk () ()
		  i32.const 0
		  i32.const 1
		  i32.const 65536
		  memory.fill
		end
		export $f "f"
		export $bulk "bulk"`)
	_, n, err := invoke(t, i, "f")
	if err != nil {
		t.Fatal(err)
	}
	// Six in the function and its loop instruction, six a turn, and what the host charged.
	if want := uint64(6 + 100*6 + 1000); n != want {
		t.Errorf("%d instructions, expected %d", n, want)
	}
	if g := i.Globals(nil); g[0] != n {
		t.Errorf("the host saw %d instructions, in all there were %d", g[0], n)
	}
	if _, n, err = invoke(t, i, "bulk"); err != nil || n != 5+8192 {
		t.Errorf("bulk: %d instructions, error %v", n, err)
	}
}

func ExampleEngine() {
	e, err := New(context.Background(), Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = e.Close() }()
	m, err := e.Compile(context.Background(), wasmtest.Assemble(`
		func $f () ()
		  unreachable
		end
		export $f "f"`))
	if err != nil {
		panic(err)
	}
	defer m.Release()
	i, err := m.Instantiate(context.Background())
	if err != nil {
		panic(err)
	}
	defer func() { _ = i.Close() }()
	_, err = i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{Instructions: 1000})
	fmt.Println(err)
	// Output: unreachable
}
