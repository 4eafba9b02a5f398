//go:build unix

package plugin

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// The host's services, over a real network, in the gateway's name.
func TestHostServices(t *testing.T) {
	t.Parallel()
	c := newTown(t, nil)
	h := &hostService{incarnation: c.process.current}
	echo := c.wrapped.Bytes()
	gateway := c.process.host.Gateway

	query, err := h.Query(t.Context(), &contract.CallRequest{Canister: echo, Method: "ws_get_messages", Arg: candid.EncodeGetMessagesArgs(0)})
	if err != nil || query.GetReject() != nil || len(query.GetReply()) == 0 {
		t.Errorf("Query: %v, %v", query, err)
	}
	call, err := h.Call(t.Context(), &contract.CallRequest{Canister: echo, Method: "ws_close", Arg: candid.EncodeCloseArgs(candid.ClientKey{Principal: "p"})})
	if err != nil || call.GetReject() != nil || len(call.GetReply()) == 0 {
		t.Errorf("Call: %v, %v", call, err)
	}
	for name, ask := range map[string]func() (*contract.CallResponse, error){
		"Query": func() (*contract.CallResponse, error) {
			return h.Query(t.Context(), &contract.CallRequest{Canister: echo, Method: "nothing", Arg: candid.EncodeEmpty()})
		},
		"Call": func() (*contract.CallResponse, error) {
			return h.Call(t.Context(), &contract.CallRequest{Canister: echo, Method: "nothing", Arg: candid.EncodeEmpty()})
		},
	} {
		answer, err := ask()
		if err != nil || answer.GetReject().GetCode() == 0 || answer.GetReject().GetText() == "" || answer.GetReject().GetCertified() != (name == "Call") {
			t.Errorf("%s of a method that is not there: %v, %v", name, answer, err)
		}
	}

	identity, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	open := ic.NewCall(c.wrapped, "ws_open", candid.EncodeOpenArgs(5, gateway), time.Now())
	if err := ic.Sign(open, identity); err != nil {
		t.Fatal(err)
	}
	id := open.RequestID()
	for range 2 { // executed once
		submitted, err := h.Submit(t.Context(), &contract.SubmitRequest{Envelope: &contract.Envelope{Canister: echo, RequestId: id[:], Bytes: open.Encode()}})
		if err != nil || submitted.GetAccepted() {
			t.Fatalf("Submit: %v, %v", submitted, err)
		}
		if text, refused, err := candid.DecodeResult(submitted.GetReply()); err != nil || refused {
			t.Errorf("Submit: the canister says %q, %v", text, err)
		}
	}
	read := ic.NewCall(c.wrapped, "ws_get_messages", candid.EncodeGetMessagesArgs(0), time.Now())
	read.RequestType = candid.RequestQuery
	if err := ic.Sign(read, identity); err != nil {
		t.Fatal(err)
	}
	for name, envelope := range map[string]*contract.Envelope{
		"nothing": nil, "garbage": {Bytes: []byte("x")}, "a query": {Bytes: read.Encode()}, "another canister": {Canister: c.builtIn.Bytes(), Bytes: open.Encode()},
	} {
		if _, err := h.Submit(t.Context(), &contract.SubmitRequest{Envelope: envelope}); status.Code(err) != codes.InvalidArgument && status.Code(err) != codes.FailedPrecondition {
			t.Errorf("Submit of %s: %v", name, err)
		}
	}

	state, err := h.ReadState(t.Context(), &contract.ReadStateRequest{Canister: echo, Paths: []*contract.Path{
		{Labels: [][]byte{[]byte("canister"), echo, []byte("module_hash")}},
		{Labels: [][]byte{[]byte("canister"), echo, []byte("metadata"), []byte("no such section")}},
	}})
	switch {
	case err != nil || len(state.GetValues()) != 2:
		t.Errorf("ReadState: %v, %v", state, err)
	case state.GetValues()[0].GetKind() != contract.Value_FOUND || len(state.GetValues()[0].GetValue()) != 32:
		t.Errorf("ReadState: the module's hash is %v", state.GetValues()[0])
	default:
		if _, err := c.network.Verifier.Verify(state.GetCertificate(), c.wrapped, time.Now(), time.Minute); err != nil {
			t.Errorf("ReadState: its certificate: %v", err)
		}
	}
	for name, request := range map[string]*contract.ReadStateRequest{
		"no paths": {Canister: echo}, "no labels": {Canister: echo, Paths: []*contract.Path{{}}}, "no canister": {Paths: []*contract.Path{{Labels: [][]byte{[]byte("time")}}}},
		"too many paths": {Canister: echo, Paths: make([]*contract.Path, maxPaths+1)},
	} {
		if _, err := h.ReadState(t.Context(), request); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ReadState with %s: %v", name, err)
		}
	}
	for name, request := range map[string]*contract.CallRequest{"no canister": {Method: "m"}, "no method": {Canister: echo}, "a long principal": {Canister: make([]byte, 30), Method: "m"}} {
		if _, err := h.Query(t.Context(), request); status.Code(err) != codes.InvalidArgument {
			t.Errorf("Query with %s: %v", name, err)
		}
	}

}
