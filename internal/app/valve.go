package app

import (
	"context"
	"io"
	"net"
	"sync"
)

// A valve is a way to a server that can be cut, and opened again.
type valve struct {
	listener net.Listener
	server   string // its address

	mu     sync.Mutex
	open   bool
	conns  map[net.Conn]struct{}
	served sync.WaitGroup
}

// newValve opens a way to a server.
func newValve(server string) (*valve, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &valve{listener: listener, server: server, open: true, conns: make(map[net.Conn]struct{})}
	v.served.Go(v.serve)
	return v, nil
}

func (v *valve) address() string { return v.listener.Addr().String() }

// set opens the way or cuts it: connections that there are break.
func (v *valve) set(open bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = open
	if !open {
		for conn := range v.conns {
			_ = conn.Close()
		}
	}
}

func (v *valve) close() {
	_ = v.listener.Close()
	v.set(false)
	v.served.Wait()
}

func (v *valve) serve() {
	for {
		conn, err := v.listener.Accept()
		if err != nil {
			return
		}
		v.served.Go(func() { v.pass(conn) })
	}
}

func (v *valve) pass(client net.Conn) {
	defer v.drop(client)
	if !v.take(client) {
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", v.server)
	if err != nil {
		return
	}
	defer v.drop(server)
	if !v.take(server) {
		return
	}
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(server, client)
		v.drop(server)
	})
	_, _ = io.Copy(client, server)
	v.drop(client)
	copying.Wait()
}

// take notes a connection, unless the way is cut.
func (v *valve) take(conn net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open {
		v.conns[conn] = struct{}{}
	}
	return v.open
}

func (v *valve) drop(conn net.Conn) {
	_ = conn.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, conn)
}
