package bridge

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// A socket is a client's TCP connection. Once it is eager no write waits: what
// the network does not take at once is kept until flush, which waits, has sent
// it. So whoever has something for many clients can write to one after the other.
type socket struct {
	net.Conn
	raw syscall.RawConn

	mu    sync.Mutex // one write at a time
	eager bool
	rest  []byte // what is kept
	room  int    // how much may be kept
	try   attempt
}

// overhead is what may be kept beside a frame: headers, control frames, and what
// TLS says by itself.
const overhead = 4 << 10

// errBehind ends a connection whose other side makes TLS say more than it reads.
var errBehind = errors.New("this side has more to say than the other reads")

// An attempt is a write that takes what there is room for. It is made again and
// again, so that nothing has to be allocated for it.
type attempt struct {
	run  func(fd uintptr) bool // for RawConn.Write
	data []byte
	n    int
	err  error
}

// newSocket returns conn itself if it is one already, or where there is no way
// around its waiting.
func newSocket(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: tcp, raw: raw}
	s.try.run = func(fd uintptr) bool {
		s.try.n, s.try.err = writeNow(fd, s.try.data)
		return true // whatever came of it
	}
	return s
}

// Write is that of the connection until it is eager.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	if !s.eager {
		s.mu.Unlock()
		return s.Conn.Write(p)
	}
	defer s.mu.Unlock()
	n := 0
	if len(s.rest) == 0 {
		var err error
		if n, err = s.attempt(p); err != nil {
			return n, err
		}
	}
	if len(s.rest)+len(p)-n > s.room {
		return n, errBehind
	}
	s.rest = append(s.rest, p[n:]...)
	return len(p), nil
}

// expect makes room for a frame, when nothing is kept.
func (s *socket) expect(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = bytes + bytes/16 + overhead // records of TLS have their own headers
}

// CloseWrite lets net/http end an answer before it closes the connection.
func (s *socket) CloseWrite() error {
	if tcp, ok := s.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// attempt must be called with mu held.
func (s *socket) attempt(p []byte) (int, error) {
	s.try.data, s.try.n, s.try.err = p, 0, nil
	err := s.raw.Write(s.try.run)
	s.try.data = nil
	if err == nil {
		err = s.try.err
	}
	return s.try.n, err
}

// SetWriteDeadline is for writes that wait.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.eager {
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
}

// SetDeadline is for reads, and for writes that wait.
func (s *socket) SetDeadline(t time.Time) error {
	if err := s.SetWriteDeadline(t); err != nil {
		return err
	}
	return s.SetReadDeadline(t)
}

// hurry makes the socket eager.
func (s *socket) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eager, s.room = true, overhead
	_ = s.Conn.SetWriteDeadline(time.Time{})
}

// behind reports whether something is kept.
func (s *socket) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rest) > 0
}

// flush sends what is kept. Only one goroutine may call it at a time.
func (s *socket) flush(deadline time.Time) error {
	if !s.behind() {
		return nil
	}
	if err := s.Conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	for s.behind() {
		s.mu.Lock()
		rest := s.rest
		s.mu.Unlock()
		n, err := s.Conn.Write(rest) // nobody else writes while something is kept
		s.mu.Lock()
		if s.rest = s.rest[n:]; len(s.rest) == 0 {
			s.rest = nil
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return s.Conn.SetWriteDeadline(time.Time{})
}

// transport is the TCP connection under a client's WebSocket, TLS and meter.
func transport(ws *websocket.Conn) net.Conn {
	conn := ws.NetConn()
	if metered, ok := conn.(*meteredConn); ok {
		conn = metered.Conn
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return conn
}

// Listener returns a listener for Server whose clients can be written to without
// waiting, with TLS above it as well. Without it only those without TLS can.
func Listener(listener net.Listener) net.Listener { return eagerListener{listener} }

type eagerListener struct{ net.Listener }

func (l eagerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newSocket(conn), nil
}
