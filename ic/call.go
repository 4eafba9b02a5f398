package ic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Outcome is what is known after a call was submitted.
type Outcome struct {
	// Accepted is set if the network took the call, but has not said yet how it
	// ended: it may still be executed, rejected or dropped.
	Accepted bool
	// Asynchronous is set with Accepted if the network has no synchronous calls:
	// submitting again will not bring the reply.
	Asynchronous bool
	// Reply is the canister's reply otherwise, verified.
	Reply []byte
}

// Submit posts a signed call as it is and, if the network answers within the
// request, returns the certified reply. requestID is that of the envelope. A nil
// v stands for the client's own verifier.
//
// The newest version of the call endpoint is used, or an older one on networks
// that lack it; version 2 always leaves the outcome at Accepted. A refusal is a
// *RejectError. For all errors, Retryable tells whether posting the same bytes
// again makes sense; doing so never executes the call twice.
func (c *Client) Submit(ctx context.Context, canister candid.Principal, envelope []byte, requestID [32]byte, v *Verifier) (Outcome, error) {
	out, err := c.submit(ctx, canister, envelope, requestID, v)
	if err != nil {
		return Outcome{}, fmt.Errorf("call: %w", err)
	}
	return out, nil
}

func (c *Client) submit(ctx context.Context, effective candid.Principal, envelope []byte, requestID [32]byte, v *Verifier) (Outcome, error) {
	if v == nil {
		v = c.Verifier()
	}
	if v == nil {
		return Outcome{}, ErrNoRootKey
	}
	body, status, err := c.post(ctx, &c.call, effective, envelope)
	if err != nil {
		return Outcome{}, err
	}
	if status == http.StatusAccepted {
		return Outcome{Accepted: true, Asynchronous: c.call.current.Load() == 2}, nil
	}
	answer, err := decodeCallAnswer(body)
	if err != nil {
		return Outcome{}, fmt.Errorf("answer: %w", err)
	}
	if answer.reject != nil {
		return Outcome{}, answer.reject
	}
	Answered(ctx)
	cert, err := v.verifyFor(effective, answer.certificate, c.opts.Now(), c.opts.MaxCertificateAge, true)
	if err != nil {
		return Outcome{}, err
	}
	reply, state, err := cert.RequestStatus(requestID)
	if err != nil {
		return Outcome{}, err
	}
	switch state {
	case RequestReplied:
		return Outcome{Reply: reply}, nil
	case RequestProcessing:
		return Outcome{Accepted: true}, nil
	}
	return Outcome{}, &CertificateError{errors.New("says nothing about the request")}
}

// answeredKey is a context key: what to call when a call has an answer.
type answeredKey struct{}

// WithAnswered returns a context with which a call tells when an answer has come,
// before it is verified: whoever polls for what the canister has to say then need
// not wait for that. Nothing else may follow from it, since the answer may be
// anybody's.
func WithAnswered(ctx context.Context, answered func()) context.Context {
	return context.WithValue(ctx, answeredKey{}, answered)
}

// Answered does what WithAnswered says.
func Answered(ctx context.Context) {
	if answered, ok := ctx.Value(answeredKey{}).(func()); ok {
		answered()
	}
}

// RequestState is how far the network has come with a call.
type RequestState int

// The states of a call that are not errors.
const (
	RequestUnknown    RequestState = iota // not part of the state: not yet, or no more
	RequestProcessing                     // received or processing
	RequestReplied
)

// RequestStatus reads the status of a call from a certificate (interface
// specification, "Request status"). A reject is a *RejectError.
func (c *Certificate) RequestStatus(requestID [32]byte) (reply []byte, state RequestState, err error) {
	field := func(name string) ([]byte, LookupResult) {
		return c.Lookup([]byte("request_status"), requestID[:], []byte(name))
	}
	status, result := field("status")
	switch result {
	case Found:
	case Absent:
		return nil, RequestUnknown, nil
	default:
		return nil, 0, &CertificateError{fmt.Errorf("request status: %s", result)}
	}
	switch string(status) {
	case "received", "processing":
		return nil, RequestProcessing, nil
	case "replied":
		if reply, result = field("reply"); result != Found {
			return nil, 0, &CertificateError{fmt.Errorf("reply: %s", result)}
		}
		return reply, RequestReplied, nil
	case "rejected":
		return nil, 0, rejectFromState(field)
	case "done":
		return nil, 0, ErrReplyForgotten
	}
	return nil, 0, &CertificateError{fmt.Errorf("unknown request status %q", clipText(string(status)))}
}

