package sdk

import (
	"context"
	"fmt"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// Host calls canisters through the relay, with the gateway's identity. Arguments
// and replies are Candid; github.com/aviate-labs/agent-go/candid encodes them.
//
// A *RejectError is the network's answer. Any other error means that the
// network was not reached, or ErrBusy.
type Host struct {
	client contract.HostClient
}

// A RejectError is a refusal of the canister or the network. A handler that
// returns it says "not reached"; one that means it for the client returns
// Refused with its Text.
type RejectError struct {
	Code      int    // interface specification, "Reject codes"
	Text      string // of the canister or the network
	ErrorCode string // such as "IC0503"; may be empty
	Certified bool   // the whole subnet says so, not one replica
}

func (e *RejectError) Error() string {
	if e.ErrorCode != "" {
		return fmt.Sprintf("rejected (%s): %s", e.ErrorCode, e.Text)
	}
	return fmt.Sprintf("rejected (code %d): %s", e.Code, e.Text)
}

func rejectOf(r *contract.Reject) error {
	return &RejectError{Code: int(r.GetCode()), Text: r.GetText(), ErrorCode: r.GetErrorCode(), Certified: r.GetCertified()}
}

// Query asks a query method. The answer is that of one replica.
func (h *Host) Query(ctx context.Context, canister Principal, method string, arg []byte) ([]byte, error) {
	return reply("Host.Query of "+method, func() (*contract.CallResponse, error) {
		return h.client.Query(ctx, &contract.CallRequest{Canister: canister.Bytes(), Method: method, Arg: arg})
	})
}

// Call calls an update method and waits for the certified reply.
func (h *Host) Call(ctx context.Context, canister Principal, method string, arg []byte) ([]byte, error) {
	return reply("Host.Call of "+method, func() (*contract.CallResponse, error) {
		return h.client.Call(ctx, &contract.CallRequest{Canister: canister.Bytes(), Method: method, Arg: arg})
	})
}

func reply(what string, call func() (*contract.CallResponse, error)) ([]byte, error) {
	answer, err := call()
	switch {
	case err != nil:
		return nil, failed(what, err)
	case answer.GetReject() != nil:
		return nil, fmt.Errorf("%s: %w", what, rejectOf(answer.GetReject()))
	}
	return answer.GetReply(), nil
}

// Submit posts a client's envelope as it is and waits for the certified reply.
// The same envelope submitted twice is executed once. answered is false if the
// network has taken the call and does not say what became of it.
func (h *Host) Submit(ctx context.Context, env Envelope) (reply []byte, answered bool, err error) {
	const what = "Host.Submit"
	answer, err := withEnvelope(env, func(e *contract.Envelope) (*contract.CallResponse, error) {
		return h.client.Submit(ctx, &contract.SubmitRequest{Envelope: e})
	})
	switch {
	case err != nil:
		return nil, false, failed(what, err)
	case answer.GetReject() != nil:
		return nil, true, fmt.Errorf("%s: %w", what, rejectOf(answer.GetReject()))
	}
	return answer.GetReply(), !answer.GetAccepted(), nil
}

// A Path is a path in the state tree: labels, which need not be text, such as
// Path{"canister", string(canister), "module_hash"}.
type Path []string

// A State is a part of the state tree.
type State struct {
	Certificate []byte  // CBOR, verified by the relay
	Values      []Value // one for each path, in order
}

// A Value is what a certificate says about a path.
type Value struct {
	Bytes  []byte
	Found  bool
	Absent bool // proven; neither Found nor Absent: it says nothing about it
}

// ReadState reads a part of the state tree. canister is the effective canister
// id, which says what subnet to ask.
func (h *Host) ReadState(ctx context.Context, canister Principal, paths ...Path) (State, error) {
	const what = "Host.ReadState"
	req := &contract.ReadStateRequest{Canister: canister.Bytes()}
	for _, path := range paths {
		labels := make([][]byte, len(path))
		for i, label := range path {
			labels[i] = []byte(label)
		}
		req.Paths = append(req.Paths, &contract.Path{Labels: labels})
	}
	answer, err := h.client.ReadState(ctx, req)
	switch {
	case err != nil:
		return State{}, failed(what, err)
	case answer.GetReject() != nil:
		return State{}, fmt.Errorf("%s: %w", what, rejectOf(answer.GetReject()))
	case len(answer.GetValues()) != len(paths):
		return State{}, fmt.Errorf("%s: %d values for %d paths", what, len(answer.GetValues()), len(paths))
	}
	state := State{Certificate: answer.GetCertificate()}
	for _, v := range answer.GetValues() {
		state.Values = append(state.Values, Value{
			Bytes:  v.GetValue(),
			Found:  v.GetKind() == contract.Value_FOUND,
			Absent: v.GetKind() == contract.Value_ABSENT,
		})
	}
	return state, nil
}
