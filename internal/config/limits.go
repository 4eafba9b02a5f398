package config

import (
	"time"

	"github.com/icrelay/icrelay/bridge"
)

func (l *Limits) validate(p *problems, key string) {
	l.validateNumbers(p, key)
	l.validateOpening(p, key)
	checkDuration(p, key+".header_timeout", &l.HeaderTimeout, 10*time.Second, shortest)
	checkDuration(p, key+".call_timeout", &l.CallTimeout, time.Minute, shortest)
	checkDuration(p, key+".poll_timeout", &l.PollTimeout, 15*time.Second, shortest)
	checkDuration(p, key+".write_timeout", &l.WriteTimeout, 15*time.Second, shortest)
	checkDuration(p, key+".stop_timeout", &l.StopTimeout, 10*time.Second, shortest)
	ping, idle := key+".ping_interval", key+".idle_timeout"
	sound := checkDuration(p, ping, &l.PingInterval, 30*time.Second, shortest)
	sound = checkDuration(p, idle, &l.IdleTimeout, 90*time.Second, shortest) && sound
	if sound && l.IdleTimeout <= l.PingInterval {
		p.addToOne([]string{idle, ping}, "idle_timeout (%s) must be longer than ping_interval (%s), or every quiet client is cut off", l.IdleTimeout, l.PingInterval)
	}
}

// validateOpening: the first frame is a part of the opening, so its own default
// gives way to a short time for the whole.
func (l *Limits) validateOpening(p *problems, key string) {
	first, open := key+".first_frame_timeout", key+".open_timeout"
	given := l.FirstFrameTimeout != 0
	sound := checkDuration(p, first, &l.FirstFrameTimeout, 10*time.Second, shortest)
	sound = checkDuration(p, open, &l.OpenTimeout, time.Minute, shortest) && sound
	switch {
	case !sound || l.FirstFrameTimeout <= l.OpenTimeout:
	case !given:
		l.FirstFrameTimeout = l.OpenTimeout
	default:
		p.addToOne([]string{first, open}, "first_frame_timeout (%s) must not be longer than open_timeout (%s)", l.FirstFrameTimeout, l.OpenTimeout)
	}
}

// maxNumber is where a typing error is more likely than a wish.
const maxNumber = 1 << 27

func (l *Limits) validateNumbers(p *problems, key string) {
	sound := true
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"max_connections", int64(l.MaxConnections)},
		{"max_connections_per_address", int64(l.MaxConnectionsPerAddress)},
		{"max_connections_per_canister", int64(l.MaxConnectionsPerCanister)},
		{"max_connections_per_principal", int64(l.MaxConnectionsPerPrincipal)},
		{"connection_rate", int64(l.ConnectionRate)},
		{"connection_burst", int64(l.ConnectionBurst)},
		{"connection_rate_per_address", int64(l.ConnectionRatePerAddress)},
		{"connection_burst_per_address", int64(l.ConnectionBurstPerAddress)},
		{"frame_rate", int64(l.FrameRate)},
		{"frame_burst", int64(l.FrameBurst)},
		{"byte_rate", int64(l.ByteRate)},
		{"byte_burst", int64(l.ByteBurst)},
		{"max_frame_bytes", l.MaxFrameBytes},
		{"queue_messages", int64(l.QueueMessages)},
		{"queue_bytes", int64(l.QueueBytes)},
		{"max_header_bytes", int64(l.MaxHeaderBytes)},
		{"max_http_connections", int64(l.MaxHTTPConnections)},
		{"max_http_connections_per_address", int64(l.MaxHTTPConnectionsPerAddress)},
	} {
		at := key + "." + n.name
		checkNotNegative(p, at, n.value)
		if n.value > maxNumber {
			p.add(at, "%d is too much: at most %d", n.value, maxNumber)
		}
		sound = sound && p.read(at) && n.value >= 0
	}
	burst, frame := key+".byte_burst", key+".max_frame_bytes"
	size := l.MaxFrameBytes
	if size == 0 {
		size = bridge.DefaultLimits().MaxFrameBytes
	}
	if sound && l.ByteBurst > 0 && int64(l.ByteBurst) < size {
		p.addToOne([]string{burst, frame}, "byte_burst (%d) must not be less than max_frame_bytes (%d), or a frame of that size can never pass", l.ByteBurst, size)
	}
}
