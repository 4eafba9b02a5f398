package bridge

import (
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

const (
	methodOpen    = "ws_open"
	methodMessage = "ws_message"
)

// readEnvelope takes a client's frame apart. Whether the client may send what
// is in it is for the session to find out, cheap questions first, and for
// checkEnvelope.
func readEnvelope(frame []byte) (*candid.Envelope, []byte, *refusal) {
	raw, err := candid.DecodeClientFrame(frame)
	if err != nil {
		return nil, nil, refuse(causeMalformed, CloseMalformed, "the frame is not a CBOR map with an envelope: %v", err)
	}
	env, err := candid.DecodeEnvelope(raw)
	if err != nil {
		return nil, nil, refuse(causeMalformed, CloseMalformed, "the envelope cannot be read: %v", err)
	}
	if env.RequestType != candid.RequestCall {
		return nil, nil, refuse(causeNotCall, CloseNotAllowed, "a client may send calls, not a %s", env.RequestType)
	}
	return env, raw, nil
}

// checkEnvelope checks expiry and signature. The network would check the same,
// but a gateway stands in front of the network's own protection.
func checkEnvelope(env *candid.Envelope, requestID [32]byte, verifier *ic.Verifier, now time.Time) *refusal {
	if env.Sender.IsAnonymous() {
		// Every canister with the CDK's interface would say so.
		return refuse(causeAnonymous, CloseRefused, "the anonymous principal cannot be a client: nobody signs for it")
	}
	if err := ic.CheckExpiry(env, now); err != nil {
		return refuse(causeExpiry, CloseNotAllowed, "the envelope's ingress_expiry: %v", err)
	}
	if err := ic.VerifyEnvelope(env, now, ic.WithVerifier(verifier), ic.WithRequestID(requestID)); err != nil {
		return refuse(causeSignature, CloseNotAllowed, "the envelope's signature: %v", err)
	}
	return nil
}

// forAdapter is the envelope as plain data.
func forAdapter(env *candid.Envelope, requestID [32]byte, raw []byte, client candid.ClientKey) Envelope {
	return Envelope{
		Canister:  env.Canister,
		Client:    client,
		RequestID: requestID,
		Expiry:    time.Unix(0, int64(min(env.IngressExpiry, 1<<63-1))), //nolint:gosec // bounded by min
		Bytes:     raw,
	}
}
