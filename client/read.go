package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
)

// reading is the reader goroutine's own state.
type reading struct {
	checker  checker
	expected uint64 // sequence number of the next message; 1 is the OpenMessage
}

// read takes frames until the socket ends. It calls end before it returns.
func (c *Conn) read() {
	c.checker = checker{verifier: c.opt.Verifier, canister: c.opt.Canister, maxAge: c.opt.MaxCertificateAge, every: c.opt.CheckEvery}
	c.expected = 1
	heard := func() error { return c.ws.SetReadDeadline(time.Now().Add(c.opt.IdleTimeout)) }
	c.ws.SetPongHandler(func(string) error { return heard() })
	answer := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error {
		if err := heard(); err != nil {
			return err
		}
		return answer(data)
	})
	for {
		if err := heard(); err != nil {
			c.broken(err)
			return
		}
		kind, r, err := c.ws.NextReader()
		if err == nil {
			err = c.take(kind, r)
		}
		if err != nil {
			// gorilla has answered a close frame, and sent one for a frame above the limit.
			c.end(readError(err, ErrIdle), false)
			return
		}
	}
}

// frameBuffers hold frames while they are looked at: thousands of connections
// need no memory for it while they wait.
var frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is how large a buffer may be that is used again.
const maxPooled = 64 << 10

// take handles a frame. An error is one of reading it.
func (c *Conn) take(kind int, r io.Reader) error {
	frame := frameBuffers.Get().(*bytes.Buffer) //nolint:forcetypeassert // nothing else is put in
	defer func() {
		if frame.Cap() <= maxPooled {
			frame.Reset()
			frameBuffers.Put(frame)
		}
	}()
	if _, err := frame.ReadFrom(r); err != nil {
		return err
	}
	switch {
	case c.open.Err() != nil: // only the gateway's close frame is awaited
	case kind != websocket.BinaryMessage:
		c.violated(fmt.Errorf("%w: not a binary frame", ErrMalformed))
	default:
		if err := c.frame(frame.Bytes()); err != nil {
			c.refuse(err)
		}
	}
	return nil
}

// refuse ends the connection for what the gateway or the canister sent.
func (c *Conn) refuse(err error) {
	var byCanister *CanisterClosedError
	switch {
	case !errors.As(err, &byCanister):
		c.violated(err)
	case byCanister.Reason == candid.ClosedByApplication:
		c.end(&CloseError{Code: CloseApplication, Reason: byCanister.Reason.String(), Cause: err}, false)
	default:
		c.end(&CloseError{Code: CloseProtocol, Reason: byCanister.Error(), Cause: err}, false)
	}
}

// frame checks one certified message and passes it on. Nothing may keep what is
// in it.
func (c *Conn) frame(frame []byte) error {
	m, err := c.checker.check(frame, c.opt.Now())
	if err != nil {
		return err
	}
	if m.ClientKey != c.key {
		return fmt.Errorf("%w: %s, this is %s", ErrClientKey, m.ClientKey, c.key)
	}
	if m.SequenceNum != c.expected {
		return fmt.Errorf("%w: message %d, expected %d", ErrSequence, m.SequenceNum, c.expected)
	}
	c.expected++
	switch {
	case m.IsServiceMessage:
		return c.service(m)
	case m.SequenceNum == 1:
		return fmt.Errorf("%w: an application message before the OpenMessage", ErrService)
	default:
		return c.deliver(m, len(frame))
	}
}

func (c *Conn) service(m candid.WebsocketMessage) error {
	s, err := candid.DecodeServiceMessage(m.Content)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrService, err)
	}
	first := m.SequenceNum == 1
	switch {
	case first && s.Kind == candid.OpenMessage && s.ClientKey == c.key:
		close(c.opened)
		return nil
	case first && s.Kind == candid.OpenMessage:
		return fmt.Errorf("%w: OpenMessage for %s, this is %s", ErrClientKey, s.ClientKey, c.key)
	case s.Kind == candid.CloseMessage:
		return &CanisterClosedError{Reason: s.Reason}
	case !first && s.Kind == candid.AckMessage:
		if err := c.acks.received(s.LastIncoming); err != nil {
			return err
		}
		c.confirm(m.SequenceNum)
		return nil
	default:
		return fmt.Errorf("%w: %s as message %d", ErrService, s.Kind, m.SequenceNum)
	}
}

// confirm asks the writer for a KeepAliveMessage. It never waits: one that the
// writer has not come to is replaced.
func (c *Conn) confirm(sequence uint64) {
	select {
	case <-c.keepAlive:
	default:
	}
	c.keepAlive <- sequence // the reader is the only sender, so there is room
}

// deliver passes a message on: to OnMessage, or to the queue for Receive, and
// waits while that is full.
func (c *Conn) deliver(m candid.WebsocketMessage, frameBytes int) error {
	out := Message{Content: m.Content, Sequence: m.SequenceNum, Time: unixTime(m.Timestamp), FrameBytes: frameBytes}
	if c.opt.OnMessage != nil {
		c.opt.OnMessage(out)
		return nil
	}
	out.Content = append([]byte{}, m.Content...) // the frame's memory is used again
	if err := c.acquire(context.Background(), c.inboxBytes, weight(out.Content, c.opt.ReceiveBytes)); err != nil {
		return err
	}
	select {
	case c.inbox <- out:
		return nil
	case <-c.open.Done():
		return c.Err()
	}
}

func unixTime(ns uint64) time.Time {
	const second = uint64(time.Second)
	return time.Unix(int64(ns/second), int64(ns%second)) //nolint:gosec // both fit after the division
}
