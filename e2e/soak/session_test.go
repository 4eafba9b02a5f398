package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
)

// An ending says how a connection ended.
type ending int

const (
	notEnded ending = iota
	closed          // by the client, after everything it had sent
	killed          // the socket was broken
	lost            // nobody here wanted it
)

func (e ending) String() string { return [...]string{"open", "closed", "killed", "lost"}[e] }

// A session is one connection and everything that happened on it.
type session struct {
	client  candid.Principal
	nonce   uint64
	gateway string

	// What was known before the connection was asked for, and when it was open.
	before, open knowledge

	sending sync.Mutex // so that messages leave in the order of their numbers

	mu       sync.Mutex
	sent     []sentMessage     // number i+1 at i
	noted    map[uint64]int    // how often each number was answered
	failed   map[uint64]int    // how often each number was named in a failure
	nameless []string          // failures that name no message
	shouted  map[note]int      // how often each was heard
	streams  map[string][]item // in the order in which they came
	problems []string          // what cannot be right, whatever else happened
	answered uint64            // the highest number that the target has certainly been given
	news     chan struct{}     // holds one token: answered or nameless has changed

	conn         *client.Conn // nil until it is open
	done         chan struct{}
	how          ending
	endedAt      time.Time
	closeErr     error // of Close, or of the connection where it was lost
	acknowledged uint64

	stayed  bool // it was open when everybody had finished: nothing may be missing
	excused bool // it ended when something else was broken, so that messages may not have arrived
}

type sentMessage struct {
	kind *kind
	to   candid.Principal
	at   uint64 // by the world's clock
}

// An item of a stream, as it was received.
type item struct {
	index uint64
	cause note
}

// knowledge is what the test knew at a moment.
type knowledge struct {
	at    uint64            // by the world's clock
	known map[string]uint64 // of each stream, how many items somebody has received
	most  map[string]uint64 // of each stream, how many items there are at most
}

func newSession(who candid.Principal, nonce uint64, gateway string) *session {
	return &session{
		client:  who,
		nonce:   nonce,
		gateway: gateway,
		noted:   make(map[uint64]int),
		failed:  make(map[uint64]int),
		shouted: make(map[note]int),
		streams: make(map[string][]item),
		news:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
}

func (s *session) String() string {
	return fmt.Sprintf("connection %d of %s through gateway %s", s.nonce, s.client, s.gateway)
}

// send sends the next message and notes it, whatever becomes of it.
func (s *session) send(ctx context.Context, w *world, k *kind, to candid.Principal) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	n := note{s.nonce, uint64(len(s.sent) + 1)}
	s.sent = append(s.sent, sentMessage{kind: k, to: to, at: w.tick()})
	s.mu.Unlock()
	w.willSend(k)
	content, err := k.encode(n, to)
	if err != nil {
		return err
	}
	err = s.conn.Send(ctx, content)
	if err != nil {
		s.mu.Lock()
		s.sent = s.sent[:len(s.sent)-1] // Send took nothing
		s.mu.Unlock()
	}
	return err
}

// outstanding is how many messages may not have reached the target yet.
func (s *session) outstanding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent) - int(s.confirmed()) - len(s.nameless) //nolint:gosec // small
}

func (s *session) sentCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}

// confirmed is the number up to which everything has been given to the
// target, or has failed: one message's answer stands for those before it. It
// needs mu.
func (s *session) confirmed() uint64 { return max(s.answered, s.acknowledged) }

// receive takes what comes until the connection ends.
func (s *session) receive(w *world) {
	defer close(s.done)
	for {
		m, err := s.conn.ReceiveMessage(context.Background())
		if err != nil {
			s.mu.Lock()
			s.acknowledged = s.conn.Acknowledged()
			s.endedAt = time.Now()
			if s.how == notEnded {
				s.how, s.closeErr = lost, err
			}
			s.mu.Unlock()
			return
		}
		s.take(w, m)
	}
}

func (s *session) take(w *world, m client.Message) {
	h, err := decode(m.Content)
	s.mu.Lock()
	before := s.confirmed()
	s.acknowledged = s.conn.Acknowledged()
	switch {
	case err != nil:
		s.problem("message %d: %v", m.Sequence, err)
	case h.tag == heardNoted:
		s.own(h)
		s.noted[h.note.number]++
	case h.tag == heardFailed && h.note == note{}:
		s.nameless = append(s.nameless, h.text)
	case h.tag == heardFailed:
		s.own(h)
		s.failed[h.note.number]++
	case h.tag == heardShouted:
		s.shouted[h.note]++
	default:
		s.streams[h.stream] = append(s.streams[h.stream], item{h.index, h.note})
	}
	gained := s.confirmed() - before
	s.mu.Unlock()
	w.gained(h, gained)
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// own takes an answer, which must be to a message of this connection. It needs mu.
func (s *session) own(h heard) {
	if h.note.connection != s.nonce || h.note.number == 0 || h.note.number > uint64(len(s.sent)) {
		s.problem("%s for %s, %d were sent", h.tag, h.note, len(s.sent))
		return
	}
	s.answered = max(s.answered, h.note.number)
}

func (s *session) problem(format string, args ...any) {
	if len(s.problems) < 10 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
}

// isOpen reports whether the connection is open, as far as the client knows.
func (s *session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.how == notEnded && s.conn != nil
}

// close ends the connection as a program does, after everything that was sent.
func (s *session) close() {
	s.end(closed)
	err := s.conn.Close()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.how == closed {
		s.closeErr = err
		if err == nil && !errors.Is(s.conn.Err(), client.ErrClosed) {
			s.closeErr = s.conn.Err() // it had ended before
		}
	}
}

// kill breaks the socket.
func (s *session) kill(socket *socket) {
	s.end(killed)
	socket.reset()
	<-s.done
	_ = s.conn.Close() // nothing is left to close, and unsent messages are no news
}

func (s *session) end(how ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.how == notEnded {
		s.how = how
	}
}
