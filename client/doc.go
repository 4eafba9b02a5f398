// Package client speaks the IC WebSocket protocol as a client, for Go
// programs, tests and load generators. It does what the stock JavaScript
// client does, and checks the same things: every message's certificate,
// witness, hash, client key and sequence number.
//
//	conn, err := client.Dial(ctx, client.Options{
//		URL:      "ws://127.0.0.1:8080/",
//		Canister: relayCanister,
//		Identity: identity,
//		Verifier: verifier, // knows the network's root key
//	})
//
// Send and Receive carry the Candid of one application value each. Service
// messages stay inside: an AckMessage is answered with a KeepAliveMessage, a
// CloseMessage ends the connection with a CanisterClosedError.
//
// # Lifecycle
//
// Dial returns when the canister's certified OpenMessage has arrived. From
// then on a Conn has two goroutines: one reads the socket and checks what
// comes, one signs and writes. They end when either side closes, the
// connection breaks or a check fails; Done is closed when they have ended. A
// Conn must be closed, and Close waits for both. There is no automatic
// reconnect: CloseError.Reconnect says whether a new Dial makes sense.
//
// # Queues
//
// Both queues are bounded in messages and bytes (see Options). Send blocks
// while the outgoing one is full. While the incoming one is full the socket is
// not read: a program that does not Receive for long is closed by the gateway,
// and by the canister when an acknowledgement stays unanswered.
package client
