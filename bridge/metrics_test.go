package bridge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/icrelay/icrelay/candid"
)

// scrape returns the values of all series.
func scrape(t *testing.T, g *Gateway) map[string]float64 {
	t.Helper()
	recorder := httptest.NewRecorder()
	g.MetricsHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	series := make(map[string]float64)
	for line := range strings.Lines(recorder.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i := strings.LastIndexByte(line, '}'); i >= 0 {
			name, text = line[:i+1], strings.TrimSpace(line[i+1:])
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		series[name] = value
	}
	return series
}

func (b *bench) series(want map[string]float64) {
	b.Helper()
	got := scrape(b.T, b.gateway)
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			b.Errorf("%s = %v (there: %t), want %v", name, v, ok, value)
		}
	}
}

func TestMetrics(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) {
		c.refuseOpen = func(key candid.ClientKey) error {
			if key.Nonce == 7 {
				return Refused("not you")
			}
			return nil
		}
	})
	p := b.open()
	waiting := b.dial()
	p.send("one")
	p.send("two")
	b.receivedAll(2)
	b.eventually("both are counted", func() bool { return b.gateway.count.messagesIn.Load() == 2 })
	b.canister.send(p.key, []byte("three"))
	p.message()
	refused := b.dial()
	refused.key.Nonce = 7
	refused.write(refused.sign(refused.openEnvelope()))
	refused.closed(CloseRefused, "not you")
	junk := b.dial()
	junk.write([]byte("junk"))
	junk.closed(CloseMalformed, "")
	b.eventually("they are gone", func() bool {
		return b.gateway.admission.taken() == 2 && b.gateway.count.sessions[stateClosing].Load() == 0
	})

	b.series(map[string]float64{
		"relay_connections":                                                     2,
		"relay_connections_accepted_total":                                      4,
		"relay_http_connections":                                                0,
		`relay_sessions{state="awaiting_open"}`:                                 1,
		`relay_sessions{state="opening"}`:                                       0,
		`relay_sessions{state="open"}`:                                          1,
		`relay_sessions{state="closing"}`:                                       0,
		"relay_canisters":                                                       1,
		`relay_opens_total{result="ok"}`:                                        1,
		`relay_opens_total{result="refused"}`:                                   1,
		`relay_opens_total{result="unreachable"}`:                               0,
		`relay_messages_total{direction="in"}`:                                  2,
		`relay_messages_total{direction="out"}`:                                 2,
		`relay_messages_stale_total`:                                            0,
		`relay_refusals_total{reason="malformed"}`:                              1,
		`relay_refusals_total{reason="open_refused"}`:                           1,
		`relay_refusals_total{reason="signature"}`:                              0,
		fmt.Sprintf(`relay_closes_total{code="%d"}`, CloseRefused):              1,
		fmt.Sprintf(`relay_closes_total{code="%d"}`, CloseMalformed):            1,
		`relay_call_duration_seconds_count{adapter="test",method="ws_open"}`:    2,
		`relay_call_duration_seconds_count{adapter="test",method="ws_message"}`: 2,
		`relay_call_duration_seconds_count{adapter="test",method="ws_close"}`:   0,
		`relay_polls_total{adapter="test",result="error"}`:                      0,
		`relay_polls_total{adapter="test",result="messages"}`:                   2,
		`relay_queue_drops_total`:                                               0,
		`relay_verification_failures_total{reason="certificate"}`:               0,
	})
	got := scrape(t, b.gateway)
	for _, name := range []string{`relay_bytes_total{direction="in"}`, `relay_bytes_total{direction="out"}`,
		`relay_poll_duration_seconds_count{adapter="test"}`, "go_goroutines", "process_resident_memory_bytes"} {
		if got[name] <= 0 {
			t.Errorf("%s = %v", name, got[name])
		}
	}
	_ = waiting.conn.Close()
	_ = p.conn.Close()
	b.eventually("all are gone", func() bool { return b.gateway.admission.taken() == 0 })
	b.stop()
	b.series(map[string]float64{`relay_sessions{state="open"}`: 0, `relay_sessions{state="closing"}`: 0, `relay_sessions{state="awaiting_open"}`: 0,
		`relay_call_duration_seconds_count{adapter="test",method="ws_close"}`: 1})
}

// What is wrong with a batch that is not forwarded is counted by kind.
func TestMetricsOfFlaws(t *testing.T) {
	for want, corrupt := range map[flaw]func(*testCanister, *Batch){
		flawCertificate: func(_ *testCanister, b *Batch) { b.Cert = []byte("x") },
		flawCertificateTime: func(c *testCanister, b *Batch) {
			c.age = time.Hour
			b.Tree, b.Cert = c.certify(b.Messages)
			c.age = 0
		},
		flawWitness: func(c *testCanister, b *Batch) { b.Tree, b.Cert = c.certify(c.queue[:0]) },
		flawContent: func(_ *testCanister, b *Batch) { b.Messages[0].Content = []byte("x") },
		flawNonce: func(c *testCanister, b *Batch) {
			b.Messages[0].Key = "x"
			b.Tree, b.Cert = c.certify(b.Messages)
		},
	} {
		t.Run(flawNames[want], func(t *testing.T) {
			b := newBench(t, nil)
			p := b.open()
			b.canister.set(func() {
				b.canister.corrupt = func(batch *Batch) error {
					if len(batch.Messages) > 0 {
						batch.Messages = append([]candid.OutputMessage{}, batch.Messages...)
						corrupt(b.canister, batch)
					}
					return nil
				}
			})
			b.canister.send(p.key, []byte("hello"))
			b.eventually("it is counted", func() bool { return b.gateway.count.failures[want].Load() > 0 })
			b.canister.set(func() { b.canister.corrupt = nil })
			if m := p.message(); string(m.Content) != "hello" {
				t.Errorf("got %q", m.Content)
			}
			for f := range b.gateway.count.failures {
				if n := b.gateway.count.failures[f].Load(); n > 0 && flaw(f) != want {
					t.Errorf("%s counted %d times", flawNames[f], n)
				}
			}
			if scrape(t, b.gateway)[`relay_polls_total{adapter="test",result="invalid"}`] < 1 {
				t.Error("the poll is not counted as invalid")
			}
		})
	}
}

