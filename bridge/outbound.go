package bridge

import (
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// outbound is a client's bounded queue of frames and the only writer of its
// socket. Whoever queues something writes it as far as the socket takes it at
// once; a writer goroutine exists only while there is something to wait for.
type outbound struct {
	conn         *websocket.Conn
	socket       *socket // under conn; nil: every write may wait
	writeTimeout time.Duration
	maxFrames    int
	maxBytes     int
	stalled      func() // told of a frame that did not leave in time

	mu      sync.Mutex
	frames  []*frame      // waiting, in order
	bytes   int           // their sum
	ping    bool          // a ping is due
	pong    *string       // the answer to the last ping is due
	pinger  *time.Timer   // makes the next ping due
	end     *CloseReason  // set once: nothing is queued after it
	told    bool          // the close frame was taken
	held    *time.Timer   // ends the time for which frames are held back
	writing bool          // somebody writes
	writer  chan struct{} // closed when the last writer goroutine has ended; nil: there was none
}

// hold keeps what is pushed from now on for a while. A close ends the hold.
func (o *outbound) hold(d time.Duration) {
	if d <= 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = time.AfterFunc(d, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.held = nil
		if o.end == nil {
			o.advance()
		}
	})
}

// push queues one binary frame. false means that the client reads too slowly:
// the frame was not queued.
func (o *outbound) push(f *frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return true // the client is being told to go; nobody waits for this frame
	}
	if n := len(o.frames); n > 0 && (n >= o.maxFrames || o.bytes+len(f.bytes) > o.maxBytes) {
		return false
	}
	o.frames = append(o.frames, f)
	o.bytes += len(f.bytes)
	o.advance()
	return true
}

// waiting returns how many frames are queued.
func (o *outbound) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.frames)
}

// pingEvery sends pings until the queue closes or stops.
func (o *outbound) pingEvery(interval time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pinger = time.AfterFunc(interval, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.end == nil && o.pinger != nil {
			o.ping = true
			o.advance()
			o.pinger.Reset(interval)
		}
	})
}

// answerPing queues a pong. Of several that wait only the last is sent, as RFC
// 6455, section 5.5.3, allows. The writer sends it, because whoever reads a
// socket for hours should have a small stack.
func (o *outbound) answerPing(data string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return
	}
	o.pong = &data
	if !o.writing {
		o.writing = true
		o.startWriter()
	}
}

// expectReadWithin moves the reader's deadline, unless a close frame has set
// the last one.
func (o *outbound) expectReadWithin(d time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return nil
	}
	return o.conn.SetReadDeadline(time.Now().Add(d))
}

// close queues the close frame behind what waits, or instead of it. Only the
// first call counts; it calls first, before anything is written, and returns true.
func (o *outbound) close(reason CloseReason, dropWaiting bool, first func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return false
	}
	first()
	if dropWaiting {
		o.frames, o.bytes = nil, 0
	}
	o.end = &reason
	o.stopHolding()
	_ = o.conn.SetReadDeadline(time.Now().Add(closeFlush + closeLinger))
	o.advance()
	return true
}

// stopHolding must be called with mu held.
func (o *outbound) stopHolding() {
	if o.held != nil {
		o.held.Stop()
		o.held = nil
	}
}

// closing reports whether close was called.
func (o *outbound) closing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.end != nil
}

// flush returns when no writer runs that was started before: after a close, when
// what was queued, and the close frame, are written or have failed.
func (o *outbound) flush() {
	o.mu.Lock()
	writer := o.writer
	o.mu.Unlock()
	if writer != nil {
		<-writer
	}
}

// stop ends pings and returns when no writer runs. The socket must be closed.
func (o *outbound) stop() {
	o.mu.Lock()
	if o.pinger != nil {
		o.pinger.Stop()
		o.pinger = nil
	}
	o.stopHolding()
	if o.end == nil {
		o.end = &CloseReason{Code: CloseNormal} // whatever is pushed from now on goes nowhere
	}
	o.mu.Unlock()
	o.flush()
	// The canister may take a minute to be told, and nobody waits for this any more.
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames, o.bytes, o.pong = nil, 0, nil
}

// advance writes what waits until the socket is full, and has a writer do the
// rest. It must be called with mu held.
func (o *outbound) advance() {
	if o.writing {
		return
	}
	o.writing = true
	for o.socket != nil && !o.socket.behind() {
		next, kind := o.takeNext()
		if kind == nothing {
			return
		}
		if err := o.send(next, kind); err != nil {
			sever(o.conn)
			return
		}
	}
	o.startWriter()
}

// startWriter must be called with mu held and writing set.
func (o *outbound) startWriter() {
	ended := make(chan struct{})
	o.writer = ended
	go func() {
		defer close(ended)
		o.write()
	}()
}

const (
	// closeFlush is how long a client that is told to go may take to read what
	// was queued for it before.
	closeFlush = 30 * time.Second
	// closeLinger is how long it may take to answer the close frame.
	closeLinger = 3 * time.Second
)

// write empties the queue and ends. An error closes the socket, which the
// session's reader notices.
func (o *outbound) write() {
	for {
		err := o.flushSocket()
		if err == nil {
			next, kind := o.take()
			if kind == nothing {
				return
			}
			err = o.send(next, kind)
		}
		if err != nil {
			if isTimeout(err) {
				o.stalled()
			}
			sever(o.conn)
			return
		}
	}
}

func (o *outbound) flushSocket() error {
	if o.socket == nil {
		return nil
	}
	return o.socket.flush(time.Now().Add(o.writeTimeout))
}

// send writes what take has returned.
func (o *outbound) send(next *frame, kind int) error {
	deadline := time.Now().Add(o.writeTimeout)
	if o.socket != nil {
		o.socket.expect(len(next.bytes))
	}
	if kind != websocket.BinaryMessage {
		return o.conn.WriteControl(kind, next.bytes, deadline)
	}
	if err := o.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if err := o.conn.WriteMessage(websocket.BinaryMessage, next.bytes); err != nil {
		return err
	}
	next.release()
	return nil
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// noFrame is what a ping carries.
var noFrame = frame{shared: true}

// nothing is the kind of frame that take returns when the queue is empty.
const nothing = -1

// take removes what is to be written next: a ping or pong that is due, the
// oldest frame, and last of all the close frame. When there is nothing, nobody
// is writing any more.
func (o *outbound) take() (next *frame, kind int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takeNext()
}

// takeNext must be called with mu held.
func (o *outbound) takeNext() (next *frame, kind int) {
	switch {
	case o.ping:
		o.ping = false
		return &noFrame, websocket.PingMessage
	case o.pong != nil:
		next = &frame{bytes: []byte(*o.pong), shared: true}
		o.pong = nil
		return next, websocket.PongMessage
	case len(o.frames) > 0 && o.held == nil:
		next = o.frames[0]
		o.frames[0] = nil
		if o.frames = o.frames[1:]; len(o.frames) == 0 {
			o.frames = nil
		}
		o.bytes -= len(next.bytes)
		return next, websocket.BinaryMessage
	case o.end != nil && !o.told:
		o.told = true
		return &frame{bytes: o.end.frame(), shared: true}, websocket.CloseMessage
	case o.told:
		_ = o.conn.SetReadDeadline(time.Now().Add(closeLinger))
	}
	o.writing = false
	return &noFrame, nothing
}

// sever closes a socket without a farewell: that of TLS would wait for a client
// that does not read.
func sever(conn *websocket.Conn) { _ = transport(conn).Close() }
