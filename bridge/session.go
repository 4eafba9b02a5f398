package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
)

// A session is one client's socket from the handshake to the close:
//
//	awaiting ws_open -> opening -> open -> closing
//
// run reads the socket and owns the session; everything else reaches it
// through end, greeted and deliver.
type session struct {
	gateway *Gateway
	log     atomic.Pointer[slog.Logger]
	conn    *websocket.Conn
	out     outbound
	opening *time.Timer    // ends a session whose canister sends it nothing
	calls   sync.WaitGroup // Message calls under way
	ended   chan struct{}  // closed when run has returned

	// The reader's own, from ws_open on.
	hub        *hub
	key        candid.ClientKey
	window     window
	registered bool // the canister may know the client
}

func newSession(g *Gateway, conn *websocket.Conn) *session {
	s := &session{
		gateway: g,
		conn:    conn,
		ended:   make(chan struct{}),
		out: outbound{
			conn:         conn,
			writeTimeout: g.limits.WriteTimeout,
			maxFrames:    g.limits.QueueMessages,
			maxBytes:     g.limits.QueueBytes,
		},
	}
	s.log.Store(g.log.With("remote", conn.RemoteAddr().String()))
	conn.SetReadLimit(g.limits.MaxFrameBytes)
	conn.SetPongHandler(func(string) error { return s.heard() })
	ping := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		if err := s.heard(); err != nil {
			return err
		}
		return ping(data)
	})
	return s
}

// run reads frames until the socket ends, then lets the canister know.
func (s *session) run(ctx context.Context) {
	limits := s.gateway.limits
	s.out.push(s.gateway.handshake)
	s.out.flush()
	s.out.hold(s.gateway.firstMessageDelay)
	s.opening = time.AfterFunc(limits.OpenTimeout, func() {
		s.end(CloseReason{CloseOpenTimeout, fmt.Sprintf("no message of the canister within %s of the handshake", limits.OpenTimeout)})
	})
	s.out.pingEvery(limits.PingInterval)

	why := s.read(ctx)

	s.opening.Stop()
	_ = s.conn.Close()
	s.gateway.free()
	s.out.stop()
	// What the client sent before it went is still delivered; each call has a deadline.
	s.calls.Wait()
	if s.hub != nil {
		s.hub.leave(ctx, s)
	}
	s.log.Load().Debug("session ended", "why", why)
}

// heard notes a sign of life.
func (s *session) heard() error {
	return s.out.expectReadWithin(s.gateway.limits.IdleTimeout)
}

func (s *session) read(ctx context.Context) (why error) {
	for {
		if err := s.heard(); err != nil {
			return err
		}
		kind, data, err := s.conn.ReadMessage()
		if err != nil {
			s.explainReadError(err)
			return err
		}
		if s.out.closing() {
			continue // only the client's close frame is awaited
		}
		if kind != websocket.BinaryMessage {
			s.end(CloseReason{CloseUnsupportedData, "this gateway speaks the IC WebSocket protocol: binary frames only"})
			continue
		}
		if reason := s.frame(ctx, data); reason != nil {
			s.end(*reason)
		}
	}
}

// explainReadError tells a client that is still there why it is cut off.
func (s *session) explainReadError(err error) {
	var closed *websocket.CloseError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &closed):
		// gorilla answered the close frame.
	case errors.Is(err, websocket.ErrReadLimit):
		// gorilla sent a close frame with 1009; it counts as ours.
		s.gateway.count.refused(CloseFrameTooLarge)
		s.discard()
	case errors.As(err, &timeout) && timeout.Timeout() && !s.out.closing():
		s.end(CloseReason{CloseIdle, fmt.Sprintf("nothing heard for %s, not even a pong", s.gateway.limits.IdleTimeout)})
		s.out.flush()
	}
}

