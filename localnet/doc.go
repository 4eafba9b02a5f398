// Package localnet is the embedded network: an Internet Computer of one subnet
// and one node, in the process. It runs canister Wasm (package execution) and
// speaks the IC's HTTP interface in front of it, so that unmodified agents
// cannot tell it from a local replica: signed envelopes are checked, calls have
// a certified status, queries are signed by the node, and certificates carry a
// BLS signature of a root key that is made at the start.
//
// It exists for the two-command start and for tests. There is no consensus, the
// one node is trusted, and nothing outlives Close.
//
// # Parts
//
//   - http.go, envelope.go: routes, CORS, limits, what every request must pass.
//   - conns.go: stopping the HTTP server without waiting for idle connections.
//   - call.go, query.go, readstate.go, status.go: one endpoint each.
//   - requests.go: the status of every call, kept for replay protection.
//   - package standin: the canisters of the Internet Computer that tools ask for.
//   - statetree.go, labelmap.go, certifier.go: the system state tree, and
//     certificates with witnesses cut from it.
//
// # Goroutines and lifecycle
//
// Start listens and owns the machine, the HTTP server's goroutine and one
// janitor that forgets expired requests. Request handlers belong to the server.
// Close answers the calls that still wait with 202, ends all of it and returns
// when the last goroutine is gone. The machine calls back on goroutines of its
// own; those callbacks only take this package's locks, for microseconds.
//
// # Locks
//
// certifier.mu (making a state), then requests.mu (the calls' status): the only
// two that are held together, in this order. The machine's own locks may be
// taken under certifier.mu, to read canisters, never under requests.mu; the
// machine holds none of its locks while it calls back. Network.life keeps Close
// from returning before the last handler has.
package localnet
