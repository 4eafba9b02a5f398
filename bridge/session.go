package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
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
	place   *place
	frames  *rate.Limiter // what the client may send, pings and signatures of delegations included
	state   progress
	out     outbound
	began   time.Time                  // when the handshake was sent
	patient atomic.Pointer[time.Timer] // ends a session whose client sends nothing, and then one whose canister sends it nothing; nil when it is not needed any more
	calls   sync.WaitGroup             // Message calls under way
	ended   chan struct{}              // closed when run has returned

	// The reader's own; but for the first, from ws_open on.
	maxFrame   int64 // bytes
	hub        *hub
	key        candid.ClientKey
	window     window
	registered bool // the canister may know the client
	departed   bool // the client has closed the socket, and will not go on from here
}

func newSession(g *Gateway, conn *websocket.Conn, place *place, from caller) *session {
	s := &session{
		gateway: g,
		conn:    conn,
		place:   place,
		frames:  rate.NewLimiter(rate.Limit(g.limits.FrameRate), g.limits.FrameBurst),
		state:   progress{count: &g.count.sessions},
		ended:   make(chan struct{}),

		maxFrame: min(maxOpenBytes, g.limits.MaxFrameBytes),
		out: outbound{
			conn:         conn,
			writeTimeout: g.limits.WriteTimeout,
			maxFrames:    g.limits.QueueMessages,
			maxBytes:     g.limits.QueueBytes,
		},
	}
	s.log.Store(g.log.With("remote", from.String()))
	s.out.stalled = s.stalled
	if socket, ok := transport(conn).(*socket); ok {
		s.out.socket = socket
		socket.hurry()
	}
	// gorilla's own answers would be written beside those that out writes.
	conn.SetPongHandler(func(string) error { return s.control() })
	conn.SetPingHandler(func(data string) error {
		if err := s.control(); err != nil {
			return err
		}
		s.out.answerPing(data)
		return nil
	})
	conn.SetCloseHandler(func(code int, _ string) error {
		s.departed = s.out.close(CloseReason{Code: code}, true, func() {}) && isFarewell(code)
		return nil
	})
	return s
}

// maxOpenBytes is how large a frame may be before the connection is open. A
// ws_open needs a fraction of it, even with delegations of Internet Identity;
// without this bound, everybody who connects could fill max_frame_bytes of memory.
const maxOpenBytes = 128 << 10

// run reads frames until the socket ends, then lets the canister know. The
// handshake is on its way.
func (s *session) run(ctx context.Context) {
	s.out.flush()
	s.out.hold(s.gateway.firstMessageDelay)
	s.began = time.Now()
	s.awaitFrame()
	s.out.pingEvery(s.gateway.limits.PingInterval)

	why := s.read(s.gateway.calls)

	s.wait(nil)
	_ = s.conn.Close()
	s.place.leave()
	s.state.to(stateClosing)
	s.out.stop()
	// What the client sent before it went is still delivered; each call has a deadline.
	s.calls.Wait()
	if s.hub != nil {
		s.hub.leave(ctx, s)
	}
	s.state.to(states)
	s.log.Load().Debug("session ended", "why", why)
}

// heard notes a sign of life.
func (s *session) heard() error {
	return s.out.expectReadWithin(s.gateway.limits.IdleTimeout)
}

// control notes a ping or pong.
func (s *session) control() error {
	if !s.frames.Allow() {
		return errTooManyFrames
	}
	return s.heard()
}

func (s *session) read(ctx context.Context) (why error) {
	for {
		if err := s.heard(); err != nil {
			return err
		}
		kind, data, err := s.readFrame()
		if err != nil {
			s.explainReadError(err)
			return err
		}
		if s.out.closing() {
			continue // only the client's close frame is awaited
		}
		handle := s.frame
		if s.hub == nil {
			handle = s.elsewhere
		}
		if refused := handle(ctx, kind, data); refused != nil {
			s.refuse(refused)
		}
	}
}

// readFrame returns the next text or binary frame.
func (s *session) readFrame() (kind int, data []byte, err error) {
	kind, r, err := s.conn.NextReader()
	if err != nil {
		return kind, nil, err
	}
	data, err = io.ReadAll(io.LimitReader(&progressReader{r: r, heard: s.heard}, s.maxFrame+1))
	if err == nil && int64(len(data)) > s.maxFrame {
		err = errFrameTooLarge
	}
	return kind, data, err
}

