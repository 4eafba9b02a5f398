package ic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// RejectError is the refusal of a request by the canister or by the network
// (interface specification, "Reject codes"). Sending the request again changes nothing.
type RejectError struct {
	Code      int    // 1 to 6; 0 if the reply did not say
	Text      string // the diagnostic message
	ErrorCode string // such as "IC0503"; may be empty
	// Certified tells that the whole subnet said so. Otherwise one replica refused
	// the request before it became part of the state, or answered a query.
	Certified bool
}

func (e *RejectError) Error() string {
	text := clip(e.Text, maxRejectText)
	if e.ErrorCode != "" {
		return fmt.Sprintf("rejected with code %d (%s): %s", e.Code, clipText(e.ErrorCode), text)
	}
	return fmt.Sprintf("rejected with code %d: %s", e.Code, text)
}

// maxRejectText is how many bytes of Text an error says: a canister may write a
// megabyte, and errors go to logs.
const maxRejectText = 1 << 10

// Transient reports whether the network calls the condition transient
// (SYS_TRANSIENT). A new request may succeed later; this one will not.
func (e *RejectError) Transient() bool { return e.Code == 2 }

// Stopped reports whether the canister is stopped or being stopped, as it is
// for a moment when it is upgraded. Where that is not certified, the request
// has not become part of the state: the same one may succeed later.
func (e *RejectError) Stopped() bool { return e.ErrorCode == "IC0508" || e.ErrorCode == "IC0509" }

// HTTPError is an answer with an HTTP status that carries no reply.
type HTTPError struct {
	Status     int
	Text       string        // the beginning of the body
	RetryAfter time.Duration // 0: not given
}

func (e *HTTPError) Error() string {
	text := http.StatusText(e.Status)
	if e.Text != "" {
		text += ": " + e.Text
	}
	return fmt.Sprintf("HTTP status %d %s", e.Status, text)
}

var (
	// ErrReplyForgotten reports a request that was executed, but whose reply the
	// network no longer has.
	ErrReplyForgotten = errors.New("the request is done, but its reply is no longer known")
	// ErrNoRootKey reports that a certificate cannot be verified because nobody
	// gave the client a Verifier.
	ErrNoRootKey = errors.New("no root key to verify the reply with")
)

// errRequest marks errors in what the caller asked for.
type errRequest struct{ error }

func (e errRequest) Unwrap() error { return e.error }

// Retryable reports whether the same request may succeed later: the network was
// not reached, answered 429, 5xx or a temporary redirect, or answered with
// something that cannot be believed. Rejects, other 4xx statuses, an expired
// request and a cancelled context are final. A 404 is final unless the endpoint
// has answered before.
// Sending an identical signed call again is harmless, as it has the same id.
func Retryable(err error) bool {
	var reject *RejectError
	var status *HTTPError
	var request errRequest
	var vanished errVanished
	switch {
	case err == nil, errors.As(err, &reject), errors.As(err, &request),
		errors.Is(err, context.Canceled), errors.Is(err, ErrReplyForgotten), errors.Is(err, ErrNoRootKey),
		errors.Is(err, ErrExpired):
		return false
	case errors.As(err, &vanished):
		return true
	case errors.As(err, &status):
		return status.passes()
	}
	return true
}

// passes reports whether the status speaks of the moment, not of the request.
func (e *HTTPError) passes() bool {
	switch e.Status {
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, // such as to a page about maintenance
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500
}
