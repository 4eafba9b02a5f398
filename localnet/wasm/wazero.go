package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// wazeroEngine compiles with wazero, to machine code on amd64 and arm64.
type wazeroEngine struct {
	runtime   wazero.Runtime
	functions map[string]FuncType
	maxPages  uint32
	shelf
}

var (
	_ Engine   = (*wazeroEngine)(nil)
	_ Module   = (*wazeroModule)(nil)
	_ Instance = (*wazeroInstance)(nil)
)

func newWazero(ctx context.Context, cfg Config) (*wazeroEngine, error) {
	e := &wazeroEngine{
		functions: make(map[string]FuncType, len(cfg.Functions)),
		maxPages:  min(cfg.maxPages(), 1<<16-1),
		shelf:     newShelf(cfg.Keep),
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesTailCall|experimental.CoreFeaturesExtendedConst).
		WithMemoryLimitPages(e.maxPages).
		WithDebugInfoEnabled(false))
	if err := e.link(ctx, cfg.Functions); err != nil {
		return nil, errors.Join(err, e.runtime.Close(ctx))
	}
	return e, nil
}

// link makes the host functions importable.
func (e *wazeroEngine) link(ctx context.Context, functions []HostFunction) error {
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range functions {
		b := builders[f.Module]
		if b == nil {
			b = e.runtime.NewHostModuleBuilder(f.Module)
			builders[f.Module] = b
		}
		call := f.Call
		var narrow []int // wazero leaves the upper halves of 32-bit parameters undefined
		for n, t := range f.Type.Params {
			if t == I32 {
				narrow = append(narrow, n)
			}
		}
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			i := instanceOf(ctx)
			for _, n := range narrow {
				stack[n] &= 0xffffffff
			}
			if err := call(&i.call, stack); err != nil {
				panic(hostError{err}) // recovered by wazero, which unwinds the module's stack
			}
		}), apiTypes(f.Type.Params), apiTypes(f.Type.Results)).Export(f.Name)
		e.functions[f.Module+"\x00"+f.Name] = f.Type
	}
	own := e.runtime.NewHostModuleBuilder(hostModule)
	own.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, _ []uint64) {
		if err := instanceOf(ctx).refuel(ctx); err != nil {
			panic(hostError{err})
		}
	}), nil, nil).Export(hostRefuel)
	builders[hostModule] = own
	for name, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("link host module %q: %w", name, err)
		}
	}
	return nil
}

func apiTypes(ts []ValueType) []api.ValueType {
	out := make([]api.ValueType, len(ts))
	for i, t := range ts {
		out[i] = api.ValueType(t)
	}
	return out
}

// hostError carries an error of a host function through wazero.
type hostError struct{ error }

func (e hostError) Unwrap() error { return e.error }

func (e *wazeroEngine) Close() error { return e.runtime.Close(context.Background()) }

// Compile implements Engine.
func (e *wazeroEngine) Compile(ctx context.Context, binary []byte) (Module, error) {
	return e.get(ctx, binary, func() shelved { return &wazeroModule{engine: e} })
}

// cloneSections lets go of the binary that the sections alias.
func cloneSections(in []CustomSection) []CustomSection {
	out := make([]CustomSection, 0, len(in))
	for _, s := range in {
		out = append(out, CustomSection{Name: s.Name, Content: append([]byte(nil), s.Content...)})
	}
	return out
}

// compile checks, rewrites and compiles. The module is foreign: should a fault
// of the compiler show as a panic, it is that module's fault and nobody else's.
func (m *wazeroModule) compile(ctx context.Context, binary []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = invalid("the compiler failed on the module: %v", r)
		}
	}()
	e := m.engine
	res, err := rewrite(binary, uint64(e.maxPages))
	if err != nil {
		return err
	}
	if err := checkImports(&res.info, e.functions); err != nil {
		return err
	}
	ctx = experimental.WithCompilationWorkers(context.WithoutCancel(ctx), runtime.GOMAXPROCS(0))
	if m.code, err = e.runtime.CompileModule(ctx, res.binary); err != nil {
		return invalid("Wasm module failed to validate: %v", err)
	}
	m.rewritten = *res
	m.binary = nil
	m.info.Custom = cloneSections(res.info.Custom)
	return nil
}

type wazeroModule struct {
	place
	rewritten
	engine *wazeroEngine
	code   wazero.CompiledModule
}

// Info implements Module.
func (m *wazeroModule) Info() *Info { return &m.info }

// Pure implements Module.
func (m *wazeroModule) Pure() bool { return !m.impure }

// Release implements Module.
func (m *wazeroModule) Release() { m.engine.release(m) }

func (m *wazeroModule) free() {
	if m.code != nil {
		_ = m.code.Close(context.Background()) // frees memory only
	}
}

// Instantiate implements Module.
func (m *wazeroModule) Instantiate(ctx context.Context) (Instance, error) {
	mod, err := m.engine.runtime.InstantiateModule(ctx, m.code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, invalid("the module cannot be instantiated: %v", err)
	}
	i := &wazeroInstance{mod: mod, functions: map[string]api.Function{}}
	i.ctx.instance = i
	i.call.host = i
	i.fuel = mod.ExportedGlobal(exportFuel).(api.MutableGlobal)
	for _, g := range m.globals {
		i.globals = append(i.globals, mod.ExportedGlobal(exportGlobal+strconv.Itoa(g)).(api.MutableGlobal))
	}
	if m.memory {
		i.memory = mod.ExportedMemory(exportMemory)
		i.pages = mod.ExportedGlobal(exportPages).(api.MutableGlobal)
	}
	return i, nil
}

