package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// maxText is how much of a foreign sentence is kept. Clients see 120 bytes of it.
const maxText = 2 << 10

// maxEnvelope is what fits into a message with its other fields. The network
// takes envelopes of 2 MiB.
const maxEnvelope = maxMessage - 4<<10

func errEnvelopeTooLarge(env bridge.Envelope) error {
	return bridge.Refused("an envelope of %d bytes is too large for this gateway's adapter, which takes %d", len(env.Bytes), maxEnvelope)
}

// -- what the relay gives ------------------------------------------------------

func keyMessage(key candid.ClientKey) *contract.ClientKey {
	return &contract.ClientKey{Principal: key.Principal.Bytes(), Nonce: key.Nonce}
}

// envelopeMessage refers to the envelope's bytes: they are copied when it is sent.
func envelopeMessage(env bridge.Envelope) *contract.Envelope {
	return &contract.Envelope{
		Canister:  env.Canister.Bytes(),
		Client:    keyMessage(env.Client),
		RequestId: env.RequestID[:],
		Expiry:    uint64(max(env.Expiry.UnixNano(), 0)), //nolint:gosec // not negative
		Bytes:     env.Bytes,
	}
}

// header reads a ws_message; nil if it is none, or its content is not in one piece.
func header(envelope []byte) *contract.MessageHeader {
	decoded, err := candid.DecodeEnvelope(envelope)
	if err != nil {
		return nil
	}
	message, err := candid.DecodeMessageArgs(decoded.Arg)
	if err != nil {
		return nil
	}
	start, ok := offset(envelope, message.Content)
	if !ok {
		return nil
	}
	return &contract.MessageHeader{
		SequenceNum:      message.SequenceNum,
		Timestamp:        message.Timestamp,
		IsServiceMessage: message.IsServiceMessage,
		ContentStart:     start,
		ContentEnd:       start + uint64(len(message.Content)),
	}
}

// offset is where part, which a decoder has returned, is in whole.
func offset(whole, part []byte) (at uint64, ok bool) {
	if len(part) == 0 {
		return 0, true
	}
	// Only addresses are compared: nothing is read through them.
	first, begin := uintptr(unsafe.Pointer(unsafe.SliceData(whole))), uintptr(unsafe.Pointer(unsafe.SliceData(part))) //nolint:gosec // as above
	if begin < first || begin+uintptr(len(part)) > first+uintptr(len(whole)) {
		return 0, false // the envelope has its argument in pieces
	}
	return uint64(begin - first), true
}

// -- what the process answers --------------------------------------------------

// result is what an answer means for the gateway.
func (s *state) result(method string, outcome *contract.Outcome, err error) error {
	if err != nil {
		return s.notReached(method, err)
	}
	text := shorten(outcome.GetText(), maxText)
	switch outcome.GetKind() {
	case contract.Outcome_OK:
		return nil
	case contract.Outcome_REFUSED:
		if text == "" {
			text = "the gateway's adapter " + s.process.cfg.Name + " refuses"
		}
		return &bridge.RefusedError{Text: text}
	case contract.Outcome_UNAVAILABLE:
		if text == "" {
			text = "the canister takes nothing at the moment, try again later"
		}
		return &bridge.UnavailableError{Text: text, Err: retryError(text, readRetryAfter(outcome.GetRetryAfterMs()))}
	}
	return fmt.Errorf("adapter %s: %s: outcome of unknown kind %d", s.process.cfg.Name, method, outcome.GetKind())
}

// notReached is for a gRPC error.
func (s *state) notReached(method string, err error) error {
	if s.ctx.Err() != nil {
		return s.process.gone(errors.New(describe(err)))
	}
	st := status.Convert(err)
	text := fmt.Sprintf("adapter %s: %s: %s: %s", s.process.cfg.Name, method, st.Code(), shorten(st.Message(), maxText))
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return retryError(text, info.GetRetryDelay().AsDuration())
		}
	}
	return errors.New(text)
}

// describe is an error of gRPC for the log.
func describe(err error) string {
	if err == nil {
		return ""
	}
	return shorten(status.Convert(err).Message(), maxText)
}

// retryError is an error with a time to wait, as ic.RetryAfter reads it.
func retryError(text string, after time.Duration) error {
	if after <= 0 {
		return errors.New(text)
	}
	return &askedToWait{text, &ic.HTTPError{RetryAfter: after}}
}

type askedToWait struct {
	text string
	err  *ic.HTTPError
}

func (e *askedToWait) Error() string { return e.text }

func (e *askedToWait) Unwrap() error { return e.err }

func readRetryAfter(ms uint64) time.Duration {
	const longest = uint64(time.Hour / time.Millisecond)
	return time.Duration(min(ms, longest)) * time.Millisecond //nolint:gosec // at most an hour
}

