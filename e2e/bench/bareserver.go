package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// headLength is what a bare frame begins with: the sender's number and the
// message's number. The rest is padding.
const headLength = 12

// bareServer answers frames with frames of a size that the client chooses: to
// the sender at /echo, to all at /fanout. It is what a gateway costs at least.
type bareServer struct {
	upgrader websocket.Upgrader

	mu      sync.Mutex
	clients map[*bareSocket]struct{}
}

type bareSocket struct {
	conn *websocket.Conn
	mu   sync.Mutex // one writer at a time
}

func serveBare(ctx context.Context, out io.Writer) error {
	s := &bareServer{
		upgrader: websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 4096, WriteBufferPool: &sync.Pool{}},
		clients:  make(map[*bareSocket]struct{}),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if _, err := fmt.Fprintf(out, "bare ws://%s\n", listener.Addr()); err != nil {
		return err
	}
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

func (s *bareServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Query().Get("size"))
	if err != nil || size < headLength || size > 1<<20 {
		http.Error(w, "size", http.StatusBadRequest)
		return
	}
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	socket := &bareSocket{conn: conn}
	s.mu.Lock()
	s.clients[socket] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.clients, socket)
	}()
	for {
		kind, frame, err := conn.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage || len(frame) < headLength {
			return
		}
		answer := make([]byte, size)
		copy(answer, frame[:headLength])
		if r.URL.Path == "/echo" {
			socket.write(answer)
			continue
		}
		for _, other := range s.all() {
			other.write(answer)
		}
	}
}

func (s *bareServer) all() []*bareSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*bareSocket, 0, len(s.clients))
	for socket := range s.clients {
		all = append(all, socket)
	}
	return all
}

// write needs no error: a client that has gone is seen by its reader.
func (s *bareSocket) write(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.WriteMessage(websocket.BinaryMessage, frame)
}

// bareHead is how a frame begins.
func bareHead(sender uint32, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, sender), number)
}
