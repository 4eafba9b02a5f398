package wasm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Engine compiles modules. It may be used from several goroutines at once.
type Engine interface {
	// Compile reads, rewrites and compiles a module, or finds it compiled
	// already. What the module's author has to mend comes back as an
	// *InvalidError or *Module64Error. The caller owes a Release.
	Compile(ctx context.Context, binary []byte) (Module, error)
	// Close frees what is compiled. No instance may be in use.
	Close() error
}

// Module is a compiled module. It may be used from several goroutines at once.
type Module interface {
	Info() *Info
	// Pure reports that running the module changes its memory and globals only.
	// An impure module changes tables too, which nobody rolls back: a fresh
	// instance must be taken for each message.
	Pure() bool
	// Instantiate makes an instance in the module's initial state. The start
	// function does not run; it is an Entry.
	Instantiate(ctx context.Context) (Instance, error)
	// Release gives the module up, after all its instances are closed.
	Release()
}

// Instance is a module's memory, globals and tables. One goroutine at a time may use it.
type Instance interface {
	// Invoke runs an entry of type () -> (), or a table entry that takes an address,
	// until it returns, traps, fails in a host function or exhausts the budget,
	// and reports the instructions used in any case. The instance stays usable;
	// its state is then whatever the code left behind (see Image).
	Invoke(ctx context.Context, entry Entry, env any, budget Budget) (instructions uint64, err error)
	// Has reports whether there is such an exported function.
	Has(export string) bool
	// Memory is the memory in use, to be read. It is valid until the memory grows.
	Memory() []byte
	// Resize changes the memory in use. What is added is not cleared.
	Resize(pages uint64) error
	// Globals appends the values of the mutable globals; SetGlobals sets them from the same order.
	Globals(dst []uint64) []uint64
	SetGlobals(values []uint64)
	Close() error
}

// Entry names what is invoked.
type Entry struct {
	Export string
	Start  bool // the start function instead
	// Callback: the table's entry Index with the argument Arg instead.
	Callback   bool
	Index, Arg uint64 // both of 32 bits in a module with a 32-bit memory
}

// Budget bounds one invocation. Zero fields do not bound.
type Budget struct {
	Instructions uint64
	Deadline     time.Time
}

// slice is how many instructions run between two looks at clock and context,
// a few milliseconds' worth.
const slice = 10_000_000

// Errors of Invoke beside *Trap, errors of the context and errors of host functions.
var (
	ErrInstructionLimit = errors.New("the instruction limit of the message is used up")
	ErrDeadline         = errors.New("the time limit of the message is used up")
	ErrNoEntry          = errors.New("no such function")
	ErrMemoryLimit      = errors.New("memory limit exceeded")
)

// TrapKind is the reason of a trap.
type TrapKind int

// The traps of WebAssembly.
const (
	TrapOther TrapKind = iota
	TrapUnreachable
	TrapMemory
	TrapTable
	TrapSignature
	TrapDivideByZero
	TrapOverflow
	TrapConversion
	TrapStack
)

// Trap is an error of the WebAssembly code itself. Trace is for the log.
type Trap struct {
	Kind  TrapKind
	Trace string
}

var trapTexts = map[TrapKind]string{
	TrapOther:        "unknown",
	TrapUnreachable:  "unreachable",
	TrapMemory:       "heap out of bounds",
	TrapTable:        "table out of bounds",
	TrapSignature:    "indirect call to a function of another type",
	TrapDivideByZero: "integer division by 0",
	TrapOverflow:     "integer overflow",
	TrapConversion:   "bad conversion to integer",
	TrapStack:        "stack overflow",
}

func (t *Trap) Error() string { return trapTexts[t.Kind] }

// HostFunction is a function that modules can import. Call gets the arguments
// on the stack, those of 32 bits zero-extended, leaves its result there, and
// ends the invocation by an error.
type HostFunction struct {
	Module, Name string
	Type         FuncType
	Call         func(c *Call, stack []uint64) error
}

// Call is what a host function sees of the invocation that it serves.
type Call struct {
	Env  any // as given to Invoke
	host callHost
}

// callHost is the engine's side of a Call.
type callHost interface {
	Memory() []byte
	wrote(offset, size uint64)
	charge(n uint64)
	used() uint64
}

// Memory is the memory in use, to be read. It is valid until the memory grows.
func (c *Call) Memory() []byte { return c.host.Memory() }

// Writable is the given part of the memory, to be written to, or false if it is
// not all there.
func (c *Call) Writable(offset, size uint64) ([]byte, bool) {
	m := c.host.Memory()
	if offset > uint64(len(m)) || size > uint64(len(m))-offset {
		return nil, false
	}
	c.host.wrote(offset, size)
	return m[offset : offset+size : offset+size], true
}

// Charge takes instructions off the budget, for work done on the module's behalf.
func (c *Call) Charge(n uint64) { c.host.charge(n) }

// Instructions is what the invocation has used so far.
func (c *Call) Instructions() uint64 { return c.host.used() }

// Config of an engine.
type Config struct {
	// Functions can be imported, and nothing else: Functions by modules with a
	// 32-bit memory or none, Functions64 by those with a 64-bit memory.
	Functions   []HostFunction
	Functions64 []HostFunction
	// MaxPages bounds the memory of an instance; 0 means 16384 (1 GiB).
	MaxPages uint32
	// Keep is how many modules stay compiled that nobody uses; 0 means 8.
	Keep int
}

func (c *Config) maxPages() uint32 {
	if c.MaxPages == 0 {
		return 1 << 14
	}
	return c.MaxPages
}

// checkImports refuses imports that are not there or are of another type.
func checkImports(info *Info, functions map[string]FuncType) error {
	for _, im := range info.Imports {
		t, ok := functions[im.Module+"\x00"+im.Name]
		if !ok {
			return invalid("Wasm module has an invalid import section. Module imports function '%s' from '%s' that is not exported by the runtime.", im.Name, im.Module)
		}
		if !equalTypes(t, im.Type) {
			return invalid("Wasm module has an invalid import section. Function '%s' from '%s' is imported with type %v, expected %v.", im.Name, im.Module, im.Type, t)
		}
	}
	return nil
}

func equalTypes(a, b FuncType) bool {
	return string(valueBytes(a.Params)) == string(valueBytes(b.Params)) && string(valueBytes(a.Results)) == string(valueBytes(b.Results))
}

func valueBytes(ts []ValueType) []byte {
	b := make([]byte, len(ts))
	for i, t := range ts {
		b[i] = byte(t)
	}
	return b
}

func (t FuncType) String() string { return fmt.Sprintf("%v -> %v", t.Params, t.Results) }
