//go:build wasm64 && cgo

package wasm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bytecodealliance/wasmtime-go/v41"
)

type wasmtimeInstance struct {
	owner     *wasmtimeModule
	cell      cell
	store     *wasmtime.Store
	instance  *wasmtime.Instance
	functions map[string]*wasmtime.Func
	globals   []*wasmtime.Global
	fuel      *wasmtime.Global // what is left of the budget
	memory    *wasmtime.Memory
	pagesUsed *wasmtime.Global // what memory.size answers
	pages     uint64           // the same
	data      []byte           // all of the memory, used or not
	marks     []byte           // the cards, nil without
	same      equality

	// Of the invocation under way.
	call    Call
	given   int64  // fuel at its start
	charges uint64 // by host functions, not yet off the fuel
	failed  error  // of a host function

	// What interrupts an invocation comes from other goroutines.
	mu    sync.Mutex
	turn  uint64 // counts invocations
	cause error  // of the interruption
}

// unlimited fuel for who sets no bound. There is room for what one block or host
// function takes off at once.
const unlimited = math.MaxInt64 / 2

// Invoke implements Instance.
func (i *wasmtimeInstance) Invoke(ctx context.Context, entry Entry, env any, budget Budget) (uint64, error) {
	name, args := entry.Export, []any(nil)
	switch {
	case entry.Start:
		name = exportStart
	case entry.Callback:
		if entry.Index > math.MaxUint32 {
			return 0, &Trap{Kind: TrapTable}
		}
		name, args = exportCallback, []any{int64(entry.Index), int64(entry.Arg)} // #nosec G115 -- the same bits
	}
	f := i.functions[name]
	if f == nil {
		if f = i.instance.GetFunc(i.store, name); f == nil {
			if entry.Callback { // a module without a table
				return 0, &Trap{Kind: TrapTable}
			}
			return 0, fmt.Errorf("%w: %q", ErrNoEntry, name)
		}
		i.functions[name] = f
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	i.given = unlimited
	if budget.Instructions > 0 {
		i.given = int64(min(budget.Instructions, unlimited)) // #nosec G115 -- bounded here
	}
	i.call.Env, i.charges, i.failed = env, 0, nil
	if err := i.fuel.Set(i.store, wasmtime.ValI64(i.given)); err != nil {
		return 0, fmt.Errorf("set fuel: %w", err)
	}
	disarm := i.arm(ctx, budget.Deadline)
	_, err := f.Call(i.store, args...)
	cause := disarm()
	used := i.used()
	i.call.Env = nil
	i.look() // Restore and Commit may come next
	if err != nil {
		err = i.explain(err, cause)
	}
	return used, err
}

// arm sees to it that the invocation ends with the context and at the deadline.
// The function that it returns puts an end to that, and tells what has interrupted the code.
func (i *wasmtimeInstance) arm(ctx context.Context, deadline time.Time) (disarm func() error) {
	i.mu.Lock()
	i.turn++
	turn := i.turn
	i.cause = nil
	i.store.SetEpochDeadline(1)
	i.mu.Unlock()
	interrupt := func(cause error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.turn == turn && i.cause == nil {
			i.cause = cause
			i.cell.engine.IncrementEpoch()
		}
	}
	stopContext := context.AfterFunc(ctx, func() { interrupt(ctx.Err()) })
	var timer *time.Timer
	if !deadline.IsZero() {
		timer = time.AfterFunc(time.Until(deadline), func() { interrupt(ErrDeadline) })
	}
	return func() error {
		stopContext()
		if timer != nil {
			timer.Stop()
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.turn++
		return i.cause
	}
}

var wasmtimeTraps = map[wasmtime.TrapCode]TrapKind{
	wasmtime.StackOverflow:          TrapStack,
	wasmtime.MemoryOutOfBounds:      TrapMemory,
	wasmtime.TableOutOfBounds:       TrapTable,
	wasmtime.IndirectCallToNull:     TrapTable,
	wasmtime.BadSignature:           TrapSignature,
	wasmtime.IntegerOverflow:        TrapOverflow,
	wasmtime.IntegerDivisionByZero:  TrapDivideByZero,
	wasmtime.BadConversionToInteger: TrapConversion,
	wasmtime.UnreachableCodeReached: TrapUnreachable,
}

// explain turns an error of Wasmtime into one of this package.
func (i *wasmtimeInstance) explain(err, cause error) error {
	if i.failed != nil {
		return i.failed
	}
	var t *wasmtime.Trap
	if !errors.As(err, &t) {
		return &Trap{Kind: TrapOther, Trace: err.Error()}
	}
	code := t.Code()
	if code == nil {
		return &Trap{Kind: TrapOther, Trace: t.Message()}
	}
	if *code == wasmtime.Interrupt {
		return cause
	}
	kind, ok := wasmtimeTraps[*code]
	if !ok {
		kind = TrapOther
	}
	return &Trap{Kind: kind, Trace: t.Message()}
}

// left is what the code has left of its fuel; less than nothing once it has used more.
func (i *wasmtimeInstance) left() int64 { return i.fuel.Get(i.store).I64() }

// used is the number of instructions of this invocation so far, at most the budget.
func (i *wasmtimeInstance) used() uint64 {
	return min(uint64(i.given-i.left())+i.charges, uint64(i.given)) // #nosec G115 -- fuel only falls
}

// charge takes instructions off the fuel, when there are enough of them for the
// way into the engine to be worth it.
func (i *wasmtimeInstance) charge(n uint64) {
	const enough = 1 << 16
	if i.charges += min(n, unlimited/2); i.charges < enough {
		return
	}
	left := max(i.left()-int64(i.charges), -1)     // #nosec G115 -- less than MaxInt64
	_ = i.fuel.Set(i.store, wasmtime.ValI64(left)) // fails for another type only
	i.charges = 0
}

// look finds the memory, which may move when it grows.
func (i *wasmtimeInstance) look() { i.data = i.memory.UnsafeData(i.store) }

// grow is memory.grow. It hands out pages that the engine's memory has already,
// zeroed, before it asks for more.
func (i *wasmtimeInstance) grow(delta uint64) (old uint64) {
	const failed = math.MaxUint64
	limit := min(i.owner.info.MaxPages, uint64(i.owner.engine.maxPages))
	if delta > limit || i.pages+delta > limit {
		return failed
	}
	old = i.pages
	had := uint64(len(i.data)) / PageSize
	if i.Resize(old+delta) != nil {
		return failed
	}
	clear(i.data[old*PageSize : max(old, min(i.pages, had))*PageSize])
	return old
}

// Has implements Instance.
func (i *wasmtimeInstance) Has(export string) bool {
	for _, e := range i.owner.info.Exports {
		if e.Kind == KindFunc && e.Name == export {
			return true
		}
	}
	return false
}

// Memory implements Instance.
func (i *wasmtimeInstance) Memory() []byte { return i.data[: i.pages*PageSize : i.pages*PageSize] }

// Resize implements Instance.
func (i *wasmtimeInstance) Resize(pages uint64) error {
	if pages == i.pages {
		return nil
	}
	if have := uint64(len(i.data)) / PageSize; pages > have {
		_, err := i.memory.Grow(i.store, pages-have)
		i.look()
		if err != nil {
			return fmt.Errorf("resize to %d pages: %w: %w", pages, ErrMemoryLimit, err)
		}
	}
	if err := i.pagesUsed.Set(i.store, wasmtime.ValI64(int64(pages))); err != nil { // #nosec G115 -- at most 65536
		return fmt.Errorf("resize to %d pages: %w", pages, err)
	}
	i.pages = pages
	return nil
}

func (i *wasmtimeInstance) cards() []byte    { return i.marks }
func (i *wasmtimeInstance) equal() *equality { return &i.same }

func (i *wasmtimeInstance) wrote(offset, size uint64) {
	if i.marks == nil || size == 0 {
		return
	}
	for g := offset / grain; g <= (offset+size-1)/grain; g++ {
		i.marks[g] = 1
	}
}

// Globals implements Instance.
func (i *wasmtimeInstance) Globals(dst []uint64) []uint64 {
	for n, g := range i.globals {
		v := g.Get(i.store)
		switch i.owner.globalTypes[n] {
		case I32:
			dst = append(dst, uint64(uint32(v.I32()))) // #nosec G115 -- the same bits
		case I64:
			dst = append(dst, uint64(v.I64())) // #nosec G115 -- the same bits
		case F32:
			dst = append(dst, uint64(math.Float32bits(v.F32())))
		default:
			dst = append(dst, math.Float64bits(v.F64()))
		}
	}
	return dst
}

// SetGlobals implements Instance.
func (i *wasmtimeInstance) SetGlobals(values []uint64) {
	for n, g := range i.globals[:min(len(i.globals), len(values))] {
		var v wasmtime.Val
		switch x := values[n]; i.owner.globalTypes[n] {
		case I32:
			v = wasmtime.ValI32(int32(uint32(x))) // #nosec G115 -- the same bits
		case I64:
			v = wasmtime.ValI64(int64(x)) // #nosec G115 -- the same bits
		case F32:
			v = wasmtime.ValF32(math.Float32frombits(uint32(x))) // #nosec G115 -- the same bits
		default:
			v = wasmtime.ValF64(math.Float64frombits(x))
		}
		_ = g.Set(i.store, v) // fails for another type only
	}
}

// Close implements Instance.
func (i *wasmtimeInstance) Close() error {
	i.store.Close()
	i.data, i.marks = nil, nil
	i.owner.giveCell(i.cell)
	return nil
}
