package bridge

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server returns an HTTP server for the gateway whose timeouts and limits keep
// connections in check that are no WebSockets (yet). Whoever serves it may add
// to ConnState, but not replace it.
func (g *Gateway) Server() *http.Server {
	return &http.Server{
		Handler:           g.visitors.handler(g),
		ReadHeaderTimeout: g.limits.HeaderTimeout,
		ReadTimeout:       g.limits.HeaderTimeout, // nothing here takes a request with a body
		WriteTimeout:      time.Minute,            // for a page to a client on a slow line
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    g.limits.MaxHeaderBytes,
		ConnState:         g.visitors.track,
		ConnContext:       g.visitors.meet,
	}
}

// visitors are the connections that are no WebSockets (yet): somebody's
// browser that keeps one for later, or somebody who opens many and sends
// little. An address has only so many. When there are too many in all, the one
// that has rested longest makes way, so that newcomers are served, whoever
// holds the others.
type visitors struct {
	proxies    proxies
	total      int
	perAddress int
	count      *counters

	mu        sync.Mutex
	conns     map[net.Conn]*visitor
	resting   list.List // of *visitor: the one that has changed last stands last
	addresses map[netip.Prefix]int
}

type visitor struct {
	conn    net.Conn
	address caller
	served  *atomic.Bool // a request of it has reached the gateway
	element *list.Element
	dropped bool
}

func newVisitors(l Limits, p proxies, count *counters) *visitors {
	return &visitors{
		proxies:    p,
		total:      l.MaxHTTPConnections,
		perAddress: l.MaxHTTPConnectionsPerAddress,
		count:      count,
		conns:      make(map[net.Conn]*visitor),
		addresses:  make(map[netip.Prefix]int),
	}
}

// servedKey is a context key: whether a request has come on this connection.
type servedKey struct{}

// meet is the server's ConnContext hook, which comes before track.
func (v *visitors) meet(ctx context.Context, conn net.Conn) context.Context {
	served := new(atomic.Bool)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conns[conn] = &visitor{conn: conn, address: v.caller(conn), served: served}
	return context.WithValue(ctx, servedKey{}, served)
}

// caller is the other end of a connection, which is a client or a proxy.
func (v *visitors) caller(conn net.Conn) caller {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return caller{}
	}
	addr := plain(peer.Addr())
	return caller{own: v.proxies.trust(addr), addr: addr}
}

// handler notes that a request has come.
func (v *visitors) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served, ok := r.Context().Value(servedKey{}).(*atomic.Bool); ok {
			served.Store(true)
		}
		next.ServeHTTP(w, r)
	})
}

// track is the server's ConnState hook.
func (v *visitors) track(conn net.Conn, state http.ConnState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.conns[conn]
	if c == nil {
		return
	}
	switch state {
	case http.StateNew:
		v.enter(c)
	case http.StateActive, http.StateIdle:
		if c.element != nil {
			v.resting.MoveToBack(c.element)
		}
	case http.StateHijacked, http.StateClosed:
		if state == http.StateClosed && !c.dropped && !c.served.Load() {
			v.count.refuse(causeNoRequest)
		}
		v.leave(c)
		delete(v.conns, conn)
	}
}

func (v *visitors) enter(c *visitor) {
	if !c.address.own && v.addresses[c.address.key()] >= v.perAddress {
		v.drop(c, causeHTTPConnectionsPerAddress)
		return
	}
	if v.resting.Len() >= v.total {
		oldest := v.resting.Front().Value.(*visitor) //nolint:forcetypeassert // nothing else is put in
		v.drop(oldest, causeHTTPConnections)
		v.leave(oldest)
	}
	c.element = v.resting.PushBack(c)
	if !c.address.own {
		v.addresses[c.address.key()]++
	}
}

// leave takes a visitor off the books. It may be called twice.
func (v *visitors) leave(c *visitor) {
	if c.element == nil {
		return
	}
	v.resting.Remove(c.element)
	c.element = nil
	if c.address.own {
		return
	}
	key := c.address.key()
	if v.addresses[key]--; v.addresses[key] == 0 {
		delete(v.addresses, key)
	}
}

// drop closes a connection. The server notices and reports its end to track.
func (v *visitors) drop(c *visitor, cause cause) {
	c.dropped = true
	v.count.refuse(cause)
	conn := c.conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // a farewell could block
	}
	_ = conn.Close()
}

// number returns how many there are.
func (v *visitors) number() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.resting.Len()
}
