package wasm

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

func assemble(text string) []byte { return wasmtest.Assemble(text) }

func TestParse(t *testing.T) {
	info, err := Parse(wasmtest.Custom(assemble(`
		import ic0 note (i32) ()
		memory 1 4
		global $g i32 mut 0
		func $f () (i32)
		  i32.const 1
		end
		func $s () ()
		end
		start $s
		export $f "f"
		export memory "m"`), "icp:public x", "content"))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Imports) != 1 || info.Imports[0].Name != "note" || len(info.Imports[0].Type.Params) != 1 {
		t.Errorf("imports %+v", info.Imports)
	}
	if len(info.Exports) != 2 || info.Exports[0].Name != "f" || len(info.Exports[0].Type.Results) != 1 || info.Exports[1].Kind != KindMemory {
		t.Errorf("exports %+v", info.Exports)
	}
	if len(info.Custom) != 1 || info.Custom[0].Name != "icp:public x" || string(info.Custom[0].Content) != "content" {
		t.Errorf("custom sections %+v", info.Custom)
	}
	if info.MinPages != 1 || info.MaxPages != 4 || !info.HasStart || info.Globals != 1 {
		t.Errorf("info %+v", info)
	}
}

func TestMalformedModules(t *testing.T) {
	header := "\x00asm\x01\x00\x00\x00"
	for _, c := range []struct{ name, module, text string }{
		{"empty", "", "magic header"},
		{"version 2", "\x00asm\x02\x00\x00\x00", "magic header"},
		{"unknown section", header + "\x0d\x00", "unknown section 13"},
		{"section past the end", header + "\x01\x05\x00", "unexpected end"},
		{"section twice", header + "\x01\x01\x00\x01\x01\x00", "stands twice"},
		{"sections out of order", header + "\x03\x01\x00\x01\x01\x00", "out of order"},
		{"section too long", header + "\x01\x02\x00\x00", "longer than its content"},
		{"endless number", header + "\x01\x06\x80\x80\x80\x80\x80\x00", "representation too long"},
		{"number too large", header + "\x01\x05\xff\xff\xff\xff\x1f", "integer too large"},
		{"vector too long", header + "\x01\x05\xff\xff\xff\xff\x0f", "longer than its section"},
		{"gc type", header + "\x01\x03\x01\x5f\x00", "type form 0x5f"},
		{"imported memory", header + "\x02\x08\x01\x01a\x01m\x02\x00\x01", "only functions can be imported"},
		{"bad utf-8", header + "\x02\x07\x01\x01\xff\x01m\x00\x00", "UTF-8"},
		{"unknown import type", header + "\x02\x07\x01\x01a\x01m\x00\x00", "unknown type 0"},
		{"two memories", header + "\x05\x05\x02\x00\x01\x00\x01", "multiple memories"},
		{"memory too large", header + "\x05\x05\x01\x00\x81\x80\x04", "at most 65536"},
		{"memory64", header + "\x05\x03\x01\x04\x01", "64-bit memory"},
		{"huge table", header + "\x04\x06\x01\x70\x00\x80\x80\x7f", "at most 1000000"},
		{"mutable v128", header + "\x06\x04\x01\x7b\x01\x0b", "not supported"},
		{"unknown export", header + "\x07\x05\x01\x01f\x00\x07", "unknown function 7"},
		{"export twice", header + "\x07\x09\x02\x01f\x03\x00\x01f\x03\x00", "duplicate export"},
		{"unknown start", header + "\x08\x01\x03", "start function 3 is unknown"},
		{"no body", header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00", "1 functions are declared, 0 have a body"},
		{"no end", header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x01", "unexpected end"},
		{"code behind the end", header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x05\x01\x03\x00\x0b\x0b", "behind the end"},
		{"unknown instruction", header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x05\x01\x03\x00\xff\x0b", "instruction 0xff"},
		{"too many locals", header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x09\x01\x07\x01\xff\xff\xff\x0f\x7f\x0b", "more than 50000 locals"},
		{"grow without memory", header + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x06\x01\x04\x00\x40\x00\x0b", "unknown memory 0"},
		{"more data segments than fit", header + "\x0b\x05\xff\xff\xff\xff\x0f", "longer than its section"},
		{"more data than fit", header + "\x05\x03\x01\x00\x01\x0b\x0a\x01\x00\x41\x00\x0b\xff\xff\xff\xff\x0f", "unexpected end"},
		{"unknown data segment", header + "\x0b\x02\x01\x03", "malformed data segment"},
		{"block in a constant", header + "\x06\x06\x01\x7f\x00\x02\x40\x0b", "constant expression required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rewrite([]byte(c.module), 100)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("%v, expected an error with %q", err, c.text)
			}
			var inv *InvalidError
			var m64 *Module64Error
			if !errors.As(err, &inv) && !errors.As(err, &m64) {
				t.Errorf("%T is not an error of the module's", err)
			}
		})
	}
	if _, err := rewrite(assemble("func $f () ()\nend\nexport $f \"icrelay:fuel\""), 100); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("a reserved export: %v", err)
	}
}

// The rewritten module computes what the module computes, moved functions,
// tables, references and all.
func TestRewrittenModulesWork(t *testing.T) { eachWidth(t, testRewrittenModulesWork) }

func testRewrittenModulesWork(t *testing.T, w width) {
	e := newEngine(t, Config{})
	_, i := instantiate(t, e, w.text(`
		import ic0 note (i32) ()
		import ic0 peek (i32) (i32)
		memory 1
		data 0 "A"
		table 4
		elem 1 $double $note
		global $n i32 mut 3
		func $double (i32) ()
		  local.get 0
		  i32.const 2
		  i32.mul
		  call $note
		end
		func $start () ()
		  i32.const 10
		  global.set $n
		end
		start $start
		func $f () ()
		  locals i32
		  i32.const 21
		  i32.const 1
		  call_indirect (i32) () ; $double
		  i32.const 7
		  i32.const 2
		  call_indirect (i32) () ; $note, an import
		  i32.const 0
		  call $peek
		  call $note
		  global.get $n
		  call $note
		  block
		    loop
		      local.get 0
		      i32.const 3
		      i32.eq
		      br_if 1
		      local.get 0
		      i32.const 1
		      i32.add
		      local.set 0
		      br 0
		    end
		  end
		  local.get 0
		  call $note
		  ref.func $f
		  ref.is_null
		  if
		    unreachable
		  end
		  i32.const 5
		  return_call $double
		end
		export $f "f"`))
	env, _, err := invoke(t, i, "f")
	if err != nil {
		t.Fatal(err)
	}
	want := []uint64{42, 7, 'A', 3, 3, 10}
	if len(env.calls) != len(want) {
		t.Fatalf("calls %v, expected %v", env.calls, want)
	}
	for n := range want {
		if env.calls[n] != want[n] {
			t.Fatalf("calls %v, expected %v", env.calls, want)
		}
	}
	if _, err := i.Invoke(context.Background(), Entry{Start: true}, env, Budget{}); err != nil {
		t.Fatal(err)
	}
	env = &environment{}
	if _, err := i.Invoke(context.Background(), Entry{Callback: true, Index: 1, Arg: 30}, env, Budget{}); err != nil || len(env.calls) != 1 || env.calls[0] != 60 {
		t.Errorf("callback: %v, %v", env.calls, err)
	}
	var trap *Trap
	if _, err := i.Invoke(context.Background(), Entry{Callback: true, Index: 99}, env, Budget{}); !errors.As(err, &trap) || trap.Kind != TrapTable {
		t.Errorf("a callback that is not there: %v", err)
	}
	if got := i.Globals(nil)[0]; got != 10 {
		t.Errorf("the start function did not run: %d", got)
	}
}

// TestMotokoModules: what the Motoko compiler emits can be rewritten, and read again.
func TestMotokoModules(t *testing.T) {
	for _, name := range []string{"counter", "caller"} {
		b, err := os.ReadFile("../execution/testdata/" + name + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		res, err := rewrite(b, 1<<14)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(res.binary); err != nil {
			t.Error(err)
		}
		if res.impure {
			t.Errorf("%s counts as impure", name)
		}
	}
}

// stores64 has all kinds of writes to a 64-bit memory, each at an address that it is given.
const stores64 = `
	import ic0 poke (i64 i64) ()
	memory64 1 8
	table 2
	elem 1 $byte
	data 100 "active"
	passive "0123456789"
	global $f f64 mut 3
	global $i i32 mut 4
	func $byte (i64) ()
	  local.get 0
	  i64.const 1
	  i64.store8
	end
	func $word (i64) ()
	  local.get 0
	  i32.const 0x10203
	  i32.store 5000
	end
	func $long (i64) ()
	  local.get 0
	  i64.const -1
	  i64.store
	end
	func $float (i64) ()
	  local.get 0
	  global.get $f
	  f64.store
	end
	func $fill (i64) ()
	  local.get 0
	  i32.const 0x77
	  i64.const 9000
	  memory.fill
	end
	func $copy (i64) ()
	  local.get 0
	  i64.const 0
	  i64.const 5000
	  memory.copy
	end
	func $init (i64) ()
	  local.get 0
	  i32.const 2
	  i32.const 5
	  memory.init 1
	end
	func $host (i64) ()
	  local.get 0
	  i64.const 4097
	  call $poke
	end
	func $grow (i64) ()
	  i64.const 1
	  memory.grow
	  drop
	  memory.size
	  i64.const 16
	  i64.shl
	  i64.const 3
	  i64.sub
	  i64.const 0x55
	  i64.store8
	end
	func $trap (i64) ()
	  local.get 0
	  i64.const 5
	  i64.store
	  unreachable
	end
	func $globals (i64) ()
	  local.get 0
	  i32.wrap_i64
	  global.set $i
	end
	export $byte "byte"
	elem 0 $word`

// seeds are small: mutating a large module takes the fuzzer too long.
func seeds(f *testing.F) {
	f.Helper()
	for _, text := range []string{
		"memory 1 2\ntable 3\nelem 0 $f\nglobal $g i64 mut 1\nfunc $f (i32) ()\nloop\nbr 0\nend\nend\nexport $f \"f\"\nstart $s\nfunc $s () ()\nend",
		"memory 1\ndata 0 \"abc\"\nfunc $f () ()\ni32.const 0\ni32.const 0\ni32.const 9\nmemory.fill\nmemory.size\nmemory.grow\ndrop\nend",
		"import ic0 note (i32) ()\nfunc $f (i32) (i32)\nlocals i64 f32\nblock i32\nlocal.get 0\nbr_if 0\ni32.const -5\nend\ncall $note\nlocal.get 0\nend\nexport $f \"x\"",
	} {
		f.Add(assemble(text))
	}
	f.Add(wasmtest.Custom(assemble("func $f () ()\nend"), "icp:public a", "b"))
	f.Add(assemble(stores64))
}

// FuzzRewrite: nothing panics, the result is bounded by the input, and it can be read again.
func FuzzRewrite(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, module []byte) {
		res, err := rewrite(module, 100)
		if err != nil {
			res, err = rewrite64(module, 100)
		}
		if err != nil {
			return
		}
		if len(res.binary) > 40*len(module)+1000 {
			t.Fatalf("%d bytes out of %d", len(res.binary), len(module))
		}
		if res.info.Memory64 {
			return // it has a second memory, which the parser does not know
		}
		if _, err := parse(res.binary); err != nil {
			t.Fatalf("the rewritten module is malformed: %v", err)
		}
	})
}

// FuzzValidity: what the compiler accepts as it is, it accepts rewritten, and the other way round.
func FuzzValidity(f *testing.F) {
	seeds(f)
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(100).WithDebugInfoEnabled(false).
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesTailCall|experimental.CoreFeaturesExtendedConst))
	f.Cleanup(func() { _ = r.Close(ctx) })
	f.Fuzz(func(t *testing.T, module []byte) {
		res, err := rewrite(module, 100)
		if err != nil {
			return
		}
		compiled, before := r.CompileModule(ctx, module)
		if before == nil {
			_ = compiled.Close(ctx)
		}
		compiled, after := r.CompileModule(ctx, res.binary)
		if after == nil {
			_ = compiled.Close(ctx)
		}
		if before == nil && after != nil {
			t.Fatalf("valid as it was, but rewritten: %v", after)
		}
	})
}