type wazeroInstance struct {
	mod       api.Module
	memory    api.Memory // nil without one
	pages     api.MutableGlobal
	fuel      api.MutableGlobal
	globals   []api.MutableGlobal
	functions map[string]api.Function

	// Of the invocation under way.
	ctx    invocation
	call   Call
	budget Budget
	spent  uint64 // instructions of the slices before this one
	given  uint64 // instructions in this slice
	args   [2]uint64
}

// invocation is the context that host functions are called with. It leads them
// to the instance without the search and the allocation of context.WithValue.
type invocation struct {
	context.Context
	instance *wazeroInstance
}

func instanceOf(ctx context.Context) *wazeroInstance { return ctx.(*invocation).instance }

// Invoke implements Instance.
func (i *wazeroInstance) Invoke(ctx context.Context, entry Entry, env any, budget Budget) (uint64, error) {
	name, args := entry.Export, i.args[:0]
	switch {
	case entry.Start:
		name = exportStart
	case entry.Callback:
		name, args = exportCallback, append(args, entry.Index, entry.Arg)
	}
	f := i.functions[name]
	if f == nil {
		if f = i.mod.ExportedFunction(name); f == nil {
			if entry.Callback { // a module without a table
				return 0, &Trap{Kind: TrapTable}
			}
			return 0, fmt.Errorf("%w: %q", ErrNoEntry, name)
		}
		i.functions[name] = f
	}
	i.ctx.Context, i.call.Env, i.budget = ctx, env, budget
	i.spent, i.given = 0, 0
	i.fuel.Set(0)
	err := i.refuel(ctx)
	if err == nil {
		err = f.CallWithStack(&i.ctx, args)
	}
	used := i.used()
	i.ctx.Context, i.call.Env = nil, nil
	if err != nil {
		err = i.explain(err)
		var trap *Trap
		if errors.As(err, &trap) && trap.Kind == TrapStack {
			delete(i.functions, name) // with it goes a stack of hundreds of megabytes
		}
	}
	return used, err
}

// explain turns an error of wazero into one of this package.
func (i *wazeroInstance) explain(err error) error {
	var host hostError
	if errors.As(err, &host) {
		return host.error
	}
	text := err.Error()
	if inner := errors.Unwrap(err); inner != nil {
		text = inner.Error()
	}
	kind, ok := trapKinds[strings.TrimPrefix(text, "wasm error: ")]
	if !ok {
		kind = TrapOther
	}
	return &Trap{Kind: kind, Trace: err.Error()}
}

// trapKinds reads wazero's texts; its errors are of an internal type.
var trapKinds = map[string]TrapKind{
	"unreachable":                   TrapUnreachable,
	"out of bounds memory access":   TrapMemory,
	"invalid table access":          TrapTable,
	"indirect call type mismatch":   TrapSignature,
	"integer divide by zero":        TrapDivideByZero,
	"integer overflow":              TrapOverflow,
	"invalid conversion to integer": TrapConversion,
	"stack overflow":                TrapStack,
}

// used is the number of instructions of this invocation so far.
func (i *wazeroInstance) used() uint64 { return i.spent + i.given - i.fuel.Get() } // fuel may be negative: the sum wraps back

func (i *wazeroInstance) wrote(uint64, uint64) {}

func (i *wazeroInstance) charge(n uint64) { i.fuel.Set(i.fuel.Get() - min(n, 1<<60)) }

// refuel starts the next slice, or says why there is none.
func (i *wazeroInstance) refuel(ctx context.Context) error {
	i.spent, i.given = i.used(), 0
	i.fuel.Set(0)
	next := uint64(slice)
	if limit := i.budget.Instructions; limit > 0 {
		if i.spent >= limit {
			return ErrInstructionLimit
		}
		next = min(next, limit-i.spent)
	}
	if d := i.budget.Deadline; i.spent > 0 && !d.IsZero() && time.Now().After(d) {
		return ErrDeadline
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	i.given = next
	i.fuel.Set(next)
	return nil
}

// Has implements Instance.
func (i *wazeroInstance) Has(export string) bool {
	_, ok := i.mod.ExportedFunctionDefinitions()[export]
	return ok
}

// Memory implements Instance.
func (i *wazeroInstance) Memory() []byte {
	if i.memory == nil {
		return nil
	}
	b, _ := i.memory.Read(0, i.memory.Size())
	return b[:min(i.pages.Get()*PageSize, uint64(len(b)))]
}

// Resize implements Instance.
func (i *wazeroInstance) Resize(pages uint64) error {
	if i.memory == nil {
		if pages > 0 {
			return fmt.Errorf("resize to %d pages: the module has no memory", pages)
		}
		return nil
	}
	if have := uint64(i.memory.Size()) / PageSize; pages > have {
		if _, ok := i.memory.Grow(uint32(min(pages-have, 1<<16))); !ok { // #nosec G115 -- bounded here
			return fmt.Errorf("resize to %d pages: %w", pages, ErrMemoryLimit)
		}
	}
	i.pages.Set(pages)
	return nil
}

// Globals implements Instance.
func (i *wazeroInstance) Globals(dst []uint64) []uint64 {
	for _, g := range i.globals {
		dst = append(dst, g.Get())
	}
	return dst
}

// SetGlobals implements Instance.
func (i *wazeroInstance) SetGlobals(values []uint64) {
	for n, g := range i.globals {
		if n < len(values) {
			g.Set(values[n])
		}
	}
}

// Close implements Instance.
func (i *wazeroInstance) Close() error { return i.mod.Close(context.Background()) }