// A progressReader takes each signOfLife bytes of a frame for a sign of life: a
// large frame may take longer than a client may be silent.
type progressReader struct {
	r     io.Reader
	heard func() error
	bytes int // since the last sign of life
}

const signOfLife = 16 << 10

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.bytes += n; p.bytes >= signOfLife && err == nil {
		p.bytes = 0
		err = p.heard()
	}
	return n, err
}

// explainReadError tells a client that is still there why it is cut off.
func (s *session) explainReadError(err error) {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		defer time.AfterFunc(closeLinger, func() { sever(s.conn) }).Stop()
		s.out.flush() // the answer
	case errors.Is(err, errFrameTooLarge):
		s.cutOff(refuse(causeFrameSize, CloseFrameTooLarge, "a frame of this connection may have %d bytes at most", s.maxFrame))
	case errors.Is(err, errTooManyFrames):
		s.cutOff(s.tooManyFrames())
	case errors.Is(err, errTooManyBytes):
		s.cutOff(s.tooManyBytes())
	case isTimeout(err) && !s.out.closing():
		// What waits is dropped: a client that takes it up byte by byte, and says
		// nothing, could hold its place for hours.
		r := refuse(causeIdle, CloseIdle, "nothing heard for %s, not even a pong", s.gateway.limits.IdleTimeout)
		s.finish(r.CloseReason, true, r.cause)
		s.out.flush()
	}
}

// isFarewell reports whether a client closes with this code because it is done:
// a program that closes its socket, with or without saying why, or a page that
// is left. All others went wrong, or answer a close of the gateway's.
func isFarewell(code int) bool {
	switch code {
	case websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived:
		return true
	}
	return false
}

func (s *session) tooManyFrames() *refusal {
	l := s.gateway.limits
	return refuse(causeFrameRate, CloseTryAgainLater, "more than %d frames a second; come back in %s", l.FrameRate, comeBack(l.FrameRate, l.FrameBurst))
}

func (s *session) tooManyBytes() *refusal {
	l := s.gateway.limits
	return refuse(causeByteRate, CloseTryAgainLater, "more than %d bytes a second; come back in %s", l.ByteRate, comeBack(l.ByteRate, l.ByteBurst))
}

