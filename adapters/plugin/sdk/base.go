package sdk

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// Base is the relay's own adapter that a route is built on, for methods that
// pass on to it what they do not change. It has all methods of an adapter.
//
// Keep it in a field with a name. Embedded, it gives the adapter all of its
// methods, and each call of the relay makes a way through this process to come
// back as it was.
type Base struct {
	route           uint64
	client          contract.AdapterClient
	messages, bytes int
}

var (
	_ Opener    = (*Base)(nil)
	_ Messenger = (*Base)(nil)
	_ Closer    = (*Base)(nil)
	_ Poller    = (*Base)(nil)
	_ Checker   = (*Base)(nil)
	_ Watcher   = (*Base)(nil)
	_ Windower  = (*Base)(nil)
)

// Open forwards a client's ws_open to the canister.
func (b *Base) Open(ctx context.Context, env Envelope) error {
	const what = "Base.Open"
	outcome, err := withEnvelope(env, func(e *contract.Envelope) (*contract.Outcome, error) {
		return b.client.Open(ctx, &contract.OpenRequest{Route: b.route, Envelope: e})
	})
	if err != nil {
		return failed(what, err)
	}
	return errorOf(what, outcome)
}

// Message forwards a client's ws_message to the canister.
func (b *Base) Message(ctx context.Context, env Envelope) error {
	const what = "Base.Message"
	outcome, err := withEnvelope(env, func(e *contract.Envelope) (*contract.Outcome, error) {
		return b.client.Message(ctx, &contract.MessageRequest{Route: b.route, Envelope: e})
	})
	if err != nil {
		return failed(what, err)
	}
	return errorOf(what, outcome)
}

// withEnvelope makes a call with an envelope, and again with its bytes if the
// relay does not have them any more: the call that gave it has ended meanwhile.
func withEnvelope[T any](env Envelope, call func(*contract.Envelope) (T, error)) (T, error) {
	out := protoEnvelope(env)
	answer, err := call(out)
	if len(out.Bytes) == 0 && status.Code(err) == codes.FailedPrecondition {
		out.Bytes = env.Bytes
		return call(out)
	}
	return answer, err
}

// Close tells the canister that a client has gone.
func (b *Base) Close(ctx context.Context, canister Principal, client ClientKey, lost bool) error {
	const what = "Base.Close"
	outcome, err := b.client.Close(ctx, &contract.CloseRequest{Route: b.route, Canister: canister.Bytes(), Client: protoKey(client), Lost: lost})
	if err != nil {
		return failed(what, err)
	}
	return errorOf(what, outcome)
}

// Poll fetches the canister's messages from a nonce on.
func (b *Base) Poll(ctx context.Context, canister Principal, from uint64) (Batch, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, also when it is not read to its end
	defer cancel()
	stream, err := b.client.Poll(ctx, &contract.PollRequest{Route: b.route, Canister: canister.Bytes(), From: from})
	if err != nil {
		return Batch{}, failed("Base.Poll", err)
	}
	return receiveBatch(stream.Recv)
}

// Check looks whether the canister has the interface that the base speaks.
func (b *Base) Check(ctx context.Context, canister Principal) error {
	const what = "Base.Check"
	outcome, err := b.client.Check(ctx, &contract.CheckRequest{Route: b.route, Canister: canister.Bytes()})
	if status.Code(err) == codes.Unimplemented {
		return nil // the base has nothing to look at
	}
	if err != nil {
		return failed(what, err)
	}
	return errorOf(what, outcome)
}

// Watch calls changed when a Poll is likely to bring something, until ctx ends.
// A base that does not know only waits; the relay polls at intervals then.
func (b *Base) Watch(ctx context.Context, canister Principal, changed func()) error {
	const what = "Base.Watch"
	stream, err := b.client.Watch(ctx, &contract.WatchRequest{Route: b.route, Canister: canister.Bytes()})
	for err == nil {
		if _, err = stream.Recv(); err == nil {
			changed()
		}
	}
	if status.Code(err) == codes.Unimplemented {
		<-ctx.Done()
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return failed(what, err)
}

// Window is how many messages of one client the base takes at once.
func (b *Base) Window() (messages, bytes int) { return b.messages, b.bytes }
