// Package echo is a canister written in Go that sends every application message
// back to its sender. Clients and gateways see what a canister with the IC
// WebSocket CDK has: its four methods, its certified queue of messages, its
// acknowledgements and its texts. It is there to load gateways with: a call and
// a poll cost microseconds, whatever the number of clients and of messages
// queued, so that a measurement is about the gateway and not about a Wasm engine.
//
// A message that is variant { Everybody : text } goes to all clients instead, and
// one that is variant { Nobody : text } to none.
//
// state.go is the CDK's bookkeeping of clients and gateways, queue.go the
// messages that wait for a gateway, in a hash tree (trie.go) that shares its
// nodes with its older versions. A call ends with a new [snapshot], which never
// changes; polls read the one that their certificate covers, without a lock that
// calls need.
//
// What differs from the CDK: what is kept for gateways is bounded in bytes, not
// in time alone, and so is the number of clients and gateways, and a poll's answer.
//
// The canister has no goroutines. Calls come one at a time from the machine
// that it is installed in.
package echo

import (
	_ "embed" // for the interface
	"time"

	"github.com/icrelay/icrelay/localnet/execution"
)

//go:embed echo.did
var candidInterface string

// settings are what the CDK calls its parameters, and bounds of our own.
type settings struct {
	ackInterval      time.Duration // between two acknowledgements; messages are kept for as long
	keepAliveTimeout time.Duration // from an acknowledgement to the look at who has answered
	batchMessages    int           // of one poll
	batchBytes       int           // of the contents of one poll's messages, if there are two or more
	queueBytes       int           // of all messages that wait
	clients          int
	gateways         int
}

// The times and the first number are the CDK's defaults.
var defaults = settings{
	ackInterval:      5 * time.Minute,
	keepAliveTimeout: time.Minute,
	batchMessages:    50,
	batchBytes:       1_500_000, // an answer to a query may have 3 MiB
	queueBytes:       128 << 20,
	clients:          200_000,
	gateways:         256,
}

// New returns a new canister, for localnet's Network.InstallBuiltin.
func New() *execution.Native { return newCanister(defaults).native() }

// nanos is a duration of the settings, none of which is negative.
func nanos(d time.Duration) uint64 { return uint64(d) } //nolint:gosec // see above
