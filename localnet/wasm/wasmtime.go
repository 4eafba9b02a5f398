//go:build wasm64 && cgo

package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/bytecodealliance/wasmtime-go/v41"
)

// wasmtimeEngine compiles modules with a 64-bit memory with Wasmtime.
//
// To interrupt code, Wasmtime raises an epoch, for all code of one of its engines at
// once and for good. As a message must not end others, each instance has an
// engine for itself: the module is compiled once, and then loaded into each.
type wasmtimeEngine struct {
	functions map[string]HostFunction
	types     map[string]FuncType
	maxPages  uint32
	shelf
}

var (
	_ Engine   = (*wasmtimeEngine)(nil)
	_ Module   = (*wasmtimeModule)(nil)
	_ Instance = (*wasmtimeInstance)(nil)
	_ marking  = (*wasmtimeInstance)(nil)
)

func newWasmtime(cfg Config) *wasmtimeEngine {
	e := &wasmtimeEngine{
		functions: make(map[string]HostFunction, len(cfg.Functions64)),
		types:     make(map[string]FuncType, len(cfg.Functions64)),
		maxPages:  cfg.maxPages(),
		shelf:     newShelf(cfg.Keep),
	}
	for _, f := range cfg.Functions64 {
		e.functions[f.Module+"\x00"+f.Name] = f
		e.types[f.Module+"\x00"+f.Name] = f.Type
	}
	return e
}

// newStoreEngine returns an engine for one instance.
func newStoreEngine() *wasmtime.Engine {
	c := wasmtime.NewConfig()
	c.SetEpochInterruption(true)
	c.SetWasmMemory64(true)
	c.SetWasmMultiMemory(true)
	c.SetWasmTailCall(true)
	c.SetWasmRelaxedSIMD(false)
	c.SetWasmThreads(false)
	c.SetCraneliftNanCanonicalization(true)
	c.SetMaxWasmStack(stackSize())
	return wasmtime.NewEngineWithConfig(c)
}

// Compile implements Engine.
func (e *wasmtimeEngine) Compile(ctx context.Context, binary []byte) (Module, error) {
	return e.get(ctx, binary, func() shelved { return &wasmtimeModule{engine: e} })
}

// Close implements Engine.
func (e *wasmtimeEngine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.modules {
		m.free()
	}
	clear(e.modules)
	e.idle = nil
	return nil
}

type wasmtimeModule struct {
	place
	rewritten
	engine   *wasmtimeEngine
	compiled []byte // machine code, as Wasmtime loads it

	mu    sync.Mutex
	cells []cell // loaded, and used by no instance
}

// cell is the module loaded into an engine for one instance.
type cell struct {
	engine *wasmtime.Engine
	module *wasmtime.Module
}

func (c cell) close() {
	c.module.Close()
	c.engine.Close()
}

// maxCells bounds the cells that a module keeps loaded.
const maxCells = 2

func (m *wasmtimeModule) compile(_ context.Context, binary []byte) (err error) {
	e := m.engine
	res, err := rewrite64(binary, uint64(e.maxPages))
	if err != nil {
		return err
	}
	if err := checkImports(&res.info, e.types); err != nil {
		return err
	}
	c := cell{engine: newStoreEngine()}
	if c.module, err = wasmtime.NewModule(c.engine, res.binary); err != nil {
		c.engine.Close()
		return invalid("Wasm module failed to validate: %s", withoutBacktrace(err))
	}
	if m.compiled, err = c.module.Serialize(); err != nil {
		c.close()
		return fmt.Errorf("serialize a compiled module: %w", err)
	}
	m.cells = []cell{c}
	m.rewritten = *res
	m.binary = nil
	m.info.Custom = cloneSections(res.info.Custom)
	return nil
}

// Info implements Module.
func (m *wasmtimeModule) Info() *Info { return &m.info }

// Pure implements Module.
func (m *wasmtimeModule) Pure() bool { return !m.impure }

// Release implements Module.
func (m *wasmtimeModule) Release() { m.engine.release(m) }

func (m *wasmtimeModule) free() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.cells {
		c.close()
	}
	m.cells = nil
}