// discard reads what is left of a frame that is not wanted, for a while: a
// socket that is closed with unread bytes is reset, and the client would never
// see the close frame.
func (s *session) discard() {
	conn := s.conn.NetConn()
	if metered, ok := conn.(*meteredConn); ok {
		conn = metered.Conn
	}
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

// frame handles one frame. A refusal ends the session.
func (s *session) frame(ctx context.Context, kind int, data []byte) *refusal {
	if s.hub == nil {
		s.awaitGreeting()
	}
	if !s.frames.Allow() {
		return s.tooManyFrames()
	}
	if kind != websocket.BinaryMessage {
		return refuse(causeTextFrame, CloseUnsupportedData, "this gateway speaks the IC WebSocket protocol: binary frames only")
	}
	env, raw, refused := readEnvelope(data)
	if refused != nil {
		return refused
	}
	if s.hub == nil {
		return s.open(ctx, env, raw)
	}
	return s.message(ctx, env, raw)
}

// awaitFrame ends the session of a client that sends nothing.
func (s *session) awaitFrame() {
	limit := s.gateway.limits.FirstFrameTimeout
	if limit >= s.gateway.limits.OpenTimeout {
		s.awaitGreeting() // which ends sooner
		return
	}
	s.wait(time.AfterFunc(limit, func() {
		s.refuse(refuse(causeFirstFrameTimeout, CloseOpenTimeout, "no %s within %s of the handshake", methodOpen, limit))
	}))
}

// awaitGreeting takes the client's first frame for a sign of life: from now on
// it is the canister that has to say something.
func (s *session) awaitGreeting() {
	limit := s.gateway.limits.OpenTimeout
	s.wait(time.AfterFunc(limit-time.Since(s.began), func() {
		s.refuse(refuse(causeOpenTimeout, CloseOpenTimeout, "no message of the canister within %s of the handshake", limit))
	}))
}

// wait replaces the timer of what is waited for; nil is for nothing.
func (s *session) wait(timer *time.Timer) {
	if last := s.patient.Swap(timer); last != nil {
		last.Stop()
	}
}

// elsewhere has a worker handle a frame, and waits for it. The
// check of a signature and a call need four times the stack that waiting for
// frames does, and a stack that has grown stays so for minutes: for thousands of
// clients that only wait after their first frame, that is most of their memory.
func (s *session) elsewhere(ctx context.Context, kind int, data []byte) (refused *refusal) {
	done := make(chan struct{})
	s.gateway.workers.run(func() {
		defer close(done)
		refused = s.frame(ctx, kind, data)
	})
	<-done
	return refused
}

// check makes the checks that cost something, and returns the request id. Each delegation has a signature
// of its own to verify, so it counts as a frame.
func (s *session) check(env *candid.Envelope) (requestID [32]byte, refused *refusal) {
	if n := len(env.Delegations); n > 0 && !s.frames.AllowN(time.Now(), n) {
		return requestID, s.tooManyFrames()
	}
	requestID = env.RequestID()
	return requestID, checkEnvelope(env, requestID, s.gateway.verifier, s.gateway.now())
}

// open takes the first frame: it must be a ws_open for a routed canister.
func (s *session) open(ctx context.Context, env *candid.Envelope, raw []byte) *refusal {
	if env.Method != methodOpen {
		return refuse(causeMethod, CloseNotAllowed, "the first envelope must call %s, not %q", methodOpen, env.Method)
	}
	if _, refused := s.gateway.routes.Load().find(env.Canister); refused != nil {
		return refused
	}
	requestID, refused := s.check(env)
	if refused != nil {
		return refused
	}
	nonce, gateway, err := candid.DecodeOpenArgs(env.Arg)
	if err != nil {
		return refuse(causeMalformed, CloseMalformed, "the argument of %s: %v", methodOpen, err)
	}
	if gateway != s.gateway.principal {
		return refuse(causeGateway, CloseNotAllowed, "%s names gateway %s, this is %s", methodOpen, gateway, s.gateway.principal)
	}
	key := candid.ClientKey{Principal: env.Sender, Nonce: nonce}
	envelope := forAdapter(env, requestID, raw, key)
	if !s.gateway.opens.first(envelope.RequestID, envelope.Expiry, s.gateway.now()) {
		return refuse(causeReplay, CloseNotAllowed, "this %s was used before; sign a new one", methodOpen)
	}
	s.log.Store(s.log.Load().With("canister", env.Canister.String(), "client", key.String()))
	hub, refused := s.gateway.enter(env.Canister, key, s)
	if refused != nil {
		return refused
	}

	// From here on run's end makes the hub forget the session.
	s.key, s.hub, s.window = key, hub, newWindow(hub.route.Load().Adapter)

	ctx, cancel := context.WithTimeout(ctx, s.gateway.limits.CallTimeout)
	defer cancel()
	s.registered = true
	s.state.to(stateOpening)
	if err := s.forwardOpen(ctx, envelope); err != nil {
		_, refused := RefusalText(err)
		s.registered = !refused
		return s.failed(methodOpen, causeOpenRefused, CloseRefused, err)
	}
	s.maxFrame = s.gateway.limits.MaxFrameBytes
	s.state.to(stateOpen)
	hub.opened(s)
	s.log.Load().Info("client open")
	return nil
}

// forwardOpen gives the canister its ws_open, and counts what becomes of it.
func (s *session) forwardOpen(ctx context.Context, env Envelope) error {
	route := s.hub.route.Load()
	defer took(route.times.open, time.Now())
	err := route.Adapter.Open(ctx, env)
	outcome := openAccepted
	if _, refused := RefusalText(err); refused {
		outcome = openRefused
	} else if err != nil {
		outcome = openUnreachable
	}
	s.gateway.count.opens[outcome].Add(1)
	return err
}

// greeted notes the canister's first message: only that makes a connection
// open for the client, and only its absence is a reason to end it.
func (s *session) greeted() { s.wait(nil) }

// message takes every later frame. It returns when the envelope has a place
// in the window: until then the socket is not read, which is all the queueing
// that a client gets.
func (s *session) message(ctx context.Context, env *candid.Envelope, raw []byte) *refusal {
	switch {
	case env.Method != methodMessage:
		return refuse(causeMethod, CloseNotAllowed, "an open connection may call %s, not %q", methodMessage, env.Method)
	case env.Canister != s.hub.canister:
		return refuse(causeCanister, CloseNotAllowed, "this connection is with canister %s, the envelope is for %s", s.hub.canister, env.Canister)
	case env.Sender != s.key.Principal:
		return refuse(causeSender, CloseNotAllowed, "this connection is of %s, the envelope is signed by %s", s.key.Principal, env.Sender)
	}
	requestID, refused := s.check(env)
	if refused != nil {
		return refused
	}
	finish, err := s.window.enter(ctx, len(raw))
	if err != nil {
		return refuse(causeStopping, CloseGoingAway, "the gateway stops")
	}
	if s.out.closing() {
		finish()
		return nil
	}
	s.calls.Add(1)
	s.gateway.workers.run(func() {
		defer s.calls.Done()
		defer finish()
		ctx, cancel := context.WithTimeout(ctx, s.gateway.limits.CallTimeout)
		defer cancel()
		start := time.Now()
		route := s.hub.route.Load()
		var told atomic.Bool
		err := route.Adapter.Message(ic.WithAnswered(ctx, func() {
			told.Store(true)
			s.hub.wake()
		}), forAdapter(env, requestID, raw, s.key))
		took(route.times.message, start)
		if err != nil {
			s.hub.endLost(err)
			s.refuse(s.failed(methodMessage, causeMessageRefused, CloseMessageRefused, err))
			s.hub.doubt()
			return
		}
		s.gateway.count.messagesIn.Add(1)
		if told.Load() {
			s.hub.verified()
		} else {
			s.hub.answered()
		}
	})
	return nil
}

// failed says in one sentence why a call to the canister brought nothing.
func (s *session) failed(method string, cause cause, code int, err error) *refusal {
	if text, refused := RefusalText(err); refused {
		s.log.Load().Info("canister refused", "method", method, "text", text)
		return &refusal{CloseReason{code, firstLine(text)}, cause}
	}
	if s.gateway.stopping() {
		return refuse(causeStopping, CloseGoingAway, "the gateway stops")
	}
	s.log.Load().Warn("canister not reached", "method", method, "error", err)
	if text, unavailable := unavailableText(err); unavailable {
		return &refusal{CloseReason{CloseTryAgainLater, firstLine(text)}, causeUnreachable}
	}
	if text, lost := lostText(err); lost {
		return &refusal{CloseReason{CloseTryAgainLater, firstLine(text)}, causeUnreachable}
	}
	return refuse(causeUnreachable, CloseTryAgainLater, "%s did not reach the canister, try again later", method)
}

// deliver queues a certified message for the client.
func (s *session) deliver(f *frame) {
	if !s.out.push(f) {
		s.giveUp("messages come faster than this client reads them")
	}
}

// stalled is for a frame that did not leave in time. The client will not see
// the reason, because nothing can follow half a frame.
func (s *session) stalled() {
	s.giveUp("this client has read nothing for " + s.gateway.limits.WriteTimeout.String())
}

// giveUp ends the session of a client that does not read, and what waits for
// it is dropped, the frame that it failed at included.
func (s *session) giveUp(why string) {
	dropped := s.out.waiting() + 1
	if s.finish(CloseReason{CloseTryAgainLater, why}, true, causeSlowReader) {
		s.gateway.count.queueDrops.Add(uint64(dropped)) //nolint:gosec // not negative
	}
}

// end closes the session with a reason, after what is already queued for the
// client if it reads that soon. Only the first reason counts.
func (s *session) end(reason CloseReason) { s.finish(reason, false) }

// refuse is end for something that the client has done, or that was refused to it.
func (s *session) refuse(r *refusal) { s.finish(r.CloseReason, false, r.cause) }

// cutOff is refuse for a client whose socket is not read any more. What was
// queued for it is dropped: it has to make do with the reason.
func (s *session) cutOff(r *refusal) {
	s.finish(r.CloseReason, true, r.cause)
	s.out.flush()
	s.discard()
}

// finish reports whether this was the first reason. It counts, before the client
// can see the close, also what the client is refused for.
func (s *session) finish(reason CloseReason, dropWaiting bool, refusedFor ...cause) bool {
	if !s.out.close(reason, dropWaiting, func() {
		s.gateway.count.closed(reason.Code)
		for _, cause := range refusedFor {
			s.gateway.count.refuse(cause)
		}
	}) {
		return false
	}
	s.state.to(stateClosing)
	s.log.Load().Info("closing session", "code", reason.Code, "reason", reason.Text)
	return true
}
