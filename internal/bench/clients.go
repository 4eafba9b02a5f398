package bench

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"github.com/icrelay/icrelay/internal/histogram"
	"math/rand/v2"
	"net"
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
	opening histogram.Histogram
}

// A member is one client. Over its life it may have several connections.
type member struct {
	index    int
	identity ic.Identity
	bytes    traffic
	conn     *client.Conn // nil: it is not connected
}

// traffic counts the bytes of a client's sockets, WebSocket headers included.
type traffic struct{ in, out atomic.Uint64 }

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

// open connects a client and notes how long it took.
func (c *crowd) open(ctx context.Context, m *member) error {
	start := time.Now()
	conn, err := client.Dial(ctx, client.Options{
		URL:          c.options.Gateway,
		Canister:     c.canister,
		Identity:     m.identity,
		Verifier:     c.verifier,
		Nonce:        c.nonces.Add(1),
		Dialer:       c.dialer(m),
		OnMessage:    func(message client.Message) { c.exchange.arrive(message.Content, time.Now()) },
		CheckEvery:   c.options.CheckEvery,
		OpenTimeout:  c.options.OpenTimeout,
		SendMessages: 16,
	})
	if err != nil {
		return err
	}
	m.conn = conn
	c.opened.Add(1)
	c.opening.Add(time.Since(start))
	return nil
}

// dialer counts the client's bytes. Buffers are shared where gorilla can share
// them, because thousands of clients mostly wait.
func (c *crowd) dialer(m *member) *websocket.Dialer {
	dialer := net.Dialer{Timeout: c.options.OpenTimeout}
	if c.spread > 0 {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(localAddress(m.index/c.spread), 0))
	}
	return &websocket.Dialer{
		HandshakeTimeout: c.options.OpenTimeout,
		ReadBufferSize:   4096,
		WriteBufferSize:  1024,
		WriteBufferPool:  &c.buffers,
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{conn, &m.bytes}, nil
		},
	}
}

type countedConn struct {
	net.Conn
	bytes *traffic
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.in.Add(uint64(max(n, 0))) //nolint:gosec // not negative
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.out.Add(uint64(max(n, 0))) //nolint:gosec // not negative
	return n, err
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
	if ip := net.ParseIP(u.Hostname()); ip == nil || ip.To4() == nil || !ip.IsLoopback() {
		return 0
	}
	return portsOfAnAddress
}

// localAddress is 127.0.0.1 and those after it.
func localAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, byte(n / 250), byte(n%250 + 1)}) //nolint:gosec // there are at most 50
}

// openAll opens all clients at the rate of --ramp, and returns those that are
// open. The others are counted as failures.
func (c *crowd) openAll(ctx context.Context) (open []*member) {
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
			open = append(open, m)
		})
	}
	group.Wait()
	return open
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
	}
}

// closeAll closes all connections. What goes wrong now says nothing about the run.
func closeAll(open []*member) {
	parallel(len(open), 256, func(i int) { _ = open[i].conn.Close() })
}

// traffic is the sum of all clients' bytes.
func (c *crowd) traffic() (in, out uint64) {
	for _, m := range c.members {
		in += m.bytes.in.Load()
		out += m.bytes.out.Load()
	}
	return in, out
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
