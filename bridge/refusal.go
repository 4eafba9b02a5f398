package bridge

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A cause is what a refusal is counted as: the label "reason" of
// relay_refusals_total. docs/reliability.md lists them all.
type cause int

// Before the WebSocket: connections and requests that are turned away.
const (
	causeStopping cause = iota
	causeConnections
	causeConnectionsPerAddress
	causeConnectionRate
	causeConnectionRatePerAddress
	causeHTTPConnections
	causeHTTPConnectionsPerAddress
	causeNoRequest
	causeOrigin
	causeUpgrade

	// Sessions that are ended.
	causeFirstFrameTimeout
	causeOpenTimeout
	causeIdle
	causeFrameRate
	causeByteRate
	causeFrameSize
	causeTextFrame
	causeMalformed
	causeNotCall
	causeMethod
	causeNotRouted
	causeDenied
	causeCanister
	causeGateway
	causeAnonymous
	causeSender
	causeExpiry
	causeSignature
	causeReplay
	causeDuplicate
	causeConnectionsPerCanister
	causeConnectionsPerPrincipal
	causeOpenRefused
	causeMessageRefused
	causeUnreachable
	causeSlowReader

	causes // how many there are
)

var causeNames = [causes]string{
	causeStopping:                  "stopping",
	causeConnections:               "connections",
	causeConnectionsPerAddress:     "connections_per_address",
	causeConnectionRate:            "connection_rate",
	causeConnectionRatePerAddress:  "connection_rate_per_address",
	causeHTTPConnections:           "http_connections",
	causeHTTPConnectionsPerAddress: "http_connections_per_address",
	causeNoRequest:                 "no_request",
	causeOrigin:                    "origin",
	causeUpgrade:                   "upgrade",
	causeFirstFrameTimeout:         "first_frame_timeout",
	causeOpenTimeout:               "open_timeout",
	causeIdle:                      "idle",
	causeFrameRate:                 "frame_rate",
	causeByteRate:                  "byte_rate",
	causeFrameSize:                 "frame_size",
	causeTextFrame:                 "text_frame",
	causeMalformed:                 "malformed",
	causeNotCall:                   "not_a_call",
	causeMethod:                    "method",
	causeNotRouted:                 "not_routed",
	causeDenied:                    "canister_denied",
	causeCanister:                  "canister",
	causeGateway:                   "gateway",
	causeAnonymous:                 "anonymous",
	causeSender:                    "sender",
	causeExpiry:                    "expiry",
	causeSignature:                 "signature",
	causeReplay:                    "replay",
	causeDuplicate:                 "duplicate",
	causeConnectionsPerCanister:    "connections_per_canister",
	causeConnectionsPerPrincipal:   "connections_per_principal",
	causeOpenRefused:               "open_refused",
	causeMessageRefused:            "message_refused",
	causeUnreachable:               "unreachable",
	causeSlowReader:                "slow_reader",
}

// A refusal ends a session: what the client is told, and what it is counted as.
type refusal struct {
	CloseReason
	cause cause
}

func refuse(cause cause, code int, format string, args ...any) *refusal {
	return &refusal{CloseReason{code, fmt.Sprintf(format, args...)}, cause}
}

// A denial answers an HTTP request that would have become a WebSocket.
type denial struct {
	status int
	cause  cause
	text   string
	retry  time.Duration // when to come back; 0: not at all
}

func (d *denial) answer(w http.ResponseWriter) {
	if d.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(d.retry)))
	}
	// The socket is not kept: whoever is refused opens another one, or none.
	w.Header().Set("Connection", "close")
	http.Error(w, d.text, d.status)
}

// seconds rounds up: who comes back then does not come too early.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
