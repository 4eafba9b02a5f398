// Package wasm is the small WebAssembly engine under the embedded network: it
// knows modules, instances, memories and instruction budgets, and nothing of
// canisters.
//
// # Parts
//
// Parse reads a module of foreign bytes with a bounded reader and refuses what
// is malformed. Its binary form is then rewritten (rewrite.go) before it is
// compiled, so that whoever runs it can do what WebAssembly itself has no means for:
//
//   - every mutable global is exported, so that it can be rolled back like memory;
//   - the start function is exported instead of run at each instantiation;
//   - memory.size and memory.grow go through a counter of pages that can be
//     rolled back, because an engine's memory cannot shrink;
//   - an exported trampoline calls a table entry, for modules that do not export their table;
//   - instructions are counted against a budget, and an exhausted budget calls
//     the host (meter.go). That stops endless loops with the instance and its
//     state intact. The engine's own means, closing the module when a context
//     ends, costs a call into Go for each turn of each loop.
//
// Image holds the committed state of an instance; it commits or rolls back
// after each message by comparing pages.
//
// # Engines
//
// Engine is the interface to a compiler. wazero (wazero.go), which is pure Go,
// runs modules with a 32-bit memory, in every build. Modules with a 64-bit memory
// need the build tag wasm64, and cgo: they run on Wasmtime (wasmtime.go), and are
// rewritten differently (rewrite64.go). Their instructions are counted exactly and
// with the Internet Computer's weights; Wasmtime's epochs stop them at a deadline and when a context ends; and as their memories
// are larger, stores mark what they change, so that only that is compared.
// Without the tag such a module is refused with a *Module64Error, which says what to do.
//
// # Goroutines and lifecycle
//
// The package starts no goroutines that outlast a call. An Engine may be used from several at once;
// an Instance belongs to one goroutine at a time. Modules are compiled once per
// hash and counted: Release gives one up, and a few that nobody uses are kept.
package wasm
