// Package plugin runs adapters that are programs of their own.
//
// A program is started with hashicorp/go-plugin (checksum, handshake on
// standard output, protocol version) and spoken to over gRPC: the contract is
// contract/adapter.proto, and what its methods promise is in docs/adapters.md.
// One [Process] is one [[adapter]] of the configuration; each route that names
// it has an [Adapter] of its own, which the gateway uses like any other.
//
// A Process owns all goroutines here. One of them supervises: it starts the
// program, asks it for signs of life, watches its memory, and starts it anew
// with growing pauses when it has ended. Each start makes an incarnation, with
// its own certificates, sockets and connection; whatever belongs to one ends
// with it. Process.Stop ends everything, and kills what does not end by itself.
//
// Locks: Process.mu is held before Adapter.mu; neither while anything is waited for.
package plugin
