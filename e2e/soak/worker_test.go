package soak

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
)

// A worker is one client, which always has a connection, or wants one.
type worker struct {
	world    *world
	identity ic.Identity
	random   *rand.Rand

	session    *session
	socket     *socket
	generation uint64 // of the world, when the session was asked for
}

// A socket can be broken from below.
type socket struct {
	mu   sync.Mutex
	conn *net.TCPConn
}

func (s *socket) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, _ = conn.(*net.TCPConn)
	return conn, nil
}

// reset breaks the connection, and nobody is told but by the operating system.
func (s *socket) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.SetLinger(0)
	_ = s.conn.Close()
}

// run talks until it is enough. The last connection stays open.
func (w *worker) run(ctx context.Context) error {
	for !w.world.enough.Load() {
		if err := w.connect(ctx); err != nil {
			return err
		}
		ended, err := w.talk(ctx)
		if err != nil {
			return err
		}
		if ended {
			if err := w.leave(ctx); err != nil {
				return err
			}
		}
	}
	if w.session == nil || !w.session.isOpen() {
		return w.connect(ctx)
	}
	return nil
}

// connect opens a connection where there is none.
func (w *worker) connect(ctx context.Context) error {
	if w.session != nil && w.session.isOpen() {
		return nil
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if err := w.world.enter.pass(ctx); err != nil {
			return err
		}
		err := w.dial(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errShut) {
			w.world.refused(err)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// errShut says that nobody is to enter now.
var errShut = errors.New("nobody is to enter now")

func (w *worker) dial(ctx context.Context) error {
	generation := w.world.generation.Load() // in this order: see world.empty
	if !w.world.enter.isOpen() {
		return errShut
	}
	gateway, url := w.world.pick(w.random)
	s := newSession(w.identity.Principal(), w.random.Uint64()>>1, gateway)
	s.before = w.world.know()
	w.world.add(s)
	socket := &socket{}
	conn, err := client.Dial(ctx, client.Options{
		URL:         url,
		Canister:    w.world.relay,
		Identity:    w.identity,
		Verifier:    w.world.network.Verifier,
		Nonce:       s.nonce,
		Dialer:      &websocket.Dialer{NetDialContext: socket.dial, HandshakeTimeout: 30 * time.Second},
		OpenTimeout: openTimeout,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.conn, s.open = conn, w.world.know()
	s.mu.Unlock()
	w.session, w.socket, w.generation = s, socket, generation
	go s.receive(w.world)
	return nil
}

// talk sends messages for a while. It reports whether the connection is to be left.
func (w *worker) talk(ctx context.Context) (ended bool, err error) {
	s := w.session
	ahead := 1 + w.random.IntN(8) // how many messages may be under way
	if w.random.IntN(8) == 0 {
		ahead = 40 // more than the gateway passes on at a time
	}
	for range 30 + w.random.IntN(w.world.size.stay) {
		for s.outstanding() >= ahead {
			select {
			case <-s.news:
			case <-s.done:
				return false, nil
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
		if err := w.world.speak.pass(ctx); err != nil {
			return false, err
		}
		if w.world.enough.Load() {
			return false, nil
		}
		if w.world.generation.Load() != w.generation {
			return true, nil
		}
		k := chosen(w.random)
		if s.outstanding() >= ahead-1 && !k.noted() {
			k = &kinds[0] // or nothing would say that there is room again
		}
		to := candid.Principal("")
		if k.method == "send" {
			to = w.friend()
		}
		if err := s.send(ctx, w.world, k, to); err != nil {
			return false, w.sendError(ctx, err)
		}
	}
	return true, nil
}

// sendError passes on what is no end of the connection.
func (w *worker) sendError(ctx context.Context, err error) error {
	var ended *client.CloseError
	if ctx.Err() == nil && errors.As(err, &ended) {
		<-w.session.done
		return nil
	}
	return err
}

// friend is whom a letter goes to.
func (w *worker) friend() candid.Principal {
	return w.world.workers[w.random.IntN(len(w.world.workers))].identity.Principal()
}

// leave ends the connection in one of several ways.
func (w *worker) leave(ctx context.Context) error {
	w.world.churn.RLock()
	defer w.world.churn.RUnlock()
	s, socket := w.session, w.socket
	switch w.random.IntN(4) {
	case 0:
		s.close()
	case 1:
		s.kill(socket)
	case 2: // once everything is answered
		if err := s.send(ctx, w.world, &kinds[0], ""); err != nil {
			return w.sendError(ctx, err)
		}
		for s.outstanding() > 0 {
			select {
			case <-s.news:
			case <-s.done:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.close()
	case 3: // once the next is open, if it opens at once
		_ = w.dial(ctx)
		s.close()
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
