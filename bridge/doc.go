// Package bridge is the gateway itself: it holds the clients' WebSockets,
// speaks the IC WebSocket protocol with them, and reaches canisters through
// adapters that it does not know.
//
// The way of a client's frame:
//
//	server.go    upgrade, admission
//	session.go   one client: handshake, ws_open, ws_message, close
//	envelope.go  what an envelope must be before it goes on
//	adapter.go   Open, Message
//
// and of a canister's message:
//
//	poller.go    one loop per canister with clients: when to poll
//	reset.go     has the canister forgotten everything?
//	hub.go       that canister's sessions: whose message it is
//	verify.go    certificate, witness and content agree
//	outbound.go  the client's bounded queue and its writer
//
// Goroutines. A Gateway owns them all and Stop waits for them: one reader per
// session (session.run, which owns the session), one writer per session while
// there is something to write, one call per message under way, and per
// canister with open sessions one poller and at most one watcher.
//
// Locks. Gateway.mu, hub.mu and outbound.mu are never held across a call to
// the network and are taken in this order. hub.poller is held by the poller
// for as long as it runs, and nobody else waits for it but the next poller.
package bridge
