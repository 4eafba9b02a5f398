package client

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// envelopeLife is how long an envelope can be delivered after it was signed.
// The network takes five minutes at most, less the drift of clocks.
const envelopeLife = 4 * time.Minute

// writing is the writer goroutine's own state.
type writing struct {
	sequence uint64 // of the last message sent
	unsent   int    // messages that Send took and that were not sent; read when the goroutine has ended
}

// write signs and sends what is queued, until the connection closes; then it
// sends the close frame. Signing here gives every envelope its sequence number
// and expiry at the moment it leaves.
func (c *Conn) write() {
	defer func() { c.unsent += len(c.outbox) }()
	ping := time.NewTicker(c.opt.PingInterval)
	defer ping.Stop()
	overdue := time.NewTimer(c.opt.AckTimeout)
	defer overdue.Stop()
	for {
		select {
		case <-c.open.Done():
			c.finish()
			return
		case sequence := <-c.keepAlive:
			c.sendKeepAlive(sequence)
		case m := <-c.outbox:
			c.sendQueued(m)
		case now := <-overdue.C:
			c.checkAcks(now, overdue)
		case <-ping.C:
			if err := c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.opt.WriteTimeout)); err != nil {
				c.broken(fmt.Errorf("ping: %w", err))
			}
		}
	}
}

// finish sends what is still queued, if the close waits for that, and the close frame.
func (c *Conn) finish() {
	c.mu.Lock()
	err, drain := c.err, c.drain
	c.mu.Unlock()
	for drain {
		select {
		case <-c.gone:
			return
		case m := <-c.outbox:
			drain = c.sendQueued(m)
		default:
			drain = false
		}
	}
	if err.Remote || err.Code == websocket.CloseAbnormalClosure {
		return // it is answered already, or there is nobody to tell
	}
	frame := websocket.FormatCloseMessage(err.Code, reasonText(err.Reason))
	if err := c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(c.opt.WriteTimeout)); err != nil {
		_ = c.ws.Close() // the reader need not wait for an answer
	}
}

// sendQueued sends a message of the outbox. Whether it could is the result.
func (c *Conn) sendQueued(m outgoing) bool {
	c.outboxRoom.Release(1)
	defer c.outboxBytes.Release(weight(m.content, c.opt.SendBytes))
	if !c.sendMessage(m, false) {
		c.unsent++
		return false
	}
	return true
}

func (c *Conn) sendKeepAlive(sequence uint64) {
	c.keepAlives.Add(1)
	c.sendMessage(outgoing{content: candid.EncodeServiceMessage(candid.ServiceMessage{
		Kind:         candid.KeepAliveMessage,
		LastIncoming: sequence,
	})}, true)
}

// sendMessage gives a message the next number, and signs it unless that was
// done for this number before.
func (c *Conn) sendMessage(m outgoing, service bool) bool {
	c.sequence++
	c.acks.sent(c.sequence, service, time.Now())
	var frame []byte
	var err error
	if m.prepared.fits(c.sequence, c.opt.Now()) {
		frame = m.prepared.frame
	} else {
		if m.prepared != nil {
			c.anew.Add(1)
		}
		frame, err = c.sign("ws_message", c.messageArgs(c.sequence, m.content, service))
	}
	if err == nil {
		err = c.writeFrame("ws_message", frame)
	}
	if err != nil {
		c.broken(err)
		return false
	}
	return true
}

// checkAcks ends the connection if an acknowledgement is overdue, and looks
// again when the next one may be.
func (c *Conn) checkAcks(now time.Time, again *time.Timer) {
	deadline, waiting := c.acks.deadline()
	switch {
	case !waiting:
		again.Reset(c.opt.AckTimeout) // what is sent from now on is not due before
	case now.Before(deadline):
		again.Reset(deadline.Sub(now))
	default:
		c.violated(ErrAckTimeout)
	}
}

// sign makes the frame of a call of the canister.
func (c *Conn) sign(method string, arg []byte) ([]byte, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("random nonce: %w", err)
	}
	envelope := &candid.Envelope{
		RequestType:   "call",
		Canister:      c.opt.Canister,
		Method:        method,
		Arg:           arg,
		Sender:        c.key.Principal,
		IngressExpiry: uint64(c.opt.Now().Add(envelopeLife).UnixNano()), //nolint:gosec // after 1970
		Nonce:         nonce,
	}
	if err := ic.Sign(envelope, c.opt.Identity); err != nil {
		return nil, fmt.Errorf("signing %s: %w", method, err)
	}
	return candid.EncodeClientFrame(envelope.Encode()), nil
}

// writeFrame sends the frame of a call.
func (c *Conn) writeFrame(method string, frame []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(c.opt.WriteTimeout)); err != nil {
		return fmt.Errorf("sending %s: %w", method, err)
	}
	if err := c.ws.WriteMessage(websocket.BinaryMessage, frame); err != nil {
		return fmt.Errorf("sending %s: %w", method, err)
	}
	return nil
}

// reasonText cuts a reason to what a close frame takes (RFC 6455, section 5.5: 125 bytes with the code).
func reasonText(s string) string {
	const longest = 123
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= longest {
		return s
	}
	s = s[:longest]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
