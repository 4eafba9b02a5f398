package soak

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A proxy passes TCP connections on, until it breaks them.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	broken bool // new connections are refused
	conns  map[net.Conn]struct{}
}

// startProxy passes connections on to target until the test ends.
func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, conns: make(map[net.Conn]struct{})}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.interrupt(true)
		p.running.Wait()
	})
	return p
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

// interrupt breaks every connection, and those to come if the proxy is to stay broken.
func (p *proxy) interrupt(stay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = stay
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.pass(conn) })
	}
}

func (p *proxy) pass(conn net.Conn) {
	if !p.add(conn) {
		return
	}
	defer p.remove(conn)
	far, err := net.Dial("tcp", p.target)
	if err != nil || !p.add(far) {
		return
	}
	defer p.remove(far)
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() {
		_, _ = io.Copy(conn, far)
		_ = conn.Close()
	})
	_, _ = io.Copy(far, conn)
	_ = far.Close()
}

func (p *proxy) add(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		_ = conn.Close()
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *proxy) remove(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}
