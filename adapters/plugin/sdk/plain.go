package sdk

import (
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/candid"
)

// What crosses, and what adapters see.

func principal(raw []byte) (Principal, error) {
	if len(raw) > candid.MaxPrincipalLength {
		return "", status.Errorf(codes.InvalidArgument, "a principal of %d bytes", len(raw))
	}
	return Principal(raw), nil
}

func clientKey(key *contract.ClientKey) (ClientKey, error) {
	p, err := principal(key.GetPrincipal())
	if err == nil && p == "" {
		err = status.Error(codes.InvalidArgument, "a client without a principal")
	}
	return ClientKey{Principal: p, Nonce: key.GetNonce()}, err
}

func protoKey(key ClientKey) *contract.ClientKey {
	return &contract.ClientKey{Principal: key.Principal.Bytes(), Nonce: key.Nonce}
}

func windowOf(w *contract.Window) (messages, bytes int) {
	return max(int(min(w.GetMessages(), math.MaxInt32)), 1), int(min(w.GetBytes(), math.MaxInt)) //nolint:gosec // bounded
}

// given is an envelope that the relay has given with a call: as long as that is
// not answered, the relay has the bytes, and they need not cross again.
type given struct {
	bytes []byte
	ended atomic.Bool
}

func (g *given) end() { g.ended.Store(true) }

// has reports whether the relay still has these bytes.
func (g *given) has(bytes []byte) bool {
	return g != nil && !g.ended.Load() && len(bytes) == len(g.bytes) && len(bytes) > 0 && &bytes[0] == &g.bytes[0]
}

// envelope reads an envelope of the relay, with its header if there is one.
func envelope(env *contract.Envelope, header *contract.MessageHeader) (Envelope, error) {
	canister, err := principal(env.GetCanister())
	if err != nil {
		return Envelope{}, err
	}
	client, err := clientKey(env.GetClient())
	if err != nil {
		return Envelope{}, err
	}
	out := Envelope{
		Canister: canister,
		Client:   client,
		Expiry:   moment(env.GetExpiry()),
		Bytes:    env.GetBytes(),
		given:    &given{bytes: env.GetBytes()},
	}
	if copy(out.RequestID[:], env.GetRequestId()) != len(out.RequestID) || len(env.GetRequestId()) != len(out.RequestID) {
		return Envelope{}, status.Errorf(codes.InvalidArgument, "a request id of %d bytes", len(env.GetRequestId()))
	}
	if header != nil {
		start, end := header.GetContentStart(), header.GetContentEnd()
		if start > end || end > uint64(len(out.Bytes)) {
			return Envelope{}, status.Errorf(codes.InvalidArgument, "content from byte %d to %d of %d", start, end, len(out.Bytes))
		}
		out.Header = &Header{
			SequenceNum:      header.GetSequenceNum(),
			Timestamp:        moment(header.GetTimestamp()),
			IsServiceMessage: header.GetIsServiceMessage(),
			Content:          out.Bytes[start:end:end],
		}
	}
	return out, nil
}

// protoEnvelope is the way back, without the bytes if the relay has them.
func protoEnvelope(env Envelope) *contract.Envelope {
	out := &contract.Envelope{
		Canister:  env.Canister.Bytes(),
		Client:    protoKey(env.Client),
		RequestId: env.RequestID[:],
		Expiry:    uint64(max(env.Expiry.UnixNano(), 0)), //nolint:gosec // not negative
	}
	if !env.given.has(env.Bytes) {
		out.Bytes = env.Bytes
	}
	return out
}

// moment reads nanoseconds since 1970. A client may say anything.
func moment(nanoseconds uint64) time.Time {
	const second = uint64(time.Second)
	return time.Unix(int64(nanoseconds/second), int64(nanoseconds%second)) //nolint:gosec // divided
}
