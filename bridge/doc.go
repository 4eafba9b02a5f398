// Package bridge is the gateway itself: it holds the clients' WebSockets,
// speaks the IC WebSocket protocol with them, and reaches canisters through
// adapters that it does not know.
//
// The way of a client's frame:
//
//	server.go    upgrade; who may have a socket: address.go, origins.go, admission.go
//	session.go   one client: handshake, ws_open, ws_message, close
//	pace.go      how much it may send
//	envelope.go  what an envelope must be before it goes on
//	replay.go    which ws_open was used before
//	adapter.go   Open, Message
//
// and of a canister's message:
//
//	poller.go    one loop per canister with clients: when to poll
//	stream.go    the batches that follow, asked for while one is delivered
//	reset.go     has the canister forgotten everything?
//	rejection.go does it take polls at all?
//	hub.go       that canister's sessions: whose message it is
//	reroute.go   other routes while clients are connected
//	verify.go    certificate, witness and content agree
//	outbound.go  the client's bounded queue and its writer
//	socket.go    the socket, written to without waiting
//	frame.go     frames, whose memory is used again
//
// Goroutines. A Gateway owns them all and Stop waits for them: one reader per
// session (session.run, which owns the session), another in its place for the
// first frame, one writer per session while its socket takes no more, one call
// per message under way, and per canister with open sessions one poller, at most
// one stream of polls ahead of it, and at most one watcher.
//
// What is turned away has a cause (refusal.go) and is counted (counters.go);
// metrics.go shows the counters.
//
// Locks. Gateway.mu, hub.mu and outbound.mu are never held across a call to
// the network and are taken in this order; those of admission, visitors and
// opens are the last that anybody takes. readiness.mu is held during a look at
// the network, and waits for no other. hub.poller is held by the poller
// for as long as it runs, and nobody else waits for it but the next poller.
package bridge
