package bridge

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

var (
	// errTooManyFrames and errTooManyBytes end a read that goes beyond the client's pace.
	errTooManyFrames = errors.New("too many frames")
	errTooManyBytes  = errors.New("too many bytes")
	errFrameTooLarge = errors.New("frame too large")
)

// comeBack is when a bucket that is empty now is full again.
func comeBack(perSecond, burst int) time.Duration {
	return max(time.Second, time.Duration((burst+perSecond-1)/perSecond)*time.Second)
}

// readChunk is the most that one read takes from a socket, so that a bucket of
// bytes is asked often enough.
const readChunk = 64 << 10

// A meteredConn counts what goes over a client's socket, headers of frames and
// their fragments included, and fails reads beyond the client's pace.
type meteredConn struct {
	net.Conn
	bucket  *rate.Limiter
	in, out *atomic.Uint64
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), readChunk)])
	if n <= 0 {
		return n, err
	}
	c.in.Add(uint64(n)) //nolint:gosec // positive
	if !c.bucket.AllowN(time.Now(), n) {
		return n, errTooManyBytes
	}
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(uint64(max(n, 0))) //nolint:gosec // not negative
	return n, err
}

// A meteredUpgrade is a response whose socket, once it is taken over, is metered.
type meteredUpgrade struct {
	http.ResponseWriter
	meter func(net.Conn) net.Conn
}

func (u meteredUpgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return u.meter(conn), buffer, nil
}
