package plugin

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// baseService is the contract's Adapter as the relay serves it: the bases of
// the process's routes.
type baseService struct {
	contract.UnimplementedAdapterServer
	*incarnation
}

// find returns a route's adapter, if the route is to that canister.
func (b *baseService) find(number uint64, canister []byte) (*Adapter, candid.Principal, error) {
	a := b.process.route(number)
	if a == nil {
		return nil, "", status.Errorf(codes.NotFound, "there is no route %d", number)
	}
	id, err := readPrincipal("the canister's principal", canister)
	if err != nil {
		return nil, "", status.Error(codes.InvalidArgument, err.Error())
	}
	if a.route.Canister != "" && a.route.Canister != id {
		return nil, "", status.Errorf(codes.PermissionDenied, "route %d is to canister %s, not to %s", number, a.route.Canister, id)
	}
	return a, id, nil
}

// Open asks the base.
func (b *baseService) Open(ctx context.Context, request *contract.OpenRequest) (*contract.Outcome, error) {
	a, env, err := b.envelope(request.GetRoute(), request.GetEnvelope())
	if err != nil {
		return nil, err
	}
	return outcomeOf(a.route.Base.Open(ctx, env))
}

// Message asks the base.
func (b *baseService) Message(ctx context.Context, request *contract.MessageRequest) (*contract.Outcome, error) {
	a, env, err := b.envelope(request.GetRoute(), request.GetEnvelope())
	if err != nil {
		return nil, err
	}
	ctx = ic.WithAnswered(ctx, func() { b.underway.answered(env.RequestID) })
	return outcomeOf(a.route.Base.Message(ctx, env))
}

func (b *baseService) envelope(number uint64, e *contract.Envelope) (*Adapter, bridge.Envelope, error) {
	a, canister, err := b.find(number, e.GetCanister())
	if err != nil {
		return nil, bridge.Envelope{}, err
	}
	env, err := b.readEnvelope(e)
	if err == nil && env.Canister != canister {
		err = status.Errorf(codes.InvalidArgument, "the envelope is for canister %s, not for %s", env.Canister, canister)
	}
	return a, env, err
}

// Close asks the base.
func (b *baseService) Close(ctx context.Context, request *contract.CloseRequest) (*contract.Outcome, error) {
	a, canister, err := b.find(request.GetRoute(), request.GetCanister())
	if err != nil {
		return nil, err
	}
	client, err := readKey(request.GetClient())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if resumer, ok := a.route.Base.(bridge.Resumer); ok && request.GetLost() {
		return outcomeOf(resumer.Lost(ctx, canister, client))
	}
	return outcomeOf(a.route.Base.Close(ctx, canister, client))
}

// Check asks the base, if there is something to ask.
func (b *baseService) Check(ctx context.Context, request *contract.CheckRequest) (*contract.Outcome, error) {
	a, canister, err := b.find(request.GetRoute(), request.GetCanister())
	if err != nil {
		return nil, err
	}
	checker, ok := a.route.Base.(bridge.Checker)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "this base has nothing to check")
	}
	err = checker.Check(ctx, canister)
	outcome, failed := outcomeOf(err)
	if failed == nil && err != nil {
		outcome.Text = shorten(err.Error(), maxText) // the log has room for the whole story
	}
	return outcome, failed
}

// maxPart is about how large a part of a batch is. A message alone may be larger.
const maxPart = 256 << 10

// Poll asks the base, and gives its batch in parts.
func (b *baseService) Poll(request *contract.PollRequest, stream grpc.ServerStreamingServer[contract.PollPart]) error {
	a, canister, err := b.find(request.GetRoute(), request.GetCanister())
	if err != nil {
		return err
	}
	a.hasFetched(canister, request.GetFrom())
	batch, err := a.route.Base.Poll(stream.Context(), canister, request.GetFrom())
	if err != nil {
		outcome, err := outcomeOf(err)
		if err != nil {
			return err
		}
		return stream.Send(&contract.PollPart{Outcome: outcome})
	}
	part := &contract.PollPart{Certificate: batch.Cert, Witness: batch.Tree, More: !batch.EndOfQueue}
	size := len(batch.Cert) + len(batch.Tree)
	for i := range batch.Messages {
		m := &batch.Messages[i]
		if n := len(m.Content); size > 0 && size+n > maxPart {
			if err := stream.Send(part); err != nil {
				return err
			}
			part, size = new(contract.PollPart), 0
		}
		size += len(m.Content)
		part.Messages = append(part.Messages, &contract.OutputMessage{Client: keyMessage(m.ClientKey), Key: m.Key, Content: m.Content})
	}
	return stream.Send(part)
}

// Watch asks the base, if there is something to watch. Events that are not taken
// are one.
func (b *baseService) Watch(request *contract.WatchRequest, stream grpc.ServerStreamingServer[contract.WatchEvent]) error {
	a, canister, err := b.find(request.GetRoute(), request.GetCanister())
	if err != nil {
		return err
	}
	watcher, ok := a.route.Base.(bridge.Watcher)
	if !ok {
		return status.Error(codes.Unimplemented, "this base has nothing to watch")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	event := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- watcher.Watch(ctx, canister, func() {
			select {
			case event <- struct{}{}:
			default:
			}
		})
	}()
	for {
		select {
		case err := <-ended:
			if err == nil {
				return nil
			}
			return statusOf(err)
		case <-event:
			if err := stream.Send(new(contract.WatchEvent)); err != nil {
				cancel()
				return errors.Join(err, <-ended)
			}
		}
	}
}
