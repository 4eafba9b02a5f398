package bridge

import (
	"time"

	"github.com/icrelay/icrelay/internal/defaults"
)

// Limits bounds what clients and canisters can cost the gateway. The zero
// value of a field means its default. Rates are per second; their bursts are
// what may come at once after a pause.
type Limits struct {
	MaxConnections             int // sockets at once; more get HTTP 503. Default 10000
	MaxConnectionsPerAddress   int // sockets of one client address; more get HTTP 429. Default 100
	MaxConnectionsPerCanister  int // sessions with one canister; close code 1013. Default MaxConnections
	MaxConnectionsPerPrincipal int // sessions of one principal; close code 1013. Default 100

	ConnectionRate            int // new sockets; more get HTTP 503. Default 500
	ConnectionBurst           int // Default four times the rate
	ConnectionRatePerAddress  int // new sockets of one client address; more get HTTP 429. Default 10
	ConnectionBurstPerAddress int // Default ten times the rate

	FrameRate  int // frames of one client, pings included; close code 1013. Default 1000
	FrameBurst int // Default twice the rate
	ByteRate   int // bytes of one client; close code 1013. Default 4 MiB
	ByteBurst  int // Default four times the rate, but not less than MaxFrameBytes

	MaxFrameBytes int64 // largest frame from a client. Default 2 MiB + 64 KiB: the largest ingress message and its envelope

	MaxHeaderBytes               int           // of an HTTP request's headers; more get HTTP 431. Default 32 KiB
	MaxHTTPConnections           int           // connections that are no WebSockets (yet); the oldest makes way for one more. Default 2000
	MaxHTTPConnectionsPerAddress int           // of them, those of one client address; more are closed. Default 100
	HeaderTimeout                time.Duration // for a request's headers, and a TLS handshake. Default 10s

	FirstFrameTimeout time.Duration // from the handshake to the ws_open. Default 10s
	OpenTimeout       time.Duration // from the handshake to the canister's first message. Default 60s, the stock client's own patience
	CallTimeout       time.Duration // for one ws_open, ws_message or ws_close, retries included. Default 60s
	PollTimeout       time.Duration // for one poll. Default 15s
	PingInterval      time.Duration // between pings to a client. Default 30s
	IdleTimeout       time.Duration // without a frame or pong from the client. Default 90s
	WriteTimeout      time.Duration // for one frame to leave. Default 15s
	QueueMessages     int           // frames waiting for one client. Default 1024
	QueueBytes        int           // bytes waiting for one client. Default 8 MiB
	StopTimeout       time.Duration // for sessions and ws_close calls to end at a stop. Default 10s
}

// DefaultLimits suit a small server.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	defaults.Set(&l.MaxConnections, 10_000)
	defaults.Set(&l.MaxConnectionsPerAddress, 100)
	defaults.Set(&l.MaxConnectionsPerCanister, l.MaxConnections)
	defaults.Set(&l.MaxConnectionsPerPrincipal, 100)
	defaults.Set(&l.ConnectionRate, 500)
	defaults.Set(&l.ConnectionBurst, 4*l.ConnectionRate)
	defaults.Set(&l.ConnectionRatePerAddress, 10)
	defaults.Set(&l.ConnectionBurstPerAddress, 10*l.ConnectionRatePerAddress)
	defaults.Set(&l.FrameRate, 1000)
	defaults.Set(&l.FrameBurst, 2*l.FrameRate)
	defaults.Set(&l.ByteRate, 4<<20)
	defaults.Set(&l.MaxFrameBytes, 2<<20+64<<10)
	defaults.Set(&l.ByteBurst, max(4*l.ByteRate, int(l.MaxFrameBytes)))
	defaults.Set(&l.MaxHeaderBytes, 32<<10)
	defaults.Set(&l.MaxHTTPConnections, 2000)
	defaults.Set(&l.MaxHTTPConnectionsPerAddress, 100)
	defaults.Set(&l.HeaderTimeout, 10*time.Second)
	defaults.Set(&l.FirstFrameTimeout, 10*time.Second)
	defaults.Set(&l.OpenTimeout, time.Minute)
	defaults.Set(&l.CallTimeout, time.Minute)
	defaults.Set(&l.PollTimeout, 15*time.Second)
	defaults.Set(&l.PingInterval, 30*time.Second)
	defaults.Set(&l.IdleTimeout, 90*time.Second)
	defaults.Set(&l.WriteTimeout, 15*time.Second)
	defaults.Set(&l.QueueMessages, 1024)
	defaults.Set(&l.QueueBytes, 8<<20)
	defaults.Set(&l.StopTimeout, 10*time.Second)
	return l
}

// Polling sets how often a canister with open sessions is asked for messages.
// The zero value of a field means its default.
type Polling struct {
	Interval     time.Duration // while messages flow. Default 100ms
	IdleInterval time.Duration // what it backs off to when nothing comes. Default 1s
	MaxBackoff   time.Duration // the longest pause after errors in a row. Default 30s
}

func (p Polling) withDefaults() Polling {
	defaults.Set(&p.Interval, 100*time.Millisecond)
	defaults.Set(&p.IdleInterval, time.Second)
	defaults.Set(&p.MaxBackoff, 30*time.Second)
	return p
}
