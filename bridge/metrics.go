package bridge

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// times are the durations of a route's calls. Routes with the same adapter
// share them: there is no label for a canister, of which there may be many.
type times struct {
	open, message, close, poll prometheus.Observer
	polls                      [results]prometheus.Counter
}

// A result is what a poll brought.
type result int

const (
	pollMessages result = iota
	pollEmpty
	pollFailed  // the canister was not reached, or refused
	pollInvalid // the batch failed the checks that clients make
	results
)

var resultNames = [results]string{"messages", "empty", "error", "invalid"}

// metrics is what a Gateway shows: its counters, read when they are asked for,
// and what has to be noted as it happens.
type metrics struct {
	calls    *prometheus.HistogramVec
	duration *prometheus.HistogramVec
	polls    *prometheus.CounterVec
	registry *prometheus.Registry
}

func newMetrics(g *Gateway, more []prometheus.Collector) *metrics {
	// A query takes 0.1 s on mainnet, an update 2 s; the embedded network needs milliseconds.
	buckets := []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 10, 30, 60}
	m := &metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "relay_call_duration_seconds", Help: "Time for a call to a canister, retries included.", Buckets: buckets,
		}, []string{"adapter", "method"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "relay_poll_duration_seconds", Help: "Time for a canister to answer a poll.", Buckets: buckets,
		}, []string{"adapter"}),
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_polls_total", Help: "Polls by what they brought: messages, nothing, an error, or a batch that failed verification.",
		}, []string{"adapter", "result"}),
		registry: prometheus.NewRegistry(),
	}
	m.registry.MustRegister(m.calls, m.duration, m.polls, exhibit{g},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(more...)
	return m
}

// times finds a route's metrics once, so that a call needs no look-up.
func (m *metrics) times(adapter string) times {
	t := times{
		open:    m.calls.WithLabelValues(adapter, "ws_open"),
		message: m.calls.WithLabelValues(adapter, "ws_message"),
		close:   m.calls.WithLabelValues(adapter, "ws_close"),
		poll:    m.duration.WithLabelValues(adapter),
	}
	for r, name := range resultNames {
		t.polls[r] = m.polls.WithLabelValues(adapter, name)
	}
	return t
}

// took notes the time since start.
func took(o prometheus.Observer, start time.Time) { o.Observe(time.Since(start).Seconds()) }

// exhibit shows a Gateway's counters.
type exhibit struct{ *Gateway }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("relay_"+name, help, labels, nil)
}

var (
	descConnections = describe("connections", "Sockets of clients, open or being upgraded.")
	descAccepted    = describe("connections_accepted_total", "Sockets that became WebSockets.")
	descHTTP        = describe("http_connections", "Connections that are no WebSockets (yet).")
	descSessions    = describe("sessions", "Sessions by how far they have come.", "state")
	descCanisters   = describe("canisters", "Canisters that sessions are connected with, and routes that were used.")
	descOpens       = describe("opens_total", "ws_open calls that were forwarded, by the canister's answer.", "result")
	descMessages    = describe("messages_total", "Messages: in, from a client and accepted by the canister; out, from a canister and queued for the client.", "direction")
	descStale       = describe("messages_stale_total", "Messages of canisters for clients that are not here.")
	descBytes       = describe("bytes_total", "Bytes on the sockets of clients.", "direction")
	descRefusals    = describe("refusals_total", "What was turned away or cut off, by reason.", "reason")
	descCloses      = describe("closes_total", "Sessions ended by the gateway, by close code.", "code")
	descDrops       = describe("queue_drops_total", "Messages thrown away with the queue of a client that reads too slowly.")
	descFailures    = describe("verification_failures_total", "Batches of canisters that were not forwarded, by what is wrong with them.", "reason")
)

// Describe implements prometheus.Collector.
func (e exhibit) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConnections, descAccepted, descHTTP, descSessions, descCanisters, descOpens, descMessages,
		descStale, descBytes, descRefusals, descCloses, descDrops, descFailures} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What has not happened yet is shown
// as 0, so that its first time is seen as a change.
func (e exhibit) Collect(ch chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	c := &e.count
	send(prometheus.GaugeValue, descConnections, float64(e.admission.taken()))
	send(prometheus.GaugeValue, descHTTP, float64(e.visitors.number()))
	send(prometheus.GaugeValue, descCanisters, float64(e.canisters()))
	for s, name := range stateNames {
		send(prometheus.GaugeValue, descSessions, float64(c.sessions[s].Load()), name)
	}
	count := func(d *prometheus.Desc, value uint64, labels ...string) {
		send(prometheus.CounterValue, d, float64(value), labels...)
	}
	count(descAccepted, c.accepted.Load())
	count(descMessages, c.messagesIn.Load(), "in")
	count(descMessages, c.messagesOut.Load(), "out")
	count(descStale, c.messagesStale.Load())
	count(descBytes, c.bytesIn.Load(), "in")
	count(descBytes, c.bytesOut.Load(), "out")
	count(descDrops, c.queueDrops.Load())
	for o, name := range outcomeNames {
		count(descOpens, c.opens[o].Load(), name)
	}
	for r, name := range causeNames {
		count(descRefusals, c.refusals[r].Load(), name)
	}
	for f, name := range flawNames {
		count(descFailures, c.failures[f].Load(), name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for code, n := range c.closes {
		count(descCloses, n, strconv.Itoa(code))
	}
}

// canisters is the number of hubs.
func (g *Gateway) canisters() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.hubs)
}

// MetricsHandler serves the metrics to whoever asks.
func (g *Gateway) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// serveMetrics serves them to this machine only.
func (g *Gateway) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if g.metricsHandler == nil || !isLocal(r) {
		http.NotFound(w, r)
		return
	}
	g.metricsHandler.ServeHTTP(w, r)
}

// isLocal reports whether a program on this machine asks on its own behalf: not
// a proxy that passes on what somebody else asks, nor a page whose host name
// was made to lead here.
func isLocal(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !loopback.trust(plain(peer.Addr())) {
		return false
	}
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(header)) > 0 {
			return false
		}
	}
	if host, ok := parseNode(r.Host); ok {
		return loopback.trust(host)
	}
	name, _, _ := strings.Cut(r.Host, ":")
	return name == "localhost"
}