func (m *wasmtimeModule) takeCell() (cell, error) {
	m.mu.Lock()
	if n := len(m.cells); n > 0 {
		c := m.cells[n-1]
		m.cells = m.cells[:n-1]
		m.mu.Unlock()
		return c, nil
	}
	m.mu.Unlock()
	c := cell{engine: newStoreEngine()}
	var err error
	if c.module, err = wasmtime.NewModuleDeserialize(c.engine, m.compiled); err != nil {
		c.engine.Close()
		return cell{}, fmt.Errorf("load a compiled module: %w", err)
	}
	return c, nil
}

func (m *wasmtimeModule) giveCell(c cell) {
	m.mu.Lock()
	if len(m.cells) < maxCells {
		m.cells = append(m.cells, c)
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	c.close()
}

// Instantiate implements Module.
func (m *wasmtimeModule) Instantiate(context.Context) (Instance, error) {
	c, err := m.takeCell()
	if err != nil {
		return nil, err
	}
	i := &wasmtimeInstance{owner: m, cell: c, store: wasmtime.NewStore(c.engine), functions: map[string]*wasmtime.Func{}}
	i.call.host = i
	i.store.Limiter(-1, maxTableSize, -1, -1, -1)
	imports := make([]wasmtime.AsExtern, 0, len(m.info.Imports)+1)
	for _, im := range m.info.Imports {
		imports = append(imports, i.host(m.engine.functions[im.Module+"\x00"+im.Name]))
	}
	grow := FuncType{Params: []ValueType{I64}, Results: []ValueType{I64}}
	imports = append(imports, i.host(HostFunction{Type: grow, Call: func(_ *Call, s []uint64) error {
		if int64(s[0]) == growNothing && i.left() < 0 { // #nosec G115 -- the same bits
			return ErrInstructionLimit
		}
		s[0] = i.grow(s[0])
		return nil
	}}))
	inst, err := wasmtime.NewInstance(i.store, c.module, imports)
	if err != nil {
		return nil, errors.Join(invalid("the module cannot be instantiated: %s", withoutBacktrace(err)), i.Close())
	}
	i.instance = inst
	for _, g := range m.globals {
		i.globals = append(i.globals, inst.GetExport(i.store, exportGlobal+strconv.Itoa(g)).Global())
	}
	i.fuel = inst.GetExport(i.store, exportFuel).Global()
	i.memory = inst.GetExport(i.store, exportMemory).Memory()
	i.pagesUsed = inst.GetExport(i.store, exportPages).Global()
	i.pages = m.info.MinPages
	if m.cards {
		marks := inst.GetExport(i.store, exportCards).Memory()
		i.marks = marks.UnsafeData(i.store)
	}
	i.look()
	runtime.KeepAlive(inst)
	return i, nil
}

// withoutBacktrace is the error without what the library adds for RUST_BACKTRACE.
func withoutBacktrace(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n\nStack backtrace:")
	return text
}

func kinds(ts []ValueType) []*wasmtime.ValType {
	out := make([]*wasmtime.ValType, 0, len(ts))
	for _, t := range ts {
		k := wasmtime.KindI64
		if t == I32 {
			k = wasmtime.KindI32
		}
		out = append(out, wasmtime.NewValType(k))
	}
	return out
}

// host makes a host function importable to one instance.
func (i *wasmtimeInstance) host(f HostFunction) *wasmtime.Func {
	params, results := slices.Clone(f.Type.Params), slices.Clone(f.Type.Results)
	return wasmtime.NewFunc(i.store, wasmtime.NewFuncType(kinds(params), kinds(results)), func(_ *wasmtime.Caller, args []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
		var buf [12]uint64
		stack := buf[:max(len(args), len(results))]
		for n, a := range args {
			if params[n] == I32 {
				stack[n] = uint64(uint32(a.I32())) // #nosec G115 -- the same bits
			} else {
				stack[n] = uint64(a.I64()) // #nosec G115 -- the same bits
			}
		}
		err := f.Call(&i.call, stack)
		if err != nil {
			i.failed = err
			return nil, wasmtime.NewTrap("host function")
		}
		if len(results) == 0 {
			return nil, nil
		}
		if results[0] == I32 {
			return []wasmtime.Val{wasmtime.ValI32(int32(uint32(stack[0])))}, nil // #nosec G115 -- the same bits
		}
		return []wasmtime.Val{wasmtime.ValI64(int64(stack[0]))}, nil // #nosec G115 -- the same bits
	})
}
