package bridge

import (
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

const (
	methodOpen    = "ws_open"
	methodMessage = "ws_message"
)

// readEnvelope takes a client's frame apart and checks everything about its
// envelope that does not depend on the session: structure, kind, signature
// and expiry. The network would check the same, but a gateway stands in front
// of the network's own protection.
func readEnvelope(frame []byte, verifier *ic.Verifier, now time.Time) (*candid.Envelope, []byte, *CloseReason) {
	raw, err := candid.DecodeClientFrame(frame)
	if err != nil {
		return nil, nil, &CloseReason{CloseMalformed, fmt.Sprintf("the frame is not a CBOR map with an envelope: %v", err)}
	}
	env, err := candid.DecodeEnvelope(raw)
	if err != nil {
		return nil, nil, &CloseReason{CloseMalformed, fmt.Sprintf("the envelope cannot be read: %v", err)}
	}
	if env.RequestType != candid.RequestCall {
		return nil, nil, &CloseReason{CloseNotAllowed, fmt.Sprintf("a client may send calls, not a %s", env.RequestType)}
	}
	if err := ic.CheckExpiry(env, now); err != nil {
		return nil, nil, &CloseReason{CloseNotAllowed, fmt.Sprintf("the envelope's ingress_expiry: %v", err)}
	}
	if err := ic.VerifyEnvelope(env, now, ic.WithVerifier(verifier)); err != nil {
		return nil, nil, &CloseReason{CloseNotAllowed, fmt.Sprintf("the envelope's signature: %v", err)}
	}
	return env, raw, nil
}

// forAdapter is the envelope as plain data.
func forAdapter(env *candid.Envelope, raw []byte, client candid.ClientKey) Envelope {
	return Envelope{
		Canister:  env.Canister,
		Client:    client,
		RequestID: env.RequestID(),
		Expiry:    time.Unix(0, int64(min(env.IngressExpiry, 1<<63-1))), //nolint:gosec // bounded by min
		Bytes:     raw,
	}
}
