package client

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// preparedLife is how long a signature that was made ahead is used. What is
// left of envelopeLife is for the way.
const preparedLife = envelopeLife - time.Minute

// A Prepared is a message of a connection that is signed already.
type Prepared struct {
	content  []byte
	ordinal  uint64 // among the program's own messages
	sequence uint64 // that it was signed with
	signed   time.Time
	frame    []byte
}

// FrameBytes is the length of the message's frame, without its WebSocket header.
func (p *Prepared) FrameBytes() int { return len(p.frame) }

// Prepare signs content as the message that follows all that were sent or
// prepared before, so that SendPrepared has nothing left to compute. It is for
// programs that measure, or must answer at once.
//
// Messages should be sent in the order in which they were prepared, all of them,
// within three minutes. One whose turn or time has passed, because the answer to
// an acknowledgement was sent in between or for another reason, is signed anew
// when it is sent: that takes longer, and changes nothing else. Renew does it
// before, and SignedAnew counts where it was not done.
func (c *Conn) Prepare(content []byte) (*Prepared, error) {
	if err := c.checkSize(content); err != nil {
		return nil, err
	}
	p := &Prepared{content: bytes.Clone(content), ordinal: c.planned.Add(1)}
	return p, c.signPrepared(p)
}

func (c *Conn) signPrepared(p *Prepared) (err error) {
	p.sequence, p.signed = p.ordinal+c.keepAlives.Load(), c.opt.Now()
	p.frame, err = c.sign("ws_message", c.messageArgs(p.sequence, p.content, false))
	return err
}

// Renew signs a prepared message again if an answer to an acknowledgement has
// taken its turn, or if half the time in which it can be sent has passed, and
// reports whether it did. It must not be called once the message is sent.
func (c *Conn) Renew(p *Prepared) (bool, error) {
	if p.sequence == p.ordinal+c.keepAlives.Load() && c.opt.Now().Sub(p.signed) < preparedLife/2 {
		return false, nil
	}
	return true, c.signPrepared(p)
}

// SignedAnew is how many prepared messages were signed while they were sent.
func (c *Conn) SignedAnew() uint64 { return c.anew.Load() }

// SendPrepared is Send for a prepared message.
func (c *Conn) SendPrepared(ctx context.Context, p *Prepared) error {
	return c.send(ctx, outgoing{p.content, p})
}

// fits reports whether what was signed can be sent as it is.
func (p *Prepared) fits(sequence uint64, now time.Time) bool {
	return p != nil && p.sequence == sequence && now.Sub(p.signed) < preparedLife
}

// outgoing is a message that waits to be sent.
type outgoing struct {
	content  []byte
	prepared *Prepared // nil: to be signed
}

func (c *Conn) messageArgs(sequence uint64, content []byte, service bool) []byte {
	return candid.EncodeMessageArgs(candid.WebsocketMessage{
		ClientKey:        c.key,
		SequenceNum:      sequence,
		Timestamp:        uint64(c.opt.Now().UnixNano()), //nolint:gosec // after 1970
		IsServiceMessage: service,
		Content:          content,
	})
}

func (c *Conn) checkSize(content []byte) error {
	if len(content) > c.opt.MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(content), c.opt.MaxMessageBytes)
	}
	return nil
}