func rejectFromState(field func(string) ([]byte, LookupResult)) error {
	reject := &RejectError{Certified: true}
	raw, result := field("reject_code")
	if result == Found {
		code, err := decodeLEB(raw)
		if err != nil || code > 1<<16 {
			return &CertificateError{errors.New("reject code is malformed")}
		}
		reject.Code = int(code)
	}
	text, _ := field("reject_message")
	code, _ := field("error_code")
	reject.Text, reject.ErrorCode = string(text), string(code)
	return reject
}

// submitAttempts is how often Call posts the same envelope before it gives up.
const submitAttempts = 3

// Call signs an update call, sends it and waits for the reply until ctx ends or
// the network can no longer execute it. Where the network is not reached, the
// same signed call is posted again a few times; it is executed at most once.
func (c *Client) Call(ctx context.Context, id Identity, canister candid.Principal, method string, arg []byte) ([]byte, error) {
	return c.CallEffective(ctx, id, canister, canister, method, arg)
}

// CallEffective is Call with the effective canister id that calls of the
// management canister need (interface specification, "Effective canister id").
func (c *Client) CallEffective(ctx context.Context, id Identity, effective, canister candid.Principal, method string, arg []byte) ([]byte, error) {
	reply, err := c.callAndWait(ctx, id, effective, NewCall(canister, method, arg, c.opts.Now()))
	if err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", method, canister, err)
	}
	return reply, nil
}

func (c *Client) callAndWait(ctx context.Context, id Identity, effective candid.Principal, e *candid.Envelope) ([]byte, error) {
	if err := Sign(e, id); err != nil {
		return nil, errRequest{err}
	}
	requestID, envelope := e.RequestID(), e.Encode()
	pause := backoff{next: c.opts.PollInterval, limit: c.opts.PollCap}
	for attempt := 1; ; attempt++ {
		out, err := c.submit(ctx, effective, envelope, requestID, nil)
		if err == nil && !out.Accepted {
			return out.Reply, nil
		}
		if err == nil {
			break
		}
		if !Retryable(err) || attempt == submitAttempts {
			return nil, err
		}
		if err := pause.wait(ctx, err); err != nil {
			return nil, err
		}
	}
	return c.waitForReply(ctx, id, effective, requestID, e.IngressExpiry)
}

// waitForReply polls the request's status as its sender.
func (c *Client) waitForReply(ctx context.Context, id Identity, effective candid.Principal, requestID [32]byte, expiry uint64) ([]byte, error) {
	pause := backoff{next: c.opts.PollInterval, limit: c.opts.PollCap}
	path := [][]byte{[]byte("request_status"), requestID[:]}
	for {
		cert, err := c.ReadState(ctx, id, effective, [][][]byte{path})
		switch {
		case err == nil:
			reply, state, err := cert.RequestStatus(requestID)
			if state == RequestReplied || err != nil && !Retryable(err) {
				return reply, err
			}
			// Once certified time is past the expiry, an unknown request stays unknown.
			if err == nil && state == RequestUnknown && uint64(cert.Time.UnixNano()) > expiry { //nolint:gosec // after 1970
				return nil, ErrExpired
			}
		case !Retryable(err):
			return nil, err
		}
		if err := pause.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// backoff makes pauses that grow by half up to a limit.
type backoff struct{ next, limit time.Duration }

// wait pauses, at least for as long as the server asked for with err, or
// returns the context's error.
func (b *backoff) wait(ctx context.Context, err error) error {
	pause := b.next
	b.next = min(b.next+b.next/2, b.limit)
	return Pause(ctx, pause, err)
}

// Pause waits before what failed with err is tried again, or returns the
// context's error: as long as the server asked for, and between half of d and
// d, so that many who were told the same do not come back at the same moment.
func Pause(ctx context.Context, d time.Duration, err error) error {
	timer := time.NewTimer(RetryAfter(err) + d/2 + rand.N(d/2+1)) //nolint:gosec // jitter needs no secrecy
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// maxRetryAfter bounds how long a server can make us wait by asking for it.
const maxRetryAfter = 30 * time.Second

// RetryAfter returns the pause that a server asked for, at most 30 s; 0 if it
// asked for none.
func RetryAfter(err error) time.Duration {
	var h *HTTPError
	if errors.As(err, &h) {
		return min(h.RetryAfter, maxRetryAfter)
	}
	return 0
}
