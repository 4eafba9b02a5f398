package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// A RefusedError says that the canister, the network in its name, or the
// adapter refuses for good. The client's connection ends with the text.
type RefusedError struct {
	Text string // one sentence; clients see about 120 bytes of it
}

func (e *RefusedError) Error() string { return "refused: " + e.Text }

// Refused returns a RefusedError with a formatted text.
func Refused(format string, args ...any) error {
	return &RefusedError{Text: fmt.Sprintf(format, args...)}
}

// RefusalText returns the text if err is, or wraps, a RefusedError.
func RefusalText(err error) (text string, refused bool) {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Text, true
	}
	return "", false
}

// An UnavailableError is "not reached" with a reason: it may work later. A
// client that waits in vain is told the text.
type UnavailableError struct {
	Text       string        // one sentence; clients see about 120 bytes of it
	RetryAfter time.Duration // when it makes sense to try again; 0: not known
}

func (e *UnavailableError) Error() string { return "not available: " + e.Text }

// Unavailable returns an UnavailableError with a formatted text.
func Unavailable(format string, args ...any) error {
	return &UnavailableError{Text: fmt.Sprintf(format, args...)}
}

// UnavailableText returns the text if err is, or wraps, an UnavailableError.
func UnavailableText(err error) (text string, unavailable bool) {
	var u *UnavailableError
	if errors.As(err, &u) {
		return u.Text, true
	}
	return "", false
}

// ErrBusy is in the errors of Host and Base when too many calls of this process
// are under way (max_calls in the configuration).
var ErrBusy = errors.New("too many calls of this adapter are under way")

// A callError is a call to the relay that was answered with no outcome.
type callError struct {
	what   string
	status *status.Status
}

func (e *callError) Error() string { return e.what + ": " + e.status.Message() }

// GRPCStatus keeps the code when a handler returns the error as it is.
func (e *callError) GRPCStatus() *status.Status { return e.status }

func (e *callError) Is(target error) bool {
	switch e.status.Code() {
	case codes.Canceled:
		return target == context.Canceled //nolint:errorlint // this is what errors.Is asks
	case codes.DeadlineExceeded:
		return target == context.DeadlineExceeded //nolint:errorlint // this is what errors.Is asks
	case codes.ResourceExhausted:
		return target == ErrBusy //nolint:errorlint // this is what errors.Is asks
	}
	return false
}

// failed makes a Go error of what gRPC says about a call to the relay.
func failed(what string, err error) error {
	return &callError{what, status.Convert(err)}
}

// What crosses to the relay is bounded: a text that a canister has written, in
// the worst case, goes into a gRPC header.
const maxText = 2048

func bounded(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD") // protobuf takes nothing else
	if len(text) <= maxText {
		return text
	}
	text = text[:maxText-3]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "..."
}

// outcomeOf sorts a handler's error: what the contract has an Outcome for, or
// else a gRPC error, "not reached".
func outcomeOf(err error) (*contract.Outcome, error) {
	if err == nil {
		return &contract.Outcome{}, nil
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		return &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: bounded(refused.Text)}, nil
	}
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		return &contract.Outcome{
			Kind:         contract.Outcome_UNAVAILABLE,
			Text:         bounded(unavailable.Text),
			RetryAfterMs: milliseconds(unavailable.RetryAfter),
		}, nil
	}
	return nil, notReached(err)
}

func milliseconds(d time.Duration) uint64 { return uint64(max(d.Milliseconds(), 0)) } //nolint:gosec // not negative

// notReached makes a gRPC error of a handler's error. One of the base keeps its
// code and its details, which say when to try again.
func notReached(err error) error {
	switch {
	case errors.As(err, new(interface{ GRPCStatus() *status.Status })):
		s := status.Convert(err).Proto()
		s.Message = bounded(err.Error())
		if codes.Code(s.Code) == codes.Unimplemented { //nolint:gosec // a code
			s.Code = int32(codes.Unknown) // this method is there, whatever another one is missing
		}
		return status.ErrorProto(s)
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, bounded(err.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, bounded(err.Error()))
	}
	return status.Error(codes.Unknown, bounded(err.Error()))
}

// errorOf is the other way round: what the base says.
func errorOf(what string, outcome *contract.Outcome) error {
	switch outcome.GetKind() {
	case contract.Outcome_OK:
		return nil
	case contract.Outcome_REFUSED:
		return &RefusedError{Text: outcome.GetText()}
	case contract.Outcome_UNAVAILABLE:
		const most = uint64(24 * time.Hour / time.Millisecond)
		after := time.Duration(min(outcome.GetRetryAfterMs(), most)) * time.Millisecond //nolint:gosec // a day at most
		return &UnavailableError{Text: outcome.GetText(), RetryAfter: after}
	}
	// The contract says that this is "not reached".
	return fmt.Errorf("%s: the relay answers with outcome %d, which this version of the kit does not know", what, outcome.GetKind())
}