// Bounds of a batch.
const (
	maxBatchBytes    = 8 << 20
	maxBatchMessages = 10_000
	maxBatchParts    = 10_000
	maxKeyBytes      = 256
)

// poll reads the parts of a batch.
func (a *Adapter) poll(ctx context.Context, s *state, canister candid.Principal, from uint64) (bridge.Batch, error) {
	ctx, cancel := context.WithCancel(ctx) // an answer that is too large is not waited for
	defer cancel()
	stream, err := s.adapter.Poll(ctx, &contract.PollRequest{Route: a.number, Canister: canister.Bytes(), From: from})
	if err != nil {
		return bridge.Batch{}, s.pollError(err)
	}
	var b batch
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return bridge.Batch{Messages: b.messages, Cert: b.certificate, Tree: b.witness, EndOfQueue: !b.more}, nil
		}
		if err != nil {
			return bridge.Batch{}, s.pollError(err)
		}
		if outcome := part.GetOutcome(); outcome.GetKind() != contract.Outcome_OK {
			if b.parts > 0 {
				return bridge.Batch{}, fmt.Errorf("adapter %s: Poll: an outcome after a part of a batch", s.process.cfg.Name)
			}
			return bridge.Batch{}, s.result("Poll", outcome, nil)
		}
		if err := b.add(part); err != nil {
			return bridge.Batch{}, fmt.Errorf("adapter %s: Poll: %w", s.process.cfg.Name, err)
		}
	}
}

// pollError keeps UNIMPLEMENTED as it is: it is no error.
func (s *state) pollError(err error) error {
	if status.Code(err) == codes.Unimplemented {
		return err
	}
	return s.notReached("Poll", err)
}

type batch struct {
	messages             []candid.OutputMessage
	certificate, witness []byte
	more                 bool
	parts, bytes         int
}

func (b *batch) add(part *contract.PollPart) error {
	b.parts++
	b.bytes += len(part.GetCertificate()) + len(part.GetWitness())
	for i, field := range []*[]byte{&b.certificate, &b.witness} {
		value := part.GetCertificate()
		if i == 1 {
			value = part.GetWitness()
		}
		switch {
		case len(value) == 0:
		case *field != nil:
			return errors.New("two parts of a batch have a certificate or witness")
		default:
			*field = value
		}
	}
	b.more = b.more || part.GetMore()
	for _, m := range part.GetMessages() {
		key, err := readKey(m.GetClient())
		if err != nil {
			return err
		}
		if len(m.GetKey()) > maxKeyBytes {
			return fmt.Errorf("the key of a message has %d bytes", len(m.GetKey()))
		}
		b.bytes += len(m.GetKey()) + len(m.GetContent()) + len(key.Principal)
		b.messages = append(b.messages, candid.OutputMessage{ClientKey: key, Key: m.GetKey(), Content: m.GetContent()})
	}
	if b.bytes > maxBatchBytes || len(b.messages) > maxBatchMessages || b.parts > maxBatchParts {
		return fmt.Errorf("a batch may have %d MiB, %d messages and %d parts", maxBatchBytes>>20, maxBatchMessages, maxBatchParts)
	}
	return nil
}

// -- both ways -----------------------------------------------------------------

func readKey(k *contract.ClientKey) (candid.ClientKey, error) {
	principal, err := readPrincipal("a client's principal", k.GetPrincipal())
	return candid.ClientKey{Principal: principal, Nonce: k.GetNonce()}, err
}

func readPrincipal(what string, b []byte) (candid.Principal, error) {
	if len(b) == 0 || len(b) > candid.MaxPrincipalLength {
		return "", fmt.Errorf("%s has %d bytes, and not 1 to %d", what, len(b), candid.MaxPrincipalLength)
	}
	return candid.Principal(b), nil
}

// -- what the relay answers ----------------------------------------------------

// outcomeOf is what an error of the base means for the process.
func outcomeOf(err error) (*contract.Outcome, error) {
	if err == nil {
		return &contract.Outcome{}, nil
	}
	if text, refused := bridge.RefusalText(err); refused {
		return &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: shorten(text, maxText)}, nil
	}
	var unavailable *bridge.UnavailableError
	if errors.As(err, &unavailable) {
		return &contract.Outcome{
			Kind: contract.Outcome_UNAVAILABLE, Text: shorten(unavailable.Text, maxText),
			RetryAfterMs: uint64(ic.RetryAfter(err).Milliseconds()), //nolint:gosec // not negative
		}, nil
	}
	return nil, statusOf(err)
}

// statusOf is an error that means "not reached".
func statusOf(err error) error {
	code := codes.Unavailable
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	st := status.New(code, shorten(err.Error(), maxText))
	if after := ic.RetryAfter(err); after > 0 {
		if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err == nil {
			st = detailed
		}
	}
	return st.Err()
}
