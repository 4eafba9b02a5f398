package bridge

import "time"

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
	setDefault(&l.MaxConnections, 10_000)
	setDefault(&l.MaxConnectionsPerAddress, 100)
	setDefault(&l.MaxConnectionsPerCanister, l.MaxConnections)
	setDefault(&l.MaxConnectionsPerPrincipal, 100)
	setDefault(&l.ConnectionRate, 500)
	setDefault(&l.ConnectionBurst, 4*l.ConnectionRate)
	setDefault(&l.ConnectionRatePerAddress, 10)
	setDefault(&l.ConnectionBurstPerAddress, 10*l.ConnectionRatePerAddress)
	setDefault(&l.FrameRate, 1000)
	setDefault(&l.FrameBurst, 2*l.FrameRate)
	setDefault(&l.ByteRate, 4<<20)
	setDefault(&l.MaxFrameBytes, 2<<20+64<<10)
	setDefault(&l.ByteBurst, max(4*l.ByteRate, int(l.MaxFrameBytes)))
	setDefault(&l.MaxHeaderBytes, 32<<10)
	setDefault(&l.MaxHTTPConnections, 2000)
	setDefault(&l.MaxHTTPConnectionsPerAddress, 100)
	setDefault(&l.HeaderTimeout, 10*time.Second)
	setDefault(&l.FirstFrameTimeout, 10*time.Second)
	setDefault(&l.OpenTimeout, time.Minute)
	setDefault(&l.CallTimeout, time.Minute)
	setDefault(&l.PollTimeout, 15*time.Second)
	setDefault(&l.PingInterval, 30*time.Second)
	setDefault(&l.IdleTimeout, 90*time.Second)
	setDefault(&l.WriteTimeout, 15*time.Second)
	setDefault(&l.QueueMessages, 1024)
	setDefault(&l.QueueBytes, 8<<20)
	setDefault(&l.StopTimeout, 10*time.Second)
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
	setDefault(&p.Interval, 100*time.Millisecond)
	setDefault(&p.IdleInterval, time.Second)
	setDefault(&p.MaxBackoff, 30*time.Second)
	return p
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
