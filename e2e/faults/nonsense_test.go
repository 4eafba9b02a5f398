package faults

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
)

// nonsense is what may come instead of an answer. elsewhere is where redirects lead.
func nonsense(elsewhere string) map[string]fault {
	const page = "<html><body>502 Bad Gateway</body></html>"
	return map[string]fault{
		"500":                    says(500, "internal error"),
		"502 with a page":        says(502, page, "Content-Type", "text/html"),
		"503":                    says(503, "no healthy replica"),
		"504":                    says(504, ""),
		"404":                    says(404, "404 page not found"),
		"a page with 200":        says(200, page, "Content-Type", "text/html"),
		"an empty answer":        says(200, ""),
		"bytes without a sense":  says(200, strings.Repeat("\xff\x00\xd9\xd9\xf7", 200)),
		"accepted, and no more":  says(202, ""),
		"a redirect to a page":   says(302, "", "Location", elsewhere),
		"a redirect of the call": says(307, "", "Location", elsewhere),
		"half of the answer": func(_ *fakeProxy, w http.ResponseWriter, _ question, real answer) bool {
			if real.status == 0 {
				return false
			}
			real.body = real.body[:len(real.body)/2]
			real.write(w)
			return true
		},
		"half of the answer, and the end": func(_ *fakeProxy, w http.ResponseWriter, _ question, real answer) bool {
			if real.status == 0 {
				return false
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(real.body)))
			_, _ = w.Write(real.body[:len(real.body)/2])
			panic(http.ErrAbortHandler)
		},
		"too much": func(_ *fakeProxy, w http.ResponseWriter, _ question, _ answer) bool {
			w.Header().Set("Content-Length", strconv.Itoa(64<<20))
			_, _ = w.Write(make([]byte, 1<<20))
			return true
		},
		"without an end": func(_ *fakeProxy, w http.ResponseWriter, _ question, _ answer) bool {
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					break
				}
			}
			return true
		},
		"an earlier answer": func(p *fakeProxy, w http.ResponseWriter, q question, _ answer) bool {
			old, ok := p.earlier(func(other question) bool { return other == q })
			if ok {
				old.write(w)
			}
			return ok
		},
		"another canister's answer": func(p *fakeProxy, w http.ResponseWriter, q question, _ answer) bool {
			old, ok := p.earlier(func(other question) bool { return other.method == q.method && other.canister != q.canister })
			if ok {
				old.write(w)
			}
			return ok
		},
		"a changed answer": func(_ *fakeProxy, w http.ResponseWriter, _ question, real answer) bool {
			if real.status == 0 || len(real.body) == 0 {
				return false
			}
			real.body = append([]byte(nil), real.body...)
			real.body[rand.N(len(real.body))] ^= 1 << rand.N(8) //nolint:gosec // any bit will do
			real.write(w)
			return true
		},
	}
}

// TestNonsense has the network answer with what is no answer, to everything and
// for a while. All clients stay, and each message arrives once and in order,
// whether it was executed or not before its answer was lost.
func TestNonsense(t *testing.T) {
	w := newWorld(t)
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	all := nonsense(elsewhere.URL)
	kinds := make([]fault, 0, len(all))
	for _, f := range all {
		kinds = append(kinds, f)
	}
	// One replica in four is bad, each time in another way.
	all["now and then something of all this"] = func(p *fakeProxy, w http.ResponseWriter, q question, real answer) bool {
		return rand.N(4) == 0 && kinds[rand.N(len(kinds))](p, w, q, real) //nolint:gosec // chance needs no secrecy
	}
	t.Run("kinds", func(t *testing.T) {
		for name, f := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				proxy := newFakeProxy(t, w.URL())
				p := newParty(t, w, proxy.url, nil)
				p.talk(1, beat)
				proxy.use(f)
				time.Sleep(1500 * time.Millisecond)
				proxy.use(nil)
				took := p.recover()
				t.Logf("recovered after %s", took.Round(time.Millisecond))
				p.leave()
			})
		}
	})
	if n := visits.Load(); n > 0 {
		t.Errorf("%d requests have followed a redirect", n)
	}
}

// TestRetryAfter has the network say 429 with Retry-After. Until that time is
// over it is not asked again by those who were told, nor by new messages.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const asked = 2 * time.Second
	w := newWorld(t)
	proxy := newFakeProxy(t, w.URL())
	p := newParty(t, w, proxy.url, nil)
	p.talk(3, 200*time.Millisecond)
	proxy.use(says(429, "too many requests", "Retry-After", strconv.Itoa(int(asked.Seconds()))))
	begin := time.Now()
	time.Sleep(asked + asked/2)
	proxy.use(nil)
	took := p.recover()
	for _, id := range []candid.Principal{p.cdk, p.relay.relay} {
		for _, method := range []string{"ws_message", "ws_get_messages"} {
			some := p.g.recorder.since(begin.Add(-time.Second), func(q question) bool { return q == question{id, method} })
			told := time.Time{} // when somebody was told to wait
			rounds := 0
			for _, a := range some {
				if a.status == http.StatusTooManyRequests && (told.IsZero() || a.at.After(told.Add(asked))) {
					told = a.at.Add(a.took)
					rounds++
					continue
				}
				// What was asked before the answer had come is not meant.
				if pause := a.at.Sub(told); !told.IsZero() && pause > 0 && pause < asked {
					t.Errorf("%s of %s is asked again %s after a 429 that asked for %s", method, id, pause, asked)
				}
			}
			if rounds == 0 {
				t.Errorf("%s of %s has met no 429", method, id)
			}
			t.Logf("%s: told to wait %d times in %s", method, rounds, asked+asked/2)
		}
	}
	t.Logf("recovered after %s", took.Round(time.Millisecond))
	p.leave()
}

// TestForbidden has the network refuse requests for good. A message that is
// refused so ends its session, with the network's words. Sessions that only
// wait for messages stay: it is not their canister that says no.
func TestForbidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy := newFakeProxy(t, w.URL())
	p := newParty(t, w, proxy.url, nil)
	p.talk(1, 200*time.Millisecond)
	canisters := []candid.Principal{p.cdk, p.relay.relay} // in the order of the talkers
	var idle []*client.Conn
	for _, id := range canisters {
		idle = append(idle, p.g.dial(t, id))
	}
	begin := time.Now()
	proxy.use(says(403, "blocked"))
	for i, id := range canisters {
		ended(t, "the active client", p.talkers[i].conn, way{bridge.CloseMessageRefused, "HTTP status 403"})
		p.talkers[i].check()
		p.g.turnedAway(t, id, bridge.CloseRefused, "HTTP status 403")
	}
	// Longer than it takes to give up a canister that refuses polls.
	eventually(t, "polls are refused for long", func() bool { return time.Since(begin) > 6*time.Second })
	proxy.use(nil)
	for i, id := range canisters {
		refused := p.g.recorder.since(begin, func(q question) bool { return q.canister == id && polls(q) })
		if n := failures(refused); n < 4 {
			t.Errorf("%d polls of %s were refused", n, id)
		}
		stays(t, "the idle client", idle[i])
		k := talk(t, "the idle client", idle[i], 100*time.Millisecond)
		k.goesOn(3)
		k.finish()
	}
}
