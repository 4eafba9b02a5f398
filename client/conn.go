package client

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/semaphore"

	"github.com/icrelay/icrelay/candid"
)

// A Message is one application message from the canister, verified.
type Message struct {
	Content  []byte    // Candid of one value of the application's message type
	Sequence uint64    // of this connection, service messages counted too
	Time     time.Time // when the canister made it, by its own clock

	FrameBytes int // length of the frame that it came in, without the WebSocket header
}

// A Conn is an open connection to a canister. Its methods are safe for
// concurrent use. Dial makes one; see the package for its lifecycle.
type Conn struct {
	opt     Options
	ws      *websocket.Conn
	key     candid.ClientKey
	gateway candid.Principal
	acks    acks
	opened  chan struct{} // closed by the reader at the OpenMessage

	planned     atomic.Uint64       // the program's messages that were sent, queued or prepared
	keepAlives  atomic.Uint64       // service messages that were sent, which take sequence numbers too
	anew        atomic.Uint64       // prepared messages that were signed while they were sent
	outbox      chan outgoing       // Send puts in with mu held, so that nothing comes after the close
	outboxRoom  *semaphore.Weighted // one for each place in outbox
	outboxBytes *semaphore.Weighted // held by what is in outbox and by what is being sent
	inbox       chan Message        // closed by the reader when nothing more comes
	inboxBytes  *semaphore.Weighted // held by what is in inbox
	keepAlive   chan uint64         // sequence number to confirm; the newest replaces an older one

	reading // the reader goroutine's own state
	writing // the writer goroutine's own state

	open context.Context    // ends with the first call of end
	shut context.CancelFunc // ends open
	gone chan struct{}      // closed when the reader has seen the socket's end
	done chan struct{}      // closed when both goroutines have ended

	mu    sync.Mutex
	err   *CloseError // why it ended; set before open ends
	drain bool        // whether the writer sends what is queued before the close frame
	force *time.Timer // breaks the socket if the gateway does not answer the close frame
}

func newConn(opt Options, ws *websocket.Conn, gateway candid.Principal) *Conn {
	open, shut := context.WithCancel(context.Background())
	return &Conn{
		open:        open,
		shut:        shut,
		opt:         opt,
		ws:          ws,
		key:         candid.ClientKey{Principal: opt.Identity.Principal(), Nonce: opt.Nonce},
		gateway:     gateway,
		acks:        acks{timeout: opt.AckTimeout},
		opened:      make(chan struct{}),
		outbox:      make(chan outgoing, opt.SendMessages),
		outboxRoom:  semaphore.NewWeighted(int64(opt.SendMessages)),
		outboxBytes: semaphore.NewWeighted(int64(opt.SendBytes)),
		inbox:       make(chan Message, opt.ReceiveMessages),
		inboxBytes:  semaphore.NewWeighted(int64(opt.ReceiveBytes)),
		keepAlive:   make(chan uint64, 1),
		gone:        make(chan struct{}),
		done:        make(chan struct{}),
	}
}

// Key is what the canister knows this connection by.
func (c *Conn) Key() candid.ClientKey { return c.key }

// Gateway is the principal that the gateway named in its handshake.
func (c *Conn) Gateway() candid.Principal { return c.gateway }

// Done is closed when the connection has ended and its goroutines with it.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the connection is open, and a *CloseError from the moment
// it begins to close.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return c.err
}

// Acknowledged is how many of the messages that Send has taken the canister has
// confirmed: the first so many. Acknowledgements come at the canister's own
// interval. Once the connection has ended the number stays, and what became of
// later messages is not known.
func (c *Conn) Acknowledged() uint64 { return c.acks.messages() }

// Send queues content, the Candid of one application value, and returns when
// there was room for it; ctx limits the wait. Messages of one goroutine reach
// the canister in order and once. That it was queued does not mean that the
// canister took it: the canister's acknowledgements are watched, and a missing
// one ends the connection with ErrAckTimeout. content may be reused afterwards.
func (c *Conn) Send(ctx context.Context, content []byte) error {
	if err := c.checkSize(content); err != nil {
		return err
	}
	c.planned.Add(1)
	err := c.send(ctx, outgoing{content: bytes.Clone(content)})
	if err != nil {
		c.planned.Add(^uint64(0)) // it has no number
	}
	return err
}

func (c *Conn) send(ctx context.Context, m outgoing) error {
	if err := c.acquire(ctx, c.outboxRoom, 1); err != nil {
		return err
	}
	bytesHeld := weight(m.content, c.opt.SendBytes)
	if err := c.acquire(ctx, c.outboxBytes, bytesHeld); err != nil {
		c.outboxRoom.Release(1)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err // the room is of no use to anybody
	}
	c.outbox <- m // the room that it holds is there
	return nil
}

// Receive returns the content of the next message, in the order in which the
// canister sent them. What had arrived before the connection ended is still
// returned; then comes the *CloseError.
func (c *Conn) Receive(ctx context.Context) ([]byte, error) {
	m, err := c.ReceiveMessage(ctx)
	return m.Content, err
}

// ReceiveMessage is Receive with what is known about the message.
func (c *Conn) ReceiveMessage(ctx context.Context) (Message, error) {
	select {
	case m, more := <-c.inbox:
		if !more {
			return Message{}, c.Err()
		}
		c.inboxBytes.Release(weight(m.Content, c.opt.ReceiveBytes))
		return m, nil
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

// Close sends what Send has queued, then a normal close frame, and waits for
// the gateway's answer and for the goroutines: at most Options.CloseTimeout.
// An error says how many messages that Send had taken were not sent, now or
// when the connection ended. What was sent may still be on its way: only the
// canister's acknowledgements tell, and they end with the connection. Closing
// again only waits, and says the same.
func (c *Conn) Close() error {
	c.end(&CloseError{Code: websocket.CloseNormalClosure, Cause: ErrClosed}, true)
	<-c.done
	if c.unsent > 0 {
		return fmt.Errorf("client: %d queued messages were not sent", c.unsent)
	}
	return nil
}

// end begins the close. Only the first reason counts.
func (c *Conn) end(err *CloseError, drain bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err, c.drain = err, drain
	c.force = time.AfterFunc(c.opt.CloseTimeout, func() { _ = c.ws.Close() })
	c.shut()
}

// broken ends a connection whose socket is of no use any more.
func (c *Conn) broken(cause error) {
	c.end(&CloseError{Code: websocket.CloseAbnormalClosure, Cause: cause}, false)
	_ = c.ws.Close()
}

// violated ends a connection whose other side broke the rules.
func (c *Conn) violated(cause error) {
	c.end(violation(cause), false)
}

// run owns the connection's goroutines: it is the reader, starts the writer,
// and ends after it.
func (c *Conn) run() {
	defer close(c.done)
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.read()
	close(c.gone)
	writer.Wait()
	_ = c.ws.Close()
	c.mu.Lock()
	c.force.Stop() // reading ends only after end
	c.mu.Unlock()
	close(c.inbox)
}

// acquire waits for n bytes of room, until ctx ends or the connection closes.
func (c *Conn) acquire(ctx context.Context, room *semaphore.Weighted, n int64) error {
	if room.TryAcquire(n) {
		return nil
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.open, cancel)()
	if err := room.Acquire(waiting, n); err == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.Err()
}

// weight is what content takes of a queue's bytes. One that is larger than the
// whole queue takes it all.
func weight(content []byte, queue int) int64 { return int64(min(len(content), queue)) }
