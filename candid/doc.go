// Package candid holds the data formats of the IC WebSocket protocol: Candid
// for what canisters are told and answer, CBOR for what travels over sockets
// and in request envelopes.
//
// Every Decode function takes bytes from strangers. They work in time linear in
// the input, with a fixed allowance for values that take no space, never follow
// nesting further than a fixed depth, and answer with an error, never a panic.
// The decoders of the four canister methods walk the bytes directly, without
// building values, and follow Candid's subtyping where real peers rely on it:
// fields in any type-table order, unknown fields skipped, optional ones absent.
// Blobs alias the input and must not outlive a change to it.
//
// Decode is the general decoder, for tests, tools and logs; Builder is the
// general encoder, for records that no function here knows.
//
// The package has no state, starts nothing and imports nothing of the project
// but its own cbor subpackage.
package candid
