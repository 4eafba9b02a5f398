package bridge

import (
	"errors"

	"github.com/icrelay/icrelay/ic"
)

// A flaw is why a batch was not forwarded, as it is counted.
type flaw int

const (
	flawCertificate     flaw = iota // not the network's, or not this canister's
	flawCertificateTime             // too old, or from the future
	flawWitness                     // not what the certificate certifies, or not of these messages
	flawContent                     // not what the witness has
	flawNonce                       // a nonce skipped, repeated, or not readable
	flaws                           // how many there are
)

var flawNames = [flaws]string{"certificate", "certificate_time", "witness", "content", "nonce"}

// A flawedError is a batch that must not be forwarded.
type flawedError struct {
	flaw flaw
	err  error
}

func (e *flawedError) Error() string { return e.err.Error() }
func (e *flawedError) Unwrap() error { return e.err }

func flawed(f flaw, err error) error {
	if f == flawCertificate && errors.Is(err, ic.ErrCertificateTime) {
		f = flawCertificateTime
	}
	return &flawedError{f, err}
}
