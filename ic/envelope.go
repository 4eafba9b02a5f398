package ic

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// MaxExpiryAhead is how far ahead a request may expire: five minutes, and one
// more that replicas grant to clocks that differ.
const MaxExpiryAhead = 6 * time.Minute

var (
	// ErrExpired reports a request whose expiry has passed.
	ErrExpired = errors.New("request has expired")
	// ErrExpiryTooFar reports a request that expires later than replicas accept.
	ErrExpiryTooFar = errors.New("request expires too far in the future")
	// ErrDelegation reports a chain of delegations that does not allow the request.
	ErrDelegation = errors.New("invalid delegation")
)

// CheckExpiry checks that a request expires after now and not more than MaxExpiryAhead later.
func CheckExpiry(e *candid.Envelope, now time.Time) error {
	nanos := uint64(now.UnixNano()) //nolint:gosec // after 1970
	switch {
	case e.IngressExpiry <= nanos:
		return fmt.Errorf("%w: %s ago", ErrExpired, time.Duration(min(nanos-e.IngressExpiry, 1<<62)).Round(time.Millisecond)) //nolint:gosec // bounded
	case e.IngressExpiry-nanos > uint64(MaxExpiryAhead):
		return ErrExpiryTooFar
	}
	return nil
}

// VerifyOption changes what VerifyEnvelope checks.
type VerifyOption func(*verifyOptions)

type verifyOptions struct {
	verifier  *Verifier
	effective *candid.Principal
	requestID *[32]byte
}

// WithVerifier lets VerifyEnvelope check canister signatures, such as those of
// Internet Identity. Without it, an envelope that has one fails with ErrNeedsRootKey.
func WithVerifier(v *Verifier) VerifyOption { return func(o *verifyOptions) { o.verifier = v } }

// WithEffectiveCanister names the canister that delegations must allow where the
// request itself names none, as in read_state.
func WithEffectiveCanister(canister candid.Principal) VerifyOption {
	return func(o *verifyOptions) { o.effective = &canister }
}

// WithRequestID spares VerifyEnvelope to hash the request. It must be that of the envelope.
func WithRequestID(id [32]byte) VerifyOption { return func(o *verifyOptions) { o.requestID = &id } }

// VerifyEnvelope checks that the sender has signed the request, directly or
// through delegations that are valid at now (interface specification,
// "Authentication"). Anonymous requests pass if they carry no signature. When
// the request expires is not checked: see CheckExpiry.
func VerifyEnvelope(e *candid.Envelope, now time.Time, opts ...VerifyOption) error {
	var o verifyOptions
	for _, opt := range opts {
		opt(&o)
	}
	if e.Sender.IsAnonymous() {
		if e.SenderPubkey != nil || e.SenderSig != nil || e.Delegations != nil {
			return errors.New("an anonymous request must not be signed")
		}
		return nil
	}
	if e.SenderPubkey == nil || e.SenderSig == nil {
		return errors.New("the request is not signed")
	}
	if candid.SelfAuthenticating(e.SenderPubkey) != e.Sender {
		return fmt.Errorf("sender %s is not the owner of the public key", e.Sender)
	}
	der, err := verifyDelegations(e, now, &o)
	if err != nil {
		return err
	}
	key, err := parsePublicKey(der, o.verifier)
	if err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	if o.requestID == nil {
		id := e.RequestID()
		o.requestID = &id
	}
	if err := key.verify(append([]byte(sepRequest), o.requestID[:]...), e.SenderSig); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

// verifyDelegations follows the chain and returns the key that signed the request.
func verifyDelegations(e *candid.Envelope, now time.Time, o *verifyOptions) ([]byte, error) {
	if len(e.Delegations) > candid.MaxDelegations {
		return nil, fmt.Errorf("%w: %d delegations, at most %d allowed", ErrDelegation, len(e.Delegations), candid.MaxDelegations)
	}
	der := e.SenderPubkey
	for i := range e.Delegations {
		d := &e.Delegations[i]
		if err := checkDelegation(e, i, now, o); err != nil {
			return nil, fmt.Errorf("%w %d: %w", ErrDelegation, i+1, err)
		}
		key, err := parsePublicKey(der, o.verifier)
		if err != nil {
			return nil, fmt.Errorf("%w %d: %w", ErrDelegation, i+1, err)
		}
		hash := d.Hash()
		if err := key.verify(append([]byte(sepDelegation), hash[:]...), d.Signature); err != nil {
			return nil, fmt.Errorf("%w %d: %w", ErrDelegation, i+1, err)
		}
		der = d.Pubkey
	}
	return der, nil
}

// checkDelegation checks what a delegation says, but for its signature.
func checkDelegation(e *candid.Envelope, i int, now time.Time, o *verifyOptions) error {
	d := &e.Delegations[i]
	if d.Expiration < uint64(now.UnixNano()) { //nolint:gosec // after 1970
		return errors.New("has expired")
	}
	if d.Permissions == "queries" && e.RequestType == candid.RequestCall {
		return errors.New("allows queries only")
	}
	if d.Targets != nil && !allows(d.Targets, e, o) {
		return errors.New("does not allow this canister")
	}
	if bytes.Equal(d.Pubkey, e.SenderPubkey) {
		return errors.New("leads back to the sender's key")
	}
	for j := range i {
		if bytes.Equal(d.Pubkey, e.Delegations[j].Pubkey) {
			return errors.New("leads back to an earlier key")
		}
	}
	return nil
}

func allows(targets []candid.Principal, e *candid.Envelope, o *verifyOptions) bool {
	canister := e.Canister
	if e.RequestType == candid.RequestReadState {
		if o.effective == nil {
			return true // the request does not say which canister it is about
		}
		canister = *o.effective
	}
	for _, t := range targets {
		if t == canister {
			return true
		}
	}
	return false
}
