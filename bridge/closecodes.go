package bridge

import (
	"strings"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// A CloseReason is what a client is told when the gateway ends its session:
// a WebSocket close code and a sentence. The codes from 4100 are ours (the
// stock client itself uses 4000 and 4001); the others are from RFC 6455.
type CloseReason struct {
	Code int
	Text string
}

// Codes after which a client may reconnect at once or a little later.
const (
	CloseGoingAway     = websocket.CloseGoingAway     // 1001: the gateway stops; another one may answer
	CloseTryAgainLater = websocket.CloseTryAgainLater // 1013: too slow a reader, too many connections, frames or bytes, canister not reached
	CloseCanisterReset = 4100                         // the canister was upgraded or reinstalled and has forgotten its clients
	CloseIdle          = 4101                         // nothing was heard from the client, not even a pong
	CloseOpenTimeout   = 4102                         // no ws_open came, or no open message of the canister
	// 4103: the canister refused a message of an open connection, which it has
	// forgotten or closed; the text is the canister's.
	CloseMessageRefused = 4103
	// 4104: the canister's messages cannot be fetched: it was deleted, has no
	// ws_get_messages, or traps in it; the text is the network's.
	CloseCanisterFails = 4104
	CloseRouteChanged  = 4105 // the gateway's configuration was changed: this canister is reached by another adapter, or another process of one
)

// Codes after which reconnecting in the same way will fail in the same way.
const (
	CloseNormal          = websocket.CloseNormalClosure   // 1000: the client closed
	CloseUnsupportedData = websocket.CloseUnsupportedData // 1003: a text frame
	CloseFrameTooLarge   = websocket.CloseMessageTooBig   // 1009: a frame above max_frame_bytes
	CloseMalformed       = 4200                           // a frame or envelope that cannot be read
	CloseNotRouted       = 4201                           // no route for the envelope's canister
	CloseNotAllowed      = 4202                           // an envelope that is not this session's to send: method, sender, canister, signature, expiry; or a ws_open that was used before
	CloseRefused         = 4203                           // the canister refused ws_open; the text is the canister's
	CloseDuplicate       = 4204                           // the same client key is connected already
)

// maxReasonBytes is what fits into a close frame beside the code (RFC 6455, 5.5).
const maxReasonBytes = 123

// frame returns the payload of the close frame: valid UTF-8, cut to the limit.
func (r CloseReason) frame() []byte {
	text := strings.ToValidUTF8(r.Text, "?")
	if len(text) > maxReasonBytes {
		const ellipsis = "..."
		text = text[:maxReasonBytes-len(ellipsis)]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
		text += ellipsis
	}
	return websocket.FormatCloseMessage(r.Code, text)
}
