// Package relay reaches canisters through the relay canister: a middleware
// canister with the CDK's interface that passes clients' messages on as
// ordinary calls, and certifies what ordinary queries return as messages.
//
// To the gateway the relay canister looks like a canister with the CDK, so
// the four methods are package cdk's. Three things differ:
//
//   - The relay canister puts a client's messages back in order, so several
//     may be under way at once (bridge.Pipeliner).
//   - The gateway watches the feeds' queries, which cost nothing, and tells
//     the relay canister when there is something new (bridge.Watcher). Feeds
//     with an interval the relay canister asks by itself.
//   - The relay canister has a configuration and an interface with a version. A
//     canister of a version that this package does not know is refused: no
//     ws_open is forwarded to it (version.go).
//
// Settings are that configuration: encoded for an installation or for
// relay_configure, as text for deploy tools, and compared with what a canister has.
//
// An Adapter owns no goroutines: Watch runs in its caller's.
package relay
