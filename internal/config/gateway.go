package config

import "time"

func (g *Gateway) validate(p *problems, path func(string) string) {
	checkAddress(p, "gateway.listen", g.Listen)
	if g.Identity == "" {
		p.add("gateway.identity", `must name a PEM file, for example ".relay/identity.pem"; it is created at the first start`)
	}
	g.Identity = path(g.Identity)
	g.Web = path(g.Web)
	checkOneOf(p, "gateway.log.level", g.Log.Level, "debug", "info", "warn", "error")
	checkOneOf(p, "gateway.log.format", g.Log.Format, "text", "json")
	g.Limits.validate(p, "gateway.limits")
	g.Polling.validate(p, "gateway.polling")
}

func (l *Limits) validate(p *problems, key string) {
	checkNotNegative(p, key+".max_connections", l.MaxConnections)
	checkNotNegative(p, key+".max_frame_bytes", l.MaxFrameBytes)
	checkNotNegative(p, key+".queue_messages", l.QueueMessages)
	checkNotNegative(p, key+".queue_bytes", l.QueueBytes)

	checkDuration(p, key+".open_timeout", &l.OpenTimeout, time.Minute, shortest)
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

func (l *Polling) validate(p *problems, key string) {
	interval, idle, backoff := key+".interval", key+".idle_interval", key+".max_backoff"
	sound := checkDuration(p, interval, &l.Interval, 100*time.Millisecond, shortestPolling)
	idleSound := checkDuration(p, idle, &l.IdleInterval, time.Second, shortestPolling)
	backoffSound := checkDuration(p, backoff, &l.MaxBackoff, 30*time.Second, shortest)
	if sound && idleSound && l.IdleInterval < l.Interval {
		p.addToOne([]string{idle, interval}, "idle_interval (%s) must not be shorter than interval (%s)", l.IdleInterval, l.Interval)
	}
	if sound && backoffSound && l.MaxBackoff < l.Interval {
		p.addToOne([]string{backoff, interval}, "max_backoff (%s) must not be shorter than interval (%s)", l.MaxBackoff, l.Interval)
	}
}
