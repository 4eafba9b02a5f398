// Package execution runs canisters and their messages as the Internet Computer
// does: unmodified canister Wasm, the System API, calls between canisters,
// timers, queries, and the management canister. It knows nothing of HTTP and of
// signatures, and keeps everything in memory.
//
// # Reading order
//
// machine.go is the Machine with its owner goroutine and its queues. A message
// goes through process.go, which runs it on the canister's module (installed.go)
// with an env (env.go); what the code asks for through the System API
// (sysapi*.go) collects in the env, and is kept or dropped when it has returned.
// send.go takes calls and responses on. query.go evaluates queries, install.go
// changes code, management*.go is the canister aaaaa-aa, native.go is for
// canisters written in Go.
//
// # Goroutines and locks
//
// One goroutine owns the machine and executes everything but queries, one
// message at a time: canisters that have something to do take turns, each does
// its messages in the order they came. Machine.mu guards all state of canisters
// but that of their code; the owner holds it except while code runs. Queries run
// on the goroutine that asks, on instances and on a snapshot of their own; their
// number is bounded. Compiling a module for install_code runs beside the
// messages. Close ends all of it and waits.
//
// installed.poolMu may be taken under Machine.mu. installed.state must not: a
// query may hold it while it waits for Machine.mu (see below); commits take it
// with Machine.mu released, and what Info needs of it is atomic. Callbacks to the outside (Submit's
// done, Options.DataCertificate) are made without any lock but, for the latter,
// perhaps a shared hold of installed.state, which Info does not need.
//
// # State and atomicity
//
// The committed state of a canister is an image of its memory and globals, its
// stable memory and its certified data. An update runs on the main instance,
// which equals the image before it; a return commits, a trap restores
// (interface specification, "Entry points"). A query restores an instance of its
// own from the image first. If the certified data changes between that and the
// moment the query asks for its certificate, the query runs again, and after a
// few attempts makes commits of that canister wait: certificate and state that a
// query sees always belong together.
//
// # What differs from a replica
//
// There is no consensus and no second subnet: messages execute as they come, and
// calls between canisters are delivered at once. Instructions are an upper bound
// of those executed (package wasm), and a message also has a limit in wall-clock
// time. With a 64-bit memory (build tag wasm64) they are counted as the Internet
// Computer does, with its weights, its charges for system calls, and of what it
// charges for pages only their number (Execution.DirtyPages). Cycles are accounted for with the fixed prices in cycles.go; storage is
// free and nothing freezes. Canister signatures are not told apart from other
// identities (ic0.msg_caller_info_*). The management canister has no outcalls,
// threshold signatures, Bitcoin and snapshots; it says so when asked.
package execution
