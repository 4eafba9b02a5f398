package bench

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/histogram"
)

// signers is how many goroutines sign or make keys at once.
var signers = runtime.GOMAXPROCS(0)

// crowd is the clients of a run.
type crowd struct {
	options  Options
	canister candid.Principal
	verifier *ic.Verifier
	exchange *exchange
	failed   *failures
	buffers  sync.Pool
	spread   int // clients of one local address; 0: the system chooses

	members []*member
	nonces  atomic.Uint64

	opened  atomic.Uint64
	live    atomic.Int64 // connections that are open now
	opening histogram.Histogram
}

// A member is one client. Over its life it may have several connections.
type member struct {
	index    int
	identity ic.Identity
	conn     *client.Conn // nil: it is not connected
	socket   net.Conn     // under conn; nil: no gateway was reached
}

// onWire is the length of a frame with its WebSocket header (RFC 6455, section 5.2).
// Those from clients are masked.
func onWire(frameBytes int, masked bool) uint64 {
	header := 2
	switch {
	case frameBytes > 0xffff:
		header += 8
	case frameBytes > 125:
		header += 2
	}
	if masked {
		header += 4
	}
	return uint64(header + frameBytes) //nolint:gosec // not negative
}

// newCrowd makes the clients' keys.
func newCrowd(o Options, canister candid.Principal, verifier *ic.Verifier, exchange *exchange, failed *failures) *crowd {
	c := &crowd{options: o, canister: canister, verifier: verifier, exchange: exchange, failed: failed, members: make([]*member, o.Clients)}
	c.spread = spread(o)
	c.nonces.Store(uint64(time.Now().UnixNano())) //nolint:gosec // after 1970
	parallel(o.Clients, signers, func(i int) {
		c.members[i] = &member{index: i, identity: identity(o.Seed, i)}
	})
	return c
}

// identity makes a client's key. With a seed it is the same in each run.
func identity(seed uint64, index int) ic.Identity {
	var key [32]byte
	if seed == 0 {
		for i := range 4 {
			binary.LittleEndian.PutUint64(key[8*i:], rand.Uint64()) //nolint:gosec // these keys protect nothing
		}
	} else {
		binary.LittleEndian.PutUint64(key[:], seed)
		binary.LittleEndian.PutUint64(key[8:], uint64(index)) //nolint:gosec // not negative
	}
	return ic.Ed25519IdentityFromKey(ed25519.NewKeyFromSeed(key[:]))
}

const (
	// ackTimeout is the stock client's (ic-websocket-js), whose canisters acknowledge
	// within five minutes unless they are set up otherwise.
	ackTimeout = 450 * time.Second
	// closeTimeout is for a gateway to answer a close frame.
	closeTimeout = time.Second
)

// open connects a client and notes how long it took. --open-timeout is for all of it.
func (c *crowd) open(ctx context.Context, m *member) error {
	start := time.Now()
	patience, cancel := context.WithTimeout(ctx, c.options.OpenTimeout)
	defer cancel()
	m.socket = nil
	conn, err := client.Dial(patience, client.Options{
		URL:      c.options.Gateway,
		Canister: c.canister,
		Identity: m.identity,
		Verifier: c.verifier,
		Nonce:    c.nonces.Add(1),
		Dialer:   c.dialer(m),
		OnMessage: func(message client.Message) {
			c.exchange.arrive(m.index, message.Content, message.FrameBytes, time.Now())
		},
		CheckEvery:   c.options.CheckEvery,
		OpenTimeout:  c.options.OpenTimeout,
		AckTimeout:   ackTimeout,
		CloseTimeout: closeTimeout,
		SendMessages: 16,
	})
	switch {
	case err == nil:
	case m.socket != nil && ctx.Err() == nil && patience.Err() != nil:
		return fmt.Errorf("%w (%s): %w", client.ErrOpenTimeout, c.options.OpenTimeout, err)
	default:
		return err
	}
	m.conn = conn
	c.opened.Add(1)
	c.live.Add(1)
	c.opening.Add(time.Since(start))
	return nil
}

// hangUp closes a client's connection. The gateway has closeTimeout to answer the
// close frame, and no time at all once ctx has ended.
func (m *member) hangUp(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = m.socket.Close() })()
	_ = m.conn.Close() // what goes wrong now says nothing about the run
}

// dialer notes the client's socket. Buffers are shared where gorilla can share
// them, because thousands of clients mostly wait.
func (c *crowd) dialer(m *member) *websocket.Dialer {
	var dialer net.Dialer
	if c.spread > 0 {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(localAddress(m.index/c.spread), 0))
	}
	return &websocket.Dialer{
		Proxy:           http.ProxyFromEnvironment,
		ReadBufferSize:  4096,
		WriteBufferSize: 1024,
		WriteBufferPool: &c.buffers,
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			m.socket = conn
			return conn, nil
		},
	}
}

// portsOfAnAddress is how many connections one local address is used for. The
// system has some 28,000 ports for it, less those that are still closing.
const portsOfAnAddress = 20_000

// spread is needed for more clients than an address has ports, and possible
// where the gateway is on this machine: all of 127.0.0.0/8 is.
func spread(o Options) int {
	u, err := url.Parse(o.Gateway)
	if err != nil || o.Clients <= portsOfAnAddress {
		return 0
	}
	ip := net.ParseIP(u.Hostname())
	if isHere(o.Gateway) && (ip == nil || ip.To4() != nil) { // of localhost's addresses the dialer takes one of the kind of its own
		return portsOfAnAddress
	}
	return 0
}

// localAddress is 127.0.0.1 and those after it.
func localAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, byte(n / 250), byte(n%250 + 1)}) //nolint:gosec // there are at most 50
}

// openAll opens all clients at the rate of --ramp, and returns those that are
// open, and how long it took until the last of them was. The others are counted as
// failures.
func (c *crowd) openAll(ctx context.Context) (open []*member, took time.Duration) {
	var mu sync.Mutex
	var group sync.WaitGroup
	places := make(chan struct{}, c.atOnce())
	start := time.Now()
	for i, m := range c.members {
		if c.options.Ramp > 0 && !sleepUntil(ctx, start.Add(time.Duration(float64(i)/c.options.Ramp*float64(time.Second)))) {
			break
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-places }()
			if err := c.open(ctx, m); err != nil {
				if ctx.Err() == nil {
					c.failed.add(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			open, took = append(open, m), time.Since(start)
		})
	}
	group.Wait()
	return open, took
}

// atOnce is how many clients may be opening at the same time.
func (c *crowd) atOnce() int {
	if c.options.Ramp > 0 {
		return c.options.Clients // the rate is the bound
	}
	return 256
}

// attend waits for the end of a connection, which is a failure unless the run
// closes it.
func (c *crowd) attend(ctx context.Context, m *member) {
	select {
	case <-ctx.Done():
	case <-m.conn.Done():
		if ctx.Err() == nil {
			c.failed.add(m.conn.Err())
		}
		c.live.Add(-1)
		c.exchange.leave(m.index)
	}
}

// closeAll closes all connections at once, so that a gateway that does not answer
// close frames costs one closeTimeout.
func closeAll(ctx context.Context, open []*member) {
	parallel(len(open), len(open), func(i int) { open[i].hangUp(ctx) })
}

// parallel calls f for 0 to n-1 on some goroutines, and waits for all.
func parallel(n, goroutines int, f func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, goroutines) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
}

// sleepUntil reports whether the time has come before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
