package bench

import (
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/icrelay/icrelay/internal/histogram"
)

// A Report is what a run has found, and what it was asked to do. Times are
// milliseconds unless their names say seconds, sizes bytes.
type Report struct {
	Pattern     string  `json:"pattern"`
	Gateway     string  `json:"gateway"`
	Canister    string  `json:"canister"`
	Network     string  `json:"network"`
	RootKey     string  `json:"root_key,omitempty"` // if one was given
	Clients     int     `json:"clients"`
	Ramp        float64 `json:"ramp"`
	Rate        float64 `json:"rate"`
	InFlight    int     `json:"in_flight"`
	Size        int     `json:"size"`
	Content     string  `json:"content"`
	Silent      string  `json:"silent,omitempty"` // of the pattern send
	Duration    float64 `json:"duration_seconds"` // that was wanted
	Settle      float64 `json:"settle_seconds"`
	CheckEvery  int     `json:"check_every"`
	OpenTimeout float64 `json:"open_timeout_seconds"`
	Seed        uint64  `json:"seed"`

	Seconds     float64 `json:"seconds"` // that were measured
	Interrupted bool    `json:"interrupted"`

	Opens    Opens     `json:"opens"`
	Messages Messages  `json:"messages"`
	Process  *Process  `json:"process,omitempty"`
	Self     Self      `json:"generator"`
	Errors   int       `json:"errors"`
	Failures []Failure `json:"failures"`
}

// Opens are the connections that the canister has opened. What is per second is
// InTime by Seconds.
type Opens struct {
	Number    uint64  `json:"number"`
	InTime    uint64  `json:"number_in_time"` // churn: before the clock stopped. Otherwise all
	Seconds   float64 `json:"seconds"`        // churn: those of the report. Otherwise until the last was open
	PerSecond float64 `json:"per_second"`
	Latency   Latency `json:"latency_ms"` // from dialing to the certified open message
}

// Messages are the application messages. What is per second is what was counted
// in time, which is while the clock ran, by the report's seconds. The other numbers
// have what came afterwards, too.
type Messages struct {
	Sent              uint64  `json:"sent"` // of the pattern send, those that an answer has confirmed
	SentInTime        uint64  `json:"sent_in_time"`
	SentPerSecond     float64 `json:"sent_per_second"`
	Unconfirmed       uint64  `json:"unconfirmed"`  // of the pattern send, the others that were sent
	NotSent           uint64  `json:"due_not_sent"` // with a rate: how many more were due while the clock ran
	Received          uint64  `json:"received"`
	ReceivedInTime    uint64  `json:"received_in_time"`
	ReceivedPerSecond float64 `json:"received_per_second"`
	Missing           uint64  `json:"missing"` // were to be received, and did not come
	Strangers
	Latency  Latency `json:"latency_ms"`           // of those received
	BytesOut float64 `json:"frame_bytes_sent"`     // of one message, with the WebSocket header
	BytesIn  float64 `json:"frame_bytes_received"` // of one that was received
}

