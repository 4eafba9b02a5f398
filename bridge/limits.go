package bridge

import "time"

// Limits bounds what clients and canisters can cost the gateway. The zero
// value of a field means its default.
type Limits struct {
	MaxConnections int           // sockets at once; more get HTTP 503. Default 10000
	MaxFrameBytes  int64         // largest frame from a client. Default 2 MiB + 64 KiB: the largest ingress message and its envelope
	OpenTimeout    time.Duration // from the handshake to the canister's first message. Default 60s, the stock client's own patience
	CallTimeout    time.Duration // for one ws_open, ws_message or ws_close, retries included. Default 60s
	PollTimeout    time.Duration // for one poll. Default 15s
	PingInterval   time.Duration // between pings to a client. Default 30s
	IdleTimeout    time.Duration // without a frame or pong from the client. Default 90s
	WriteTimeout   time.Duration // for one frame to leave. Default 15s
	QueueMessages  int           // frames waiting for one client. Default 1024
	QueueBytes     int           // bytes waiting for one client. Default 8 MiB
	StopTimeout    time.Duration // for sessions and ws_close calls to end at a stop. Default 10s
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxConnections, 10_000)
	setDefault(&l.MaxFrameBytes, 2<<20+64<<10)
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
