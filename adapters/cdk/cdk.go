package cdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Adapter speaks the CDK's four methods. It serves any number of canisters.
type Adapter struct {
	client   *ic.Client
	identity ic.Identity
	gates    gates
}

var (
	_ bridge.Adapter = (*Adapter)(nil)
	_ bridge.Checker = (*Adapter)(nil)
)

// New returns an Adapter that signs what is the gateway's own with identity.
func New(client *ic.Client, identity ic.Identity) *Adapter {
	return &Adapter{client: client, identity: identity}
}

// Open forwards a signed ws_open and waits for the canister's answer.
func (a *Adapter) Open(ctx context.Context, env bridge.Envelope) error {
	return a.forward(ctx, "ws_open", env)
}

// Message forwards a signed ws_message and waits for the canister's answer.
func (a *Adapter) Message(ctx context.Context, env bridge.Envelope) error {
	return a.forward(ctx, "ws_message", env)
}

// Resubmission waits: the first short, because a network that answers
// "accepted" is about to have the reply; bounded, because a person waits. For
// Close nobody does.
const (
	firstWait = 100 * time.Millisecond
	longWait  = 2 * time.Second
	closeWait = 10 * time.Second
)

// forward submits the client's envelope until it has an answer. The identical
// envelope has the identical request id, so giving it again asks for the
// state of the first submission and never executes twice. That is also the
// only way to the answer: request_status may be read by its sender only.
func (a *Adapter) forward(ctx context.Context, method string, env bridge.Envelope) error {
	// How long an answer may take is not for the client to say, which chose the expiry.
	trying, cancel := context.WithDeadline(ctx, env.Expiry)
	defer cancel()
	visit := a.gates.visit(env.Canister)
	defer visit.leave()
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		if err := visit.enter(trying); err != nil {
			return failure(method, err)
		}
		outcome, err := a.client.Submit(ctx, env.Canister, env.Bytes, env.RequestID, nil)
		visit.done(err)
		switch {
		case err == nil && !outcome.Accepted:
			return readResult(method, outcome.Reply)
		case err == nil && outcome.Asynchronous:
			return nil // this network never answers a forwarded call; the open message will tell
		case err == nil:
			err = errors.New("accepted, but not answered in time")
		case !mayPass(err):
			return failure(method, err)
		}
		if visit.pause(trying, wait, err) != nil {
			return failure(method, err)
		}
	}
}

// mayPass reports whether the same envelope may get another answer: the
// network was not reached, or it refused for the moment without having taken
// the envelope in, for instance because the canister is being upgraded.
func mayPass(err error) bool {
	var reject *ic.RejectError
	if errors.As(err, &reject) {
		return passes(reject) && !reject.Certified
	}
	return ic.Retryable(err)
}

// passes reports whether the cause of a reject passes.
func passes(reject *ic.RejectError) bool { return reject.Transient() || reject.Stopped() }

// failure sorts an error into the two kinds of bridge.Adapter. A reject whose
// cause passes, or that says that nothing is known, is no refusal: the same
// message in a new envelope may be accepted.
func failure(method string, err error) error {
	var reject *ic.RejectError
	var status *ic.HTTPError
	switch {
	case errors.As(err, &reject) && passes(reject):
		return fmt.Errorf("%s: %w", method, &bridge.UnavailableError{Text: reject.Text, Err: err})
	case errors.As(err, &reject) && reject.Code != rejectUnknown:
		return &bridge.RefusedError{Text: reject.Text}
	case errors.As(err, &status) && !ic.Retryable(err):
		return bridge.Refused("the network does not take %s: %v", method, status)
	}
	return fmt.Errorf("%s: %w", method, err)
}

// rejectUnknown is SYS_UNKNOWN (interface specification, "Reject codes").
const rejectUnknown = 6

// readResult reads variant { Ok; Err : text }.
func readResult(method string, reply []byte) error {
	text, refused, err := candid.DecodeResult(reply)
	switch {
	case err != nil:
		return bridge.Refused("the canister's answer to %s is not variant { Ok; Err : text }: %v", method, err)
	case refused:
		return &bridge.RefusedError{Text: text}
	}
	return nil
}

// Close calls ws_close in the gateway's name, again while the network is not
// reached or the canister is stopped: afterwards it would still count the
// client. That the canister does not know the client (any more) is what Close
// is for.
func (a *Adapter) Close(ctx context.Context, canister candid.Principal, client candid.ClientKey) error {
	return a.Leave(ctx, canister, "ws_close", client)
}

// Leave is Close by a method of another name, which has the same type.
func (a *Adapter) Leave(ctx context.Context, canister candid.Principal, method string, client candid.ClientKey) error {
	visit := a.gates.visit(canister)
	defer visit.leave()
	for wait := firstWait; ; wait = min(2*wait, closeWait) {
		if err := visit.enter(ctx); err != nil {
			return failure(method, err)
		}
		reply, err := a.client.Call(ctx, a.identity, canister, method, candid.EncodeCloseArgs(client))
		visit.done(err)
		if err == nil {
			err = readResult(method, reply)
			if _, refused := bridge.RefusalText(err); refused {
				return nil
			}
			return err
		}
		var reject *ic.RejectError
		again := ic.Retryable(err) || errors.As(err, &reject) && passes(reject)
		if !again || visit.pause(ctx, wait, err) != nil {
			return failure(method, err)
		}
	}
}

// Poll queries ws_get_messages in the gateway's name.
func (a *Adapter) Poll(ctx context.Context, canister candid.Principal, from uint64) (bridge.Batch, error) {
	reply, err := a.client.Query(ctx, a.identity, canister, "ws_get_messages", candid.EncodeGetMessagesArgs(from))
	var status *ic.HTTPError
	switch {
	case errors.As(err, &status): // whatever it is: not the canister's answer, and sessions live on it
		return bridge.Batch{}, fmt.Errorf("ws_get_messages: %w", err)
	case err != nil:
		return bridge.Batch{}, failure("ws_get_messages", err)
	}
	batch, text, refused, err := candid.DecodeOutputMessages(reply)
	switch {
	case err != nil:
		return bridge.Batch{}, fmt.Errorf("ws_get_messages: %w", err)
	case refused:
		return bridge.Batch{}, bridge.Refused("ws_get_messages: %s", text)
	}
	return batch, nil
}

// Check polls once: a canister without the CDK's interface answers with a
// reject that says so.
func (a *Adapter) Check(ctx context.Context, canister candid.Principal) error {
	if _, err := a.Poll(ctx, canister, 0); err != nil {
		return fmt.Errorf("canister %s does not answer as a canister with the IC WebSocket CDK: %w", canister, err)
	}
	return nil
}
