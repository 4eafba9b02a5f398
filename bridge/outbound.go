package bridge

import (
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// outbound is a client's bounded queue of frames and the only writer of its
// socket. A writer goroutine exists only while there is something to write.
type outbound struct {
	conn         *websocket.Conn
	writeTimeout time.Duration
	maxFrames    int
	maxBytes     int

	mu      sync.Mutex
	frames  [][]byte     // waiting, in order
	bytes   int          // their sum
	ping    bool         // a ping is due
	pinger  *time.Timer  // makes the next ping due
	end     *CloseReason // set once: nothing is queued after it
	writing bool         // a writer goroutine runs
	writer  sync.WaitGroup
}

// push queues one binary frame. false means that the client reads too slowly:
// the frame was not queued.
func (o *outbound) push(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return true // the client is being told to go; nobody waits for this frame
	}
	if len(o.frames) >= o.maxFrames || o.bytes+len(frame) > o.maxBytes {
		return false
	}
	o.frames = append(o.frames, frame)
	o.bytes += len(frame)
	o.startWriter()
	return true
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
			o.startWriter()
			o.pinger.Reset(interval)
		}
	})
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
// first call counts; it reports whether it was this one.
func (o *outbound) close(reason CloseReason, dropWaiting bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return false
	}
	if dropWaiting {
		o.frames, o.bytes = nil, 0
	}
	o.end = &reason
	// Until the close frame is out, the reader waits at most for the writer.
	_ = o.conn.SetReadDeadline(time.Now().Add(o.writeTimeout + closeLinger))
	o.startWriter()
	return true
}

// closing reports whether close was called.
func (o *outbound) closing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.end != nil
}

// flush returns when what was queued before a close, and the close frame, are
// written or have failed.
func (o *outbound) flush() { o.writer.Wait() }

// stop ends pings and returns when no writer runs. The socket must be closed.
func (o *outbound) stop() {
	o.mu.Lock()
	if o.pinger != nil {
		o.pinger.Stop()
		o.pinger = nil
	}
	if o.end == nil {
		o.end = &CloseReason{Code: CloseNormal} // whatever is pushed from now on goes nowhere
	}
	o.mu.Unlock()
	o.writer.Wait()
}

// startWriter must be called with mu held.
func (o *outbound) startWriter() {
	if !o.writing {
		o.writing = true
		o.writer.Go(o.write)
	}
}

// closeLinger is how long a client may take to answer a close frame.
const closeLinger = 3 * time.Second

// write empties the queue and ends. An error closes the socket, which the
// session's reader notices.
func (o *outbound) write() {
	for {
		o.mu.Lock()
		frames, ping, end := o.frames, o.ping, o.end
		o.frames, o.bytes, o.ping = nil, 0, false
		if len(frames) == 0 && !ping {
			if end == nil {
				o.writing = false
				o.mu.Unlock()
				return
			}
			o.mu.Unlock()
			// writing stays true: the close frame is the last thing written.
			deadline := time.Now().Add(o.writeTimeout)
			if err := o.conn.WriteControl(websocket.CloseMessage, end.frame(), deadline); err != nil {
				_ = o.conn.Close()
				return
			}
			_ = o.conn.SetReadDeadline(time.Now().Add(closeLinger))
			return
		}
		o.mu.Unlock()

		if ping {
			if err := o.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(o.writeTimeout)); err != nil {
				_ = o.conn.Close()
				return
			}
		}
		for _, frame := range frames {
			if err := o.conn.SetWriteDeadline(time.Now().Add(o.writeTimeout)); err != nil {
				_ = o.conn.Close()
				return
			}
			if err := o.conn.WriteMessage(websocket.BinaryMessage, frame); err != nil {
				_ = o.conn.Close()
				return
			}
		}
	}
}
