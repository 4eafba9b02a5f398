package ic

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Domain separators of requests (interface specification, "Authentication").
const (
	sepRequest    = "\x0aic-request"
	sepDelegation = "\x1aic-request-auth-delegation"
)

// delegated is an identity whose key another key has delegated to.
type delegated interface{ Delegations() []candid.Delegation }

// Sign fills in the sender's key, delegations and signature. The sender itself
// is set too. The anonymous identity leaves them out.
func Sign(e *candid.Envelope, id Identity) error {
	e.Sender = id.Principal()
	e.SenderPubkey, e.SenderSig, e.Delegations = nil, nil, nil
	if e.Sender.IsAnonymous() {
		return nil
	}
	requestID := e.RequestID()
	sig, err := id.Sign(append([]byte(sepRequest), requestID[:]...))
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	e.SenderPubkey, e.SenderSig = id.PublicKeyDER(), sig
	if d, ok := id.(delegated); ok {
		e.Delegations = d.Delegations()
	}
	return nil
}

// NewNonce returns 16 random bytes, which keep two otherwise equal requests apart.
func NewNonce() []byte {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	return nonce
}

// expiryAhead is how far ahead requests expire. Replicas accept up to five
// minutes; the rest is for clocks that differ.
const expiryAhead = 4 * time.Minute

// NewCall returns an unsigned update call, with a fresh nonce and an expiry four
// minutes after now.
func NewCall(canister candid.Principal, method string, arg []byte, now time.Time) *candid.Envelope {
	return &candid.Envelope{
		RequestType:   candid.RequestCall,
		Canister:      canister,
		Method:        method,
		Arg:           arg,
		IngressExpiry: uint64(now.Add(expiryAhead).UnixNano()), //nolint:gosec // after 1970
		Nonce:         NewNonce(),
	}
}
