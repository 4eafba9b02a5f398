// Package relay reaches canisters through the relay canister: a middleware
// canister with the CDK's interface that passes clients' messages on as
// ordinary calls, and certifies what ordinary queries return as messages.
//
// To the gateway the relay canister looks like a canister with the CDK, so
// the four methods are package cdk's. Two things differ:
//
//   - The relay canister puts a client's messages back in order, so several
//     may be under way at once (bridge.Pipeliner).
//   - The gateway watches the feeds' queries, which cost nothing, and tells
//     the relay canister when there is something new (bridge.Watcher).
//
// An Adapter owns no goroutines: Watch runs in its caller's.
package relay