func TestMetricsOfSlowReader(t *testing.T) {
	b := newBench(t, func(o *Options, _ *testCanister) { o.Limits.QueueMessages, o.Limits.WriteTimeout = 5, 30*time.Second })
	p := b.open()
	big := make([]byte, 200_000)
	b.eventually("the client is given up", func() bool {
		b.canister.send(p.key, big)
		return b.gateway.count.refusals[causeSlowReader].Load() == 1
	})
	if n := b.gateway.count.queueDrops.Load(); n < 5 || n > 7 {
		t.Errorf("%d messages dropped with a queue of 5", n)
	}
	_ = p.conn.Close()
}

// /metrics is for this machine only, wherever the gateway listens.
func TestMetricsAreLocal(t *testing.T) {
	tests := []struct {
		name, remote, host string
		headers            []string
		want               int
	}{
		{"curl", "127.0.0.1:5", "127.0.0.1:8080", nil, 200},
		{"curl by name", "127.0.0.1:5", "localhost:8080", nil, 200},
		{"curl, IPv6", "[::1]:5", "[::1]:8080", nil, 200},
		{"from outside", "203.0.113.5:5", "127.0.0.1:8080", nil, 404},
		{"from outside with claims", "203.0.113.5:5", "localhost", []string{"X-Forwarded-For: 127.0.0.1"}, 404},
		{"through a proxy", "127.0.0.1:5", "127.0.0.1:8080", []string{"X-Forwarded-For: 203.0.113.5"}, 404},
		{"through a proxy, for this machine", "127.0.0.1:5", "127.0.0.1:8080", []string{"X-Forwarded-For: 127.0.0.1"}, 404},
		{"through another proxy", "127.0.0.1:5", "127.0.0.1:8080", []string{"Forwarded: for=203.0.113.5"}, 404},
		{"through nginx", "127.0.0.1:5", "127.0.0.1:8080", []string{"X-Real-IP: 203.0.113.5"}, 404},
		{"through a proxy that keeps the host", "127.0.0.1:5", "ws.example.com", nil, 404},
		{"a page that was led here", "127.0.0.1:5", "evil.example:8080", nil, 404},
	}
	more := prometheus.NewCounter(prometheus.CounterOpts{Name: "relay_test_total", Help: "Of another part."})
	b := newBench(t, func(o *Options, _ *testCanister) { o.LocalMetrics, o.Collectors = true, []prometheus.Collector{more} })
	if _, ok := scrape(t, b.gateway)["relay_test_total"]; !ok {
		t.Error("a collector of the options is not shown")
	}
	hidden := newBench(t, nil)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.RemoteAddr, r.Host = test.remote, test.host
			for _, line := range test.headers {
				name, value, _ := strings.Cut(line, ": ")
				r.Header.Add(name, value)
			}
			answer := httptest.NewRecorder()
			b.gateway.ServeHTTP(answer, r)
			if answer.Code != test.want {
				t.Errorf("status %d, want %d", answer.Code, test.want)
			}
			answer = httptest.NewRecorder()
			hidden.gateway.ServeHTTP(answer, r)
			if answer.Code != http.StatusNotFound {
				t.Errorf("switched off, status %d", answer.Code)
			}
		})
	}
	response, err := http.Get(b.server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, _ := io.ReadAll(response.Body); !strings.Contains(string(body), "relay_sessions{") {
		t.Errorf("over a socket: %s %.100s", response.Status, body)
	}
}

// No series has a client, an address or a canister in it, and their number
// does not grow with those.
func TestMetricsDoNotGrow(t *testing.T) {
	b := newBench(t, func(o *Options, c *testCanister) { o.Routes[0].Any = true })
	before := len(scrape(t, b.gateway))
	var peers []*peer
	for range 5 {
		peers = append(peers, b.open())
	}
	series := scrape(t, b.gateway)
	label := regexp.MustCompile(`[{,]([a-z]+)="`)
	for name := range series {
		for _, m := range label.FindAllStringSubmatch(name, -1) {
			switch m[1] {
			case "state", "result", "direction", "reason", "code", "adapter", "method", "le", "version", "quantile":
			default:
				t.Errorf("%s has the label %s", name, m[1])
			}
		}
		for _, p := range peers {
			if strings.Contains(name, p.key.Principal.String()) || strings.Contains(name, b.canister.id.String()) {
				t.Errorf("%s names a client or canister", name)
			}
		}
	}
	if after := len(series); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}
