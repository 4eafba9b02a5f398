// Package tlsconf gives the gateway's listener its certificates: from a pair of
// files, which are read again when they change, or from a CA by ACME (RFC 8555),
// which are renewed in time.
//
// A Manager has one source of certificates at a time:
//
//	files.go      a pair of PEM files
//	automatic.go  certmagic and a folder of certificates
//
// Reload puts another in its place while the listener serves. Whatever fails,
// the certificates that were there before stay in use.
//
// Goroutines. A Manager has one that looks at its source every few seconds, an
// automatic source one for each domain until that has a certificate, and
// certmagic's own, which renew. Close ends them all and waits.
package tlsconf
