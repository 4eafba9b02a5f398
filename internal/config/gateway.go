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
	checkProxies(p, "gateway.trusted_proxies", g.TrustedProxies)
	checkOrigins(p, "gateway.allowed_origins", g.AllowedOrigins)
	if g.MetricsListen != "" && g.MetricsListen != MetricsOff {
		checkAddress(p, "gateway.metrics_listen", g.MetricsListen)
	} else if g.Profiling {
		p.add("gateway.profiling", `profiles are served at a listener of their own: set gateway.metrics_listen to an address, for example "127.0.0.1:9090"`)
	}
	g.Limits.validate(p, "gateway.limits")
	g.Polling.validate(p, "gateway.polling")
	if g.TLS != nil {
		g.TLS.validate(p, "gateway.tls", path)
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
