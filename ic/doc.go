// Package ic is the client's side of the Internet Computer's HTTP interface:
// hash trees, certificates, identities, signed requests and the transport.
//
// Nothing that comes from the network is believed before it is verified: a
// reply to an update call is read from its certificate, a certificate is checked
// against the root key that the Verifier was made with, query replies can be
// checked against the keys of the subnet's nodes. Decoders of foreign bytes are
// bounded in depth, number and size, and answer with errors.
//
// Verifier and Client are safe for concurrent use. Neither starts goroutines of
// its own; those of the HTTP transport end with Client.Close. Errors of Client
// fall in two groups that Retryable tells apart: the canister or the network
// refused (RejectError, most of HTTPError), or it was not reached.
//
// The other side, as a development network needs it, is here too: building
// trees, signing certificates with a BLSKey, checking envelopes (VerifyEnvelope).
package ic
