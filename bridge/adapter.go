package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// An Adapter is one way to reach a canister. It takes signed envelopes and
// gives certified messages; it never sees a socket, and a session never sees
// the Internet Computer behind it.
//
// What crosses this interface is plain data and errors of two kinds, so that
// the same contract can be served by another process: RefusedError (the
// canister or the network said no, repeating is useless) and everything else,
// which means "not reached": the session or poller may try again later. Where
// the network says why, that is an UnavailableError.
//
// All methods are safe for concurrent use, return soon after ctx ends, and
// keep no reference to the bytes they were given after returning.
// The suite in bridge/adaptertest states these promises as tests.
type Adapter interface {
	// Open forwards a client's signed ws_open. nil means that the canister
	// said Ok (or, on a network without synchronous calls, that it took the
	// envelope). Giving the same envelope twice opens once.
	Open(ctx context.Context, env Envelope) error

	// Message forwards a client's signed ws_message. For one client it is
	// called in the order in which the client sent, one at a time, unless the
	// adapter is a Pipeliner. nil means that the canister accepted it. An
	// envelope given twice is delivered once.
	Message(ctx context.Context, env Envelope) error

	// Close tells the canister that a client has gone. A canister that does
	// not know the client (any more) is not an error.
	Close(ctx context.Context, canister candid.Principal, client candid.ClientKey) error

	// Poll asks the canister for this gateway's messages with a nonce of at
	// least from. It does not wait for messages, changes nothing, and may be
	// repeated. Nothing new is an empty batch. The batch is unverified: the
	// gateway checks certificate and witness itself.
	Poll(ctx context.Context, canister candid.Principal, from uint64) (Batch, error)
}

// An Envelope is a call that a client signed, with what the gateway read in it.
type Envelope struct {
	Canister  candid.Principal
	Client    candid.ClientKey
	RequestID [32]byte  // representation-independent hash of the signed content
	Expiry    time.Time // ingress_expiry: after it the network refuses the envelope
	Bytes     []byte    // CBOR, exactly as the client sent it
}

// A Batch is one answer to Poll: messages in nonce order, and one certificate
// and witness that cover them all.
type Batch = candid.OutputMessages

// A Checker is an Adapter that can look at a canister before clients come.
// Gateway.Check calls it once for each route with a canister.
type Checker interface {
	Check(ctx context.Context, canister candid.Principal) error
}

// A Watcher is an Adapter with background work for a canister that has
// clients. Watch runs until ctx ends (its error is ignored then) and calls
// changed whenever a Poll is likely to bring something; changed never blocks.
// The gateway runs at most one Watch per canister, and restarts one that
// returns early.
type Watcher interface {
	Watch(ctx context.Context, canister candid.Principal, changed func()) error
}

// A Confirmer is an Adapter whose canister may forget what its clients have here.
// Delivered is called when every message of a canister with a nonce below next
// was verified, and handed to its client's queue if that is here: after batches,
// and with a lower nonce than before when the canister has begun anew, or the
// gateway has nothing of it. Poll says less: what it brings may fail the checks.
// Delivered returns at once.
type Confirmer interface {
	Delivered(canister candid.Principal, next uint64)
}

// A Pipeliner is an Adapter whose canister puts a client's messages back in
// order. Window is how many Message calls of one client may be under way at
// once: call n is not made before call n-messages has returned, nor while the
// envelopes from the oldest call under way on would exceed so many bytes. Within
// the window they may reach the canister in any order.
type Pipeliner interface {
	Window() (messages, bytes int)
}

// A Resumer is an Adapter whose canister lets a client that comes back go on
// where its lost connection was. Lost is called in place of Close, and promises
// what Close promises, unless the client itself has closed its socket: the socket
// broke, nothing was heard of the client, or the gateway has ended the session.
type Resumer interface {
	Lost(ctx context.Context, canister candid.Principal, client candid.ClientKey) error
}

// maxText is how many bytes of a foreign sentence are kept: it goes to the log, and
// the beginning of it to a client. A canister may write megabytes.
const maxText = 1 << 10

func clip(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return text
}

// A RefusedError says that the canister, or the network in its name, refused
// for good. Text is the canister's own sentence and reaches the client.
type RefusedError struct {
	Text string
}

func (e *RefusedError) Error() string { return "refused: " + clip(e.Text) }

// Refused returns a RefusedError with a formatted text.
func Refused(format string, args ...any) error {
	return &RefusedError{Text: fmt.Sprintf(format, args...)}
}

// An UnavailableError is "not reached" with a reason: the network answers, but
// the canister takes nothing at the moment, because it is stopped or has no
// cycles. Text is the network's own sentence and reaches the client.
type UnavailableError struct {
	Text string
	Err  error // for the log, may be nil
}

func (e *UnavailableError) Error() string {
	if e.Err != nil {
		return "not available: " + e.Err.Error()
	}
	return "not available: " + clip(e.Text)
}

// Unwrap returns what is for the log.
func (e *UnavailableError) Unwrap() error { return e.Err }

// A LostError says that whatever the adapter knew of a canister's sessions is
// lost, because the process behind it has ended. Watch returns it at once, Poll
// and Message when they are called: the sessions end with CloseTryAgainLater and
// Text, and those that come after them begin anew.
type LostError struct {
	Text string
}

func (e *LostError) Error() string { return "lost: " + clip(e.Text) }

// unavailableText returns the network's sentence if err is, or wraps, an UnavailableError.
func unavailableText(err error) (text string, unavailable bool) {
	var u *UnavailableError
	if errors.As(err, &u) {
		return clip(u.Text), true
	}
	return "", false
}

// lostText returns the sentence for the sessions if err is, or wraps, a LostError.
func lostText(err error) (text string, lost bool) {
	var l *LostError
	if errors.As(err, &l) {
		return clip(l.Text), true
	}
	return "", false
}

// RefusalText returns the canister's sentence if err is, or wraps, a refusal.
func RefusalText(err error) (text string, refused bool) {
	var r *RefusedError
	if errors.As(err, &r) {
		return clip(r.Text), true
	}
	return "", false
}