// discard reads what is left of a frame that is not wanted, for a while: a
// socket that is closed with unread bytes is reset, and the client would never
// see the close frame.
func (s *session) discard() {
	conn := s.conn.NetConn()
	end := time.Now().Add(closeLinger)
	buffer := make([]byte, 16<<10)
	for time.Now().Before(end) {
		if err := conn.SetReadDeadline(time.Now().Add(discardPause)); err != nil {
			return
		}
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}

// discardPause without a byte means that the client has stopped sending.
const discardPause = 300 * time.Millisecond

// frame handles one binary frame. A reason ends the session.
func (s *session) frame(ctx context.Context, data []byte) *CloseReason {
	env, raw, reason := readEnvelope(data, s.gateway.verifier, s.gateway.now())
	if reason != nil {
		return reason
	}
	if s.hub == nil {
		return s.open(ctx, env, raw)
	}
	return s.message(ctx, env, raw)
}

// open takes the first frame: it must be a ws_open for a routed canister.
func (s *session) open(ctx context.Context, env *candid.Envelope, raw []byte) *CloseReason {
	if env.Method != methodOpen {
		return &CloseReason{CloseNotAllowed, fmt.Sprintf("the first envelope must call %s, not %q", methodOpen, env.Method)}
	}
	route := s.gateway.routes.find(env.Canister)
	if route == nil {
		return &CloseReason{CloseNotRouted, fmt.Sprintf("this gateway has no route to canister %s", env.Canister)}
	}
	nonce, gateway, err := candid.DecodeOpenArgs(env.Arg)
	if err != nil {
		return &CloseReason{CloseMalformed, fmt.Sprintf("the argument of %s: %v", methodOpen, err)}
	}
	if gateway != s.gateway.principal {
		return &CloseReason{CloseNotAllowed, fmt.Sprintf("%s names gateway %s, this is %s", methodOpen, gateway, s.gateway.principal)}
	}
	key := candid.ClientKey{Principal: env.Sender, Nonce: nonce}
	s.log.Store(s.log.Load().With("canister", env.Canister.String(), "client", key.String()))
	hub, entered := s.gateway.enter(env.Canister, route, key, s)
	if !entered {
		return &CloseReason{CloseDuplicate, "a connection with this client key is open already; a new connection needs a new client_nonce"}
	}

	// From here on run's end makes the hub forget the session.
	s.key, s.hub, s.window = key, hub, newWindow(route.Adapter)

	ctx, cancel := context.WithTimeout(ctx, s.gateway.limits.CallTimeout)
	defer cancel()
	s.registered = true
	if err := route.Adapter.Open(ctx, forAdapter(env, raw, key)); err != nil {
		_, refused := RefusalText(err)
		s.registered = !refused
		return s.failed(methodOpen, CloseRefused, err)
	}
	hub.opened(s)
	s.log.Load().Info("client open")
	return nil
}

// greeted notes the canister's first message: only that makes a connection
// open for the client, and only its absence is a reason to end it.
func (s *session) greeted() { s.opening.Stop() }

// message takes every later frame. It returns when the envelope has a place
// in the window: until then the socket is not read, which is all the queueing
// that a client gets.
func (s *session) message(ctx context.Context, env *candid.Envelope, raw []byte) *CloseReason {
	switch {
	case env.Method != methodMessage:
		return &CloseReason{CloseNotAllowed, fmt.Sprintf("an open connection may call %s, not %q", methodMessage, env.Method)}
	case env.Canister != s.hub.canister:
		return &CloseReason{CloseNotAllowed, fmt.Sprintf("this connection is with canister %s, the envelope is for %s", s.hub.canister, env.Canister)}
	case env.Sender != s.key.Principal:
		return &CloseReason{CloseNotAllowed, fmt.Sprintf("this connection is of %s, the envelope is signed by %s", s.key.Principal, env.Sender)}
	}
	finish, err := s.window.enter(ctx, len(raw))
	if err != nil {
		return &CloseReason{CloseGoingAway, "the gateway stops"}
	}
	if s.out.closing() {
		finish()
		return nil
	}
	s.calls.Go(func() {
		defer finish()
		ctx, cancel := context.WithTimeout(ctx, s.gateway.limits.CallTimeout)
		defer cancel()
		if err := s.hub.route.Adapter.Message(ctx, forAdapter(env, raw, s.key)); err != nil {
			s.end(*s.failed(methodMessage, CloseMessageRefused, err))
			s.hub.doubt()
			return
		}
		s.gateway.count.messagesIn.Add(1)
		s.hub.wake()
	})
	return nil
}

// failed says in one sentence why a call to the canister brought nothing.
func (s *session) failed(method string, refusal int, err error) *CloseReason {
	if text, refused := RefusalText(err); refused {
		s.log.Load().Info("canister refused", "method", method, "text", text)
		return &CloseReason{refusal, text}
	}
	if s.gateway.stopping() {
		return &CloseReason{CloseGoingAway, "the gateway stops"}
	}
	s.log.Load().Warn("canister not reached", "method", method, "error", err)
	return &CloseReason{CloseTryAgainLater, fmt.Sprintf("%s did not reach the canister, try again later", method)}
}

// deliver queues a certified message for the client.
func (s *session) deliver(frame []byte) {
	if !s.out.push(frame) {
		s.finish(CloseReason{CloseTryAgainLater, "messages come faster than this client reads them"}, true)
	}
}

// end closes the session with a reason, after what is already queued for the
// client if it reads that soon. Only the first reason counts.
func (s *session) end(reason CloseReason) { s.finish(reason, false) }

func (s *session) finish(reason CloseReason, dropWaiting bool) {
	if s.out.close(reason, dropWaiting) {
		s.gateway.count.refused(reason.Code)
		s.log.Load().Info("closing session", "code", reason.Code, "reason", reason.Text)
	}
}