// Strangers are messages that came and were not waited for. They are in no other number.
type Strangers struct {
	Strange uint64 `json:"strange"`         // all of them
	Again   uint64 `json:"strange_again"`   // had come to the client before
	Astray  uint64 `json:"strange_astray"`  // came to another client than their sender
	Silent  uint64 `json:"strange_silent"`  // were to stay with the canister
	Foreign uint64 `json:"strange_foreign"` // not sent by this run
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Process is what the gateway used. What is not known, because there was nothing to
// read at the time or the pattern has no such thing, is not in the JSON; here it is
// 0 bytes, or not a number.
type Process struct {
	PID            int     `json:"pid"`
	Gone           bool    `json:"gone"`               // before the end of the measurement
	RSSBefore      int64   `json:"rss_before"`         // before the first client
	RSSOpen        int64   `json:"rss_open,omitempty"` // with all clients, before messages
	RSSEnd         int64   `json:"rss_end,omitempty"`  // at the end of the measurement
	RSSMost        int64   `json:"rss_most"`           // seen
	RSSPerSession  float64 `json:"rss_per_session"`    // end less before, by the clients that were open at the end
	Cores          float64 `json:"cores"`              // busy while measured, or until the process was last seen
	CPUPerMessage  float64 `json:"cpu_us_per_message"` // by those received; of the pattern send, by those confirmed
	CPUMsPerOpen   float64 `json:"cpu_ms_per_open"`    // of the churn: of a whole visit
	CPUPerSession  float64 `json:"cores_per_1000_sessions"`
	OpeningSeconds float64 `json:"opening_seconds"`
}

// unknown is a process of which nothing is known yet.
func unknown() Process {
	n := math.NaN()
	return Process{RSSPerSession: n, Cores: n, CPUPerMessage: n, CPUMsPerOpen: n, CPUPerSession: n}
}

// MarshalJSON leaves out what is not known.
func (p Process) MarshalJSON() ([]byte, error) {
	type plain Process // without this method
	known := func(n float64) *float64 {
		if math.IsNaN(n) {
			return nil
		}
		return &n
	}
	return json.Marshal(struct {
		plain
		RSSPerSession *float64 `json:"rss_per_session,omitempty"`
		Cores         *float64 `json:"cores,omitempty"`
		CPUPerMessage *float64 `json:"cpu_us_per_message,omitempty"`
		CPUMsPerOpen  *float64 `json:"cpu_ms_per_open,omitempty"`
		CPUPerSession *float64 `json:"cores_per_1000_sessions,omitempty"`
	}{plain(p), known(p.RSSPerSession), known(p.Cores), known(p.CPUPerMessage), known(p.CPUMsPerOpen), known(p.CPUPerSession)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (p *Process) UnmarshalJSON(text []byte) error {
	type plain Process
	read := plain(unknown())
	err := json.Unmarshal(text, &read)
	*p = Process(read)
	return err
}

// Self is what the generator itself used: near the number of cores, it is what was measured.
type Self struct {
	Cores      float64 `json:"cores,omitempty"` // 0: this system does not tell
	SignedLate uint64  `json:"signed_late"`     // messages that were not signed ahead; none is in the churn
}

func (r *run) report(interrupted bool) *Report {
	o, x, c := r.options, r.exchange, &r.clock
	seconds := c.took.Seconds()
	opens := r.opens()
	report := &Report{
		Pattern: o.Pattern, Gateway: o.Gateway, Canister: o.Canister, Network: o.Network, RootKey: o.RootKey,
		Clients: o.Clients, Ramp: o.Ramp, Rate: o.Rate, InFlight: o.InFlight, Size: o.Size, Content: o.Content,
		Duration: o.Duration.Seconds(), Settle: o.Settle.Seconds(), CheckEvery: o.CheckEvery, OpenTimeout: o.OpenTimeout.Seconds(), Seed: o.Seed,
		Seconds:     seconds,
		Interrupted: interrupted,
		Opens:       opens,
		Messages: Messages{
			Sent:              x.sent.Load(),
			SentInTime:        c.sent,
			NotSent:           c.due - min(c.due, c.sent),
			Received:          x.received.Load(),
			ReceivedInTime:    c.received,
			ReceivedPerSecond: per(float64(c.received), seconds),
			Missing:           x.dropped.Load() + uint64(max(0, x.missing.Load())), //nolint:gosec // not negative
			Strangers:         x.strange.read(),
			Latency:           LatencyOf(&x.latency),
			BytesOut:          per(float64(x.bytesOut.Load()), float64(x.sent.Load())),
			BytesIn:           per(float64(x.bytesIn.Load()), float64(x.received.Load())),
		},
		Self:     Self{SignedLate: x.late.Load()},
		Errors:   r.failed.number(),
		Failures: r.failed.list(),
	}
	m := &report.Messages
	if o.Pattern == "send" {
		report.Silent = o.Silent
		m.Sent, m.SentInTime = x.confirmed.Load(), c.confirmed
		m.Unconfirmed = x.sent.Load() - min(x.sent.Load(), m.Sent)
	}
	m.SentPerSecond = per(float64(m.SentInTime), seconds)
	if !math.IsNaN(c.own) {
		report.Self.Cores = c.own
	}
	for _, s := range r.supplies {
		report.Self.SignedLate += s.conn.SignedAnew()
	}
	if o.PID != 0 {
		report.Process = r.process(opens)
	}
	return report
}

func (r *run) opens() Opens {
	o := Opens{Number: r.crowd.opened.Load(), Latency: LatencyOf(&r.crowd.opening)}
	o.InTime, o.Seconds = o.Number, r.opening.Seconds()
	if r.options.Pattern == "churn" {
		o.InTime, o.Seconds = r.clock.opened, r.clock.took.Seconds()
	}
	o.PerSecond = per(float64(o.InTime), o.Seconds)
	return o
}

func (r *run) process(opens Opens) *Process {
	c := &r.clock
	last, most, gone := r.gauge.known()
	p := unknown()
	p.PID, p.Gone, p.RSSMost, p.RSSBefore, p.OpeningSeconds = r.options.PID, gone, most, r.before.rss, opens.Seconds
	p.CPUMsPerOpen = cpuOf(r.before, r.opened, opens.InTime, time.Millisecond)
	if r.options.Pattern == "churn" {
		p.CPUMsPerOpen = cpuOf(c.from, c.to, opens.InTime, time.Millisecond)
	}
	if r.settled != nil {
		p.RSSOpen = r.settled.rss
	}
	if c.to == nil { // not measured, or the process was not there any more
		if c.from != nil && last.at.Sub(c.from.at) >= leastMeasured {
			p.Cores = cores(c.from, last)
		}
		return &p
	}
	p.RSSEnd, p.Cores = c.to.rss, cores(c.from, c.to)
	if r.options.Pattern == "churn" {
		return &p
	}
	if c.open > 0 {
		p.RSSPerSession = float64(c.to.rss-r.before.rss) / float64(c.open)
		p.CPUPerSession = p.Cores / float64(c.open) * 1000
	}
	messages := c.received
	if r.options.Pattern == "send" {
		messages = c.confirmed
	}
	p.CPUPerMessage = cpuOf(c.from, c.to, messages, time.Microsecond)
	return &p
}

// leastMeasured is for how long a process that has gone must have been measured for
// its CPU to mean something: it is counted in hundredths of a second.
const leastMeasured = 200 * time.Millisecond

func (s *strangers) read() Strangers {
	out := Strangers{Again: s.again.Load(), Astray: s.astray.Load(), Silent: s.silent.Load(), Foreign: s.foreign.Load()}
	out.Strange = out.Again + out.Astray + out.Silent + out.Foreign
	return out
}

// per divides, and nothing by nothing is nothing.
func per(n, by float64) float64 {
	if by <= 0 {
		return 0
	}
	return n / by
}

// LatencyOf reads a histogram.
func LatencyOf(h *histogram.Histogram) Latency {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return Latency{ms(h.Quantile(.5)), ms(h.Quantile(.9)), ms(h.Quantile(.99)), ms(h.Max())}
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
