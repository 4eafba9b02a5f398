package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
)

// Close codes that this side sends. The stock client uses the same two.
const (
	CloseProtocol    = 4000 // something broke the protocol's rules
	CloseApplication = 4001 // the canister's application closed the connection
)

// Why this side closed a connection, found with errors.Is in Err, Receive and Send.
var (
	ErrClosed       = errors.New("closed by this program")
	ErrMalformed    = errors.New("malformed frame from the gateway")
	ErrVerification = errors.New("a message's certification does not hold")
	ErrSequence     = errors.New("a message is missing, repeated or out of order")
	ErrClientKey    = errors.New("a message for another client")
	ErrService      = errors.New("a service message that makes no sense here")
	ErrAckTimeout   = errors.New("the canister does not acknowledge messages")
	ErrOpenTimeout  = errors.New("no open message from the canister in time")
	ErrIdle         = errors.New("nothing heard from the gateway")
	ErrGateway      = errors.New("not the expected gateway")
	ErrLost         = errors.New("the connection was lost")
)

// ErrTooLarge is returned by Send for content above Options.MaxMessageBytes.
var ErrTooLarge = errors.New("client: message too large")

// A CloseError says how a connection ended.
type CloseError struct {
	Code   int    // close code that was received or sent; 1006 if there was none
	Reason string // sentence that came with it
	Remote bool   // whether the gateway closed
	Cause  error  // why this side closed, or what broke; nil if the gateway closed
}

func (e *CloseError) Error() string {
	switch {
	case e.Remote && e.Reason != "":
		return fmt.Sprintf("client: the gateway closed the connection: %s (code %d)", e.Reason, e.Code)
	case e.Remote:
		return fmt.Sprintf("client: the gateway closed the connection (code %d)", e.Code)
	default:
		return fmt.Sprintf("client: connection closed: %v", e.Cause)
	}
}

// Unwrap gives the cause.
func (e *CloseError) Unwrap() error { return e.Cause }

// Reconnect says whether dialing again in the same way may succeed. The
// gateway's codes 4100 to 4199 mean yes and 4200 to 4299 mean no.
func (e *CloseError) Reconnect() bool {
	if closed := (*CanisterClosedError)(nil); errors.As(e.Cause, &closed) {
		return closed.Reason != candid.ClosedByApplication
	}
	if !e.Remote {
		return !errors.Is(e.Cause, ErrClosed) && !errors.Is(e.Cause, ErrGateway)
	}
	switch e.Code {
	case websocket.CloseNormalClosure, websocket.CloseUnsupportedData, websocket.CloseMessageTooBig:
		return false
	default:
		return e.Code < 4200 || e.Code > 4299
	}
}

// violation is the end of a connection whose other side broke the rules.
func violation(cause error) *CloseError {
	return &CloseError{Code: CloseProtocol, Reason: cause.Error(), Cause: cause}
}

// A CanisterClosedError is the cause of a close that the canister asked for
// with a CloseMessage.
type CanisterClosedError struct {
	Reason candid.CloseReason
}

func (e *CanisterClosedError) Error() string {
	return fmt.Sprintf("the canister closed the connection: %s", e.Reason)
}

// An UpgradeError says that the gateway answered the HTTP upgrade with
// something other than a WebSocket.
type UpgradeError struct {
	Status     int           // HTTP status; 101 if only the headers of the handshake were wrong
	Text       string        // beginning of the body
	Location   string        // where the gateway is said to be, if it redirects; it is not followed
	RetryAfter time.Duration // as the gateway asked; 0 if it did not
}

func (e *UpgradeError) Error() string {
	text := fmt.Sprintf("client: the gateway takes no WebSocket: HTTP %d", e.Status)
	if e.Status == http.StatusSwitchingProtocols {
		text += ", but Upgrade, Connection or Sec-WebSocket-Accept is not that of a WebSocket"
	}
	if e.Location != "" {
		text += " to " + e.Location
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}
