package plugin

import (
	"bytes"
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// hostService is the contract's Host: the network, in the gateway's name. A
// process may call any canister there, because it is the operator's own program;
// what it says is signed by the gateway like the gateway's own calls.
type hostService struct {
	contract.UnimplementedHostServer
	*incarnation
}

// hostTimeout bounds calls of a process that sets no deadline.
const hostTimeout = time.Minute

// Attach lasts as long as the relay wants the process to live.
func (h *hostService) Attach(_ *contract.AttachRequest, stream grpc.ServerStreamingServer[contract.AttachEvent]) error {
	if err := stream.Send(new(contract.AttachEvent)); err != nil {
		return err
	}
	select {
	case <-h.leaving:
	case <-stream.Context().Done():
	}
	return nil
}

// Query asks a query method.
func (h *hostService) Query(ctx context.Context, request *contract.CallRequest) (*contract.CallResponse, error) {
	return h.ask(ctx, request, h.process.host.Client.Query)
}

// Call calls an update method.
func (h *hostService) Call(ctx context.Context, request *contract.CallRequest) (*contract.CallResponse, error) {
	return h.ask(ctx, request, h.process.host.Client.Call)
}

func (h *hostService) ask(ctx context.Context, request *contract.CallRequest, ask func(context.Context, ic.Identity, candid.Principal, string, []byte) ([]byte, error)) (*contract.CallResponse, error) {
	canister, err := readPrincipal("the canister's principal", request.GetCanister())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if request.GetMethod() == "" {
		return nil, status.Error(codes.InvalidArgument, "no method")
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	reply, err := ask(ctx, h.process.host.Identity, canister, request.GetMethod(), request.GetArg())
	if err != nil {
		return rejected(err)
	}
	return &contract.CallResponse{Reply: reply}, nil
}

// rejected tells a reject, which is an answer, from an error.
func rejected(err error) (*contract.CallResponse, error) {
	if reject := rejectOf(err); reject != nil {
		return &contract.CallResponse{Reject: reject}, nil
	}
	return nil, statusOf(err)
}

func rejectOf(err error) *contract.Reject {
	var reject *ic.RejectError
	if !errors.As(err, &reject) {
		return nil
	}
	return &contract.Reject{
		Code:      uint32(max(reject.Code, 0)), //nolint:gosec // a small number
		Text:      shorten(reject.Text, maxText),
		ErrorCode: shorten(reject.ErrorCode, 100),
		Certified: reject.Certified,
	}
}

// submitPause is how soon an envelope is submitted again whose call the network
// has taken, but not answered.
const submitPause, maxSubmitPause = 100 * time.Millisecond, 2 * time.Second

// Submit posts an envelope, again while the network has taken it and says no more.
func (h *hostService) Submit(ctx context.Context, request *contract.SubmitRequest) (*contract.CallResponse, error) {
	env, err := h.readEnvelope(request.GetEnvelope())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	for wait := submitPause; ; wait = min(2*wait, maxSubmitPause) {
		outcome, err := h.process.host.Client.Submit(ctx, env.Canister, env.Bytes, env.RequestID, nil)
		switch {
		case err != nil:
			return rejected(err)
		case !outcome.Accepted:
			return &contract.CallResponse{Reply: outcome.Reply}, nil
		case outcome.Asynchronous || time.Now().After(env.Expiry):
			return &contract.CallResponse{Accepted: true}, nil
		}
		if err := ic.Pause(ctx, wait, nil); err != nil {
			return nil, statusOf(err)
		}
	}
}

// readEnvelope reads an envelope that the process gives: one that it was given
// and has not answered yet, or another with its bytes. These must be a call that
// the network could take.
func (i *incarnation) readEnvelope(e *contract.Envelope) (bridge.Envelope, error) {
	env, known := i.underway.find(e.GetRequestId())
	raw := e.GetBytes()
	switch {
	case known && (len(raw) == 0 || bytes.Equal(raw, env.Bytes)):
		return env, nil
	case len(raw) == 0:
		return bridge.Envelope{}, status.Error(codes.FailedPrecondition, "the relay has no call with this request id under way: the envelope needs its bytes")
	}
	decoded, err := candid.DecodeEnvelope(raw)
	if err != nil {
		return bridge.Envelope{}, status.Errorf(codes.InvalidArgument, "the envelope's bytes: %v", err)
	}
	env = bridge.Envelope{
		Canister:  decoded.Canister,
		Client:    candid.ClientKey{Principal: decoded.Sender, Nonce: e.GetClient().GetNonce()},
		RequestID: decoded.RequestID(),
		Expiry:    time.Unix(0, int64(min(decoded.IngressExpiry, math.MaxInt64))), //nolint:gosec // bounded by min
		Bytes:     raw,
	}
	invalid := func(problem string) (bridge.Envelope, error) {
		return bridge.Envelope{}, status.Error(codes.InvalidArgument, "the envelope: "+problem)
	}
	switch {
	case decoded.RequestType != candid.RequestCall:
		return invalid("it is not a call, but a " + decoded.RequestType)
	case len(e.GetCanister()) > 0 && string(e.GetCanister()) != string(env.Canister):
		return invalid("its bytes name another canister")
	case env.Canister == candid.ManagementCanister:
		return invalid("it is for the management canister")
	case len(e.GetRequestId()) > 0 && string(e.GetRequestId()) != string(env.RequestID[:]):
		return invalid("its bytes have another request id")
	case len(e.GetClient().GetPrincipal()) > 0 && string(e.GetClient().GetPrincipal()) != string(env.Client.Principal):
		return invalid("its bytes have another sender")
	}
	if err := ic.CheckExpiry(decoded, time.Now()); err != nil {
		return invalid("its ingress_expiry: " + err.Error())
	}
	return env, nil
}

// Bounds of ReadState (interface specification, "Request: Read state").
const (
	maxPaths  = 1000
	maxLabels = 127
)

// ReadState reads a part of the state tree.
func (h *hostService) ReadState(ctx context.Context, request *contract.ReadStateRequest) (*contract.ReadStateResponse, error) {
	canister, err := readPrincipal("the canister's principal", request.GetCanister())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if n := len(request.GetPaths()); n == 0 || n > maxPaths {
		return nil, status.Errorf(codes.InvalidArgument, "%d paths, and not 1 to %d", n, maxPaths)
	}
	paths := make([][][]byte, len(request.GetPaths()))
	for i, path := range request.GetPaths() {
		if n := len(path.GetLabels()); n == 0 || n > maxLabels {
			return nil, status.Errorf(codes.InvalidArgument, "path %d has %d labels, and not 1 to %d", i, n, maxLabels)
		}
		paths[i] = path.GetLabels()
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	cert, err := h.process.host.Client.ReadState(ctx, h.process.host.Identity, canister, paths)
	if err != nil {
		if reject := rejectOf(err); reject != nil {
			return &contract.ReadStateResponse{Reject: reject}, nil
		}
		return nil, statusOf(err)
	}
	var delegation []byte
	if d := cert.Delegation; d != nil {
		delegation = ic.EncodeDelegation(d.Subnet, d.Certificate)
	}
	response := &contract.ReadStateResponse{Certificate: ic.EncodeCertificate(cert.Tree, cert.Signature, delegation)}
	for _, path := range paths {
		value, result := cert.Lookup(path...)
		v := &contract.Value{Kind: contract.Value_UNKNOWN}
		switch result {
		case ic.Found:
			v.Kind, v.Value = contract.Value_FOUND, value
		case ic.Absent:
			v.Kind = contract.Value_ABSENT
		}
		response.Values = append(response.Values, v)
	}
	return response, nil
}
