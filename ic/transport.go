package ic

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

func newTransport(opts *Options) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: opts.DialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: opts.DialTimeout,
		IdleConnTimeout:     opts.IdleTimeout,
		MaxIdleConns:        opts.MaxIdle,
		MaxIdleConnsPerHost: opts.MaxIdle,
		ForceAttemptHTTP2:   true,
		// All requests share one connection of HTTP/2. One whose other end has
		// vanished without a word would take them all with it, until TCP notices.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

// A connection of HTTP/2 on which nothing has come for pingAfter is asked for a
// sign of life, and given up after pingTimeout without one.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// suspect drops unused connections after a request that got no answer in time:
// what lost this connection may have lost the others, and each of them would
// cost another request its time. So ctx should allow as much time as an answer
// may take.
func (c *Client) suspect(ctx context.Context) {
	if c.own != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.own.CloseIdleConnections()
	}
}
