package bench

import (
	"encoding/json"
	"io"
	"time"

	"github.com/icrelay/icrelay/internal/histogram"
)

// A Report is what a run has found. Times are milliseconds, sizes bytes.
type Report struct {
	Pattern     string  `json:"pattern"`
	Gateway     string  `json:"gateway"`
	Canister    string  `json:"canister"`
	Network     string  `json:"network"`
	Clients     int     `json:"clients"`
	Ramp        float64 `json:"ramp"`
	Rate        float64 `json:"rate"`
	InFlight    int     `json:"in_flight"`
	Size        int     `json:"size"`
	CheckEvery  int     `json:"check_every"`
	Seconds     float64 `json:"seconds"` // that were measured
	Interrupted bool    `json:"interrupted"`

	Opens    Opens     `json:"opens"`
	Messages Messages  `json:"messages"`
	Process  *Process  `json:"process,omitempty"`
	Self     Self      `json:"generator"`
	Errors   int       `json:"errors"`
	Failures []Failure `json:"failures"`
}

// Opens are the connections that the canister has opened.
type Opens struct {
	Number    uint64  `json:"number"`
	PerSecond float64 `json:"per_second"`
	Latency   Latency `json:"latency_ms"` // from dialing to the certified open message
}

// Messages are those that were sent and received while the clock ran.
type Messages struct {
	Sent              uint64  `json:"sent"`
	SentPerSecond     float64 `json:"sent_per_second"`
	Received          uint64  `json:"received"`
	ReceivedPerSecond float64 `json:"received_per_second"`
	Strange           uint64  `json:"strange"` // not sent by this run
	Latency           Latency `json:"latency_ms"`
	BytesOut          float64 `json:"frame_bytes_sent"` // of one message
	BytesIn           float64 `json:"frame_bytes_received"`
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Process is what the gateway used.
type Process struct {
	PID            int     `json:"pid"`
	RSSBefore      int64   `json:"rss_before"`      // before the first client
	RSSOpen        int64   `json:"rss_open"`        // with all clients, before messages
	RSSEnd         int64   `json:"rss_end"`         // at the end of the measurement
	RSSMost        int64   `json:"rss_most"`        // seen
	RSSPerSession  float64 `json:"rss_per_session"` // end less before
	Cores          float64 `json:"cores"`           // busy while measured
	CPUPerMessage  float64 `json:"cpu_us_per_message"`
	CPUMsPerOpen   float64 `json:"cpu_ms_per_open"`
	CPUPerSession  float64 `json:"cores_per_1000_sessions"`
	OpeningSeconds float64 `json:"opening_seconds"`
}

// Self is what the generator itself used: near the number of cores, it is what was measured.
type Self struct {
	Cores      float64 `json:"cores"`
	SignedLate uint64  `json:"signed_late"` // messages that were not signed ahead
}

func (r *run) report(interrupted bool) *Report {
	o, x, c := r.options, r.exchange, &r.clock
	seconds := c.took.Seconds()
	report := &Report{
		Pattern: o.Pattern, Gateway: o.Gateway, Canister: o.Canister, Network: o.Network,
		Clients: o.Clients, Ramp: o.Ramp, Rate: o.Rate, InFlight: o.InFlight, Size: o.Size, CheckEvery: o.CheckEvery,
		Seconds:     seconds,
		Interrupted: interrupted,
		Opens: Opens{
			Number:    r.crowd.opened.Load(),
			PerSecond: per(float64(r.crowd.opened.Load()), r.openingTime().Seconds()),
			Latency:   latencyOf(&r.crowd.opening),
		},
		Messages: Messages{
			Sent:              x.sent.Load(),
			SentPerSecond:     per(float64(c.sent), seconds),
			Received:          x.received.Load(),
			ReceivedPerSecond: per(float64(c.received), seconds),
			Strange:           x.strange.Load(),
			Latency:           latencyOf(&x.latency),
		},
		Self:     Self{Cores: c.own, SignedLate: x.late.Load()},
		Errors:   r.failed.number(),
		Failures: r.failed.list(),
	}
	if o.Pattern != "churn" { // whose bytes are those of handshakes, too
		report.Messages.BytesOut = per(float64(c.out), float64(c.sent))
		report.Messages.BytesIn = per(float64(c.in), float64(c.received))
	}
	if o.PID != 0 {
		report.Process = r.process()
	}
	return report
}

// openingTime is how long the opening took: in the churn, all the time.
func (r *run) openingTime() time.Duration {
	if r.options.Pattern == "churn" {
		return r.clock.took
	}
	return r.opened.took
}

func (r *run) process() *Process {
	c := &r.clock
	p := &Process{
		PID:            r.options.PID,
		RSSBefore:      r.before.rss,
		RSSOpen:        r.full.rss,
		RSSEnd:         c.to.rss,
		RSSMost:        r.watch.most(),
		Cores:          cores(c.from, c.to),
		OpeningSeconds: r.openingTime().Seconds(),
	}
	if n := float64(len(r.open)); n > 0 {
		p.RSSPerSession = float64(c.to.rss-r.before.rss) / n
		p.CPUMsPerOpen = per(float64(r.full.cpu-r.before.cpu)/float64(time.Millisecond), n)
		p.CPUPerSession = p.Cores / n * 1000
	}
	p.CPUPerMessage = per(float64(c.to.cpu-c.from.cpu)/float64(time.Microsecond), float64(max(c.sent, c.received)))
	return p
}

// per divides, and nothing by nothing is nothing.
func per(n, by float64) float64 {
	if by <= 0 {
		return 0
	}
	return n / by
}

func latencyOf(h *histogram.Histogram) Latency {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return Latency{ms(h.Quantile(.5)), ms(h.Quantile(.9)), ms(h.Quantile(.99)), ms(h.Max())}
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
