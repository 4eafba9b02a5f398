package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
)

// This file is about what is counted when a gateway or a canister does something
// else than a pattern expects.

// TestSignedLate: after the answer to an acknowledgement the messages that are ready
// carry the wrong number. Those that leave before they were signed again are counted.
func TestSignedLate(t *testing.T) {
	acknowledging := func(which func(n uint64) bool) func(s *stubSocket) {
		return func(s *stubSocket) {
			if !s.open() {
				return
			}
			n := uint64(0)
			for content := s.take(); content != nil; content = s.take() {
				if n++; which(n) {
					s.service(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: 1})
				}
				s.say(content)
			}
		}
	}
	t.Run("counted", func(t *testing.T) {
		r := newStub(t, acknowledging(func(uint64) bool { return true })).run(func(o *Options) { o.Clients = 1 }, "echo")
		if r.Errors > 0 || r.Self.SignedLate == 0 || r.Self.SignedLate > r.Messages.Sent {
			t.Errorf("%d of %d signed late, %+v", r.Self.SignedLate, r.Messages.Sent, r.Failures)
		}
	})
	t.Run("signed again in time", func(t *testing.T) {
		r := newStub(t, acknowledging(func(n uint64) bool { return n == 2 })).run(func(o *Options) {
			o.Clients, o.Rate, o.Duration = 1, 40, time.Second
		}, "echo")
		if r.Errors > 0 || r.Self.SignedLate > 10 || r.Messages.Sent < 30 {
			t.Errorf("%d of %d signed late, %+v", r.Self.SignedLate, r.Messages.Sent, r.Failures)
		}
	})
}

// TestLostReceiver: a fan-out goes on without a client whose connection is lost,
// what that one owes is waited for no more, and the progress knows of it.
func TestLostReceiver(t *testing.T) {
	n := newStub(t, func(s *stubSocket) {
		if !s.open() {
			return
		}
		if s.number == 3 {
			s.take() // nothing comes: the socket ends when somebody closes it
			return
		}
		for content := s.take(); content != nil; content = s.take() {
			for _, other := range s.all() {
				if other.number == 3 && other.sequence > 5 {
					_ = other.ws.Close()
					continue
				}
				other.say(content)
			}
		}
	})
	for name, rate := range map[string]float64{"as fast as they come": 0, "at a rate": 50} {
		t.Run(name, func(t *testing.T) {
			n.mu.Lock()
			n.accepted, n.sockets = 0, nil
			n.mu.Unlock()
			var progress bytes.Buffer
			r := n.run(func(o *Options) {
				o.Clients, o.Ramp = 4, 50 // one after the other: the first sends
				if o.Rate = rate; rate > 0 {
					o.Duration, o.Progress, o.Line = 1300*time.Millisecond, &progress, true
				}
			}, "fanout")
			if r.Errors != 1 || r.Failures[0].Kind != "connection lost" {
				t.Errorf("errors: %+v", r.Failures)
			}
			m := r.Messages
			if m.Sent < 10 || m.Received < 3*(m.Sent-2) || m.Received > 4*m.Sent || m.Missing > 2 || m.Strange != 0 {
				t.Errorf("%+v", m)
			}
			if rate > 0 && !strings.Contains(progress.String(), "open 3/4") {
				t.Errorf("progress %q", progress.String())
			}
		})
	}
}

// TestLostSender: what a client that is lost has under way is not waited for, and
// what it should have sent is told.
func TestLostSender(t *testing.T) {
	n := newStub(t, func(s *stubSocket) {
		if !s.open() {
			return
		}
		if s.number == 1 {
			s.take() // and is gone
			return
		}
		s.echo()
	})
	r := n.run(func(o *Options) { o.Clients, o.Rate, o.Duration = 2, 40, time.Second }, "echo")
	m := r.Messages
	if r.Errors != 1 || r.Failures[0].Kind != "connection lost" || m.Missing == 0 || m.Received+m.Missing != m.Sent {
		t.Errorf("%+v, %+v", r.Failures, m)
	}
	if m.NotSent < 10 || m.Sent+m.NotSent != 40 {
		t.Errorf("%d sent, %d not, want 40 due", m.Sent, m.NotSent)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"of 40/s wanted", fmt.Sprintf("%d that were due were not sent", m.NotSent), fmt.Sprintf("of %d that came, %d did not", m.Received, m.Missing)} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
}

// TestNobodyLeft: when all connections are lost there is nothing to wait for.
func TestNobodyLeft(t *testing.T) {
	for _, pattern := range []string{"echo", "fanout"} {
		t.Run(pattern, func(t *testing.T) {
			n := newStub(t, func(s *stubSocket) {
				if !s.open() || s.take() == nil {
					return
				}
				for _, other := range s.all() {
					_ = other.ws.Close()
				}
			})
			start := time.Now()
			r := n.run(func(o *Options) { o.Rate, o.Duration = 10, 20*time.Second }, pattern)
			if took := time.Since(start); r.Errors != 5 || took > 15*time.Second {
				t.Errorf("%s, %+v", took, r.Failures)
			}
		})
	}
}

// TestStrangers: what nobody waits for is counted by what it is, and in nothing else.
func TestStrangers(t *testing.T) {
	g := newTarget(t, bridge.Limits{ConnectionRate: 10_000})
	t.Run("to everybody", func(t *testing.T) {
		r := g.run(t, g.options("echo", func(o *Options) { o.Content = `variant { Everybody = "{payload}" }` }))
		m := r.Messages
		if r.Errors > 0 || m.Received != m.Sent || m.Astray == 0 || m.Strange != m.Astray {
			t.Errorf("%+v, %+v", m, r.Failures)
		}
	})
	t.Run("silent ones", func(t *testing.T) {
		r := g.run(t, g.options("send", func(o *Options) { o.Silent = "text" }))
		m := r.Messages
		if r.Errors > 0 || m.Sent != 16*m.Received || m.Silent == 0 || m.Strange != m.Silent {
			t.Errorf("%+v, %+v", m, r.Failures)
		}
	})
	for name, test := range map[string]struct {
		pattern string
		script  func(s *stubSocket, content []byte)
		of      func(m Messages) uint64
		each    uint64 // arrivals of a message
	}{
		"twice": {"echo", func(s *stubSocket, content []byte) {
			s.say(content)
			s.say(content)
		}, func(m Messages) uint64 { return m.Again }, 1},
		"twice to one of all": {"fanout", func(s *stubSocket, content []byte) {
			for _, other := range s.all() {
				other.say(content)
			}
			s.say(content)
		}, func(m Messages) uint64 { return m.Again }, 5},
		"of another run": {"echo", func(s *stubSocket, content []byte) {
			s.say([]byte("news"))
			s.say(content)
		}, func(m Messages) uint64 { return m.Foreign }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := newStub(t, func(s *stubSocket) {
				if !s.open() {
					return
				}
				for content := s.take(); content != nil; content = s.take() {
					test.script(s, content)
				}
			})
			r := n.run(nil, test.pattern)
			m := r.Messages
			// The last ones may come when nothing is read any more.
			if r.Errors > 0 || m.Sent == 0 || m.Received != m.Sent*test.each || test.of(m) == 0 || test.of(m) > m.Sent || m.Strange != test.of(m) {
				t.Errorf("%+v, %+v", m, r.Failures)
			}
		})
	}
	var table strings.Builder
	r := &Report{Pattern: "echo", Messages: Messages{Strangers: Strangers{6, 1, 2, 0, 3}}}
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "6 messages: 1 a second time, 2 at another client than their sender, 3 that this run has not sent") {
		t.Errorf("%v\n%s", err, table.String())
	}
}

// TestChurnAfterTheEnd: visits that end after the clock are in the totals, and not
// in the rates.
func TestChurnAfterTheEnd(t *testing.T) {
	n := newStub(t, func(s *stubSocket) {
		if !s.open() {
			return
		}
		content := s.take()
		time.Sleep(600 * time.Millisecond) // a slow canister
		s.say(content)
		s.take()
	})
	r := n.run(nil, "churn")
	if r.Errors > 0 || r.Messages.Received != 5 || r.Messages.ReceivedInTime != 0 || r.Messages.ReceivedPerSecond != 0 || r.Opens.Number != 5 || r.Opens.InTime > 5 {
		t.Errorf("%+v, %+v, %+v", r.Messages, r.Opens, r.Failures)
	}
	if r.Seconds > .55 || r.Opens.Seconds != r.Seconds {
		t.Errorf("%g s, opens in %g s", r.Seconds, r.Opens.Seconds)
	}
}

// TestChurnOfLostConnections: what left was sent, whether or not somebody waits for it.
func TestChurnOfLostConnections(t *testing.T) {
	n := newStub(t, func(s *stubSocket) {
		if s.open() {
			s.take()
		}
	})
	r := n.run(nil, "churn")
	m := r.Messages
	if m.Sent == 0 || m.Sent != r.Opens.Number || m.Missing != m.Sent || m.Received != 0 || len(r.Failures) != 1 || r.Failures[0].Kind != "connection lost" {
		t.Errorf("%+v, %+v, %+v", m, r.Opens, r.Failures)
	}
}

// TestFrameBytes: only the frames of messages that are counted are.
func TestFrameBytes(t *testing.T) {
	var bytesBack, messages atomic.Uint64
	n := newStub(t, func(s *stubSocket) {
		if !s.open() {
			return
		}
		for content := s.take(); content != nil; content = s.take() {
			_ = s.ws.WriteControl(websocket.PingMessage, make([]byte, 100), time.Now().Add(time.Second))
			s.service(candid.ServiceMessage{Kind: candid.AckMessage, LastIncoming: 1})
			s.say(make([]byte, 3000))
			bytesBack.Add(onWire(s.say(content), false))
			messages.Add(1)
		}
	})
	r := n.run(nil, "echo")
	m := r.Messages
	if want := float64(bytesBack.Load()) / float64(messages.Load()); r.Errors > 0 || m.BytesIn != want {
		t.Errorf("%g bytes received, want %g; %+v", m.BytesIn, want, r.Failures)
	}
	if m.BytesOut < 400 || m.BytesOut != float64(int(m.BytesOut)) { // all have the same length
		t.Errorf("%g bytes sent", m.BytesOut)
	}
}

func TestOnWire(t *testing.T) {
	for frame, want := range map[int]uint64{0: 2, 125: 127, 126: 130, 0xffff: 0xffff + 4, 0x10000: 0x10000 + 10} {
		if got := onWire(frame, false); got != want {
			t.Errorf("%d: %d, want %d", frame, got, want)
		}
		if got := onWire(frame, true); got != want+4 {
			t.Errorf("%d with a mask: %d, want %d", frame, got, want+4)
		}
	}
}

// TestOpening: the time to open is that until the last client was open, whatever the
// patience with those that never are, and --open-timeout is for all of an opening.
func TestOpening(t *testing.T) {
	n := newStub(t, func(s *stubSocket) {
		if s.number == 5 {
			s.ws.SetCloseHandler(func(int, string) error { return nil })
			_, _, _ = s.ws.ReadMessage() // it never says hello
			return
		}
		if s.open() {
			s.echo()
		}
	})
	r := n.run(func(o *Options) { o.OpenTimeout = 900 * time.Millisecond }, "idle")
	if r.Errors != 1 || r.Failures[0].Kind != "no open message in time" || r.Opens.Number != 4 || r.Opens.Seconds > .8 || r.Opens.PerSecond < 5 {
		t.Errorf("%+v, %+v", r.Opens, r.Failures)
	}
	t.Run("all of it", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		proxy := slowUpgrade(t, listener, strings.TrimPrefix(n.url, "ws://"), 600*time.Millisecond)
		defer proxy()
		start := time.Now()
		n.mu.Lock()
		n.accepted = 4 // the next one is never told anything
		n.mu.Unlock()
		r := n.run(func(o *Options) {
			o.Gateway, o.Clients, o.OpenTimeout = "ws://"+listener.Addr().String(), 1, time.Second
		}, "idle")
		if took := time.Since(start); r.Errors != 1 || r.Failures[0].Kind != "no open message in time" || took > 1500*time.Millisecond {
			t.Errorf("%s, %+v", took, r.Failures)
		}
	})
}

// slowUpgrade passes a connection on after some time, until it is stopped.
func slowUpgrade(t *testing.T, listener net.Listener, to string, after time.Duration) (stop func()) {
	t.Helper()
	var group sync.WaitGroup
	group.Go(func() {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = in.Close() }()
		time.Sleep(after)
		out, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		group.Go(func() {
			_, _ = out.(*net.TCPConn).ReadFrom(in)
			_ = out.Close()
		})
		_, _ = in.(*net.TCPConn).ReadFrom(out)
	})
	return func() {
		_ = listener.Close()
		group.Wait()
	}
}

// TestClosing: a gateway that does not answer close frames costs a second, however
// many clients there are; what ends the closing does not interrupt the run.
func TestClosing(t *testing.T) {
	for name, test := range map[string]struct {
		cancel bool // at the first close frame
		most   time.Duration
	}{
		"waiting":     {false, 4 * time.Second},
		"not waiting": {true, 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := newStub(t, func(s *stubSocket) {
				s.ws.SetCloseHandler(func(int, string) error {
					if test.cancel {
						cancel()
					}
					return nil
				})
				if s.open() {
					s.echo()
				}
				<-t.Context().Done() // the socket stays
			})
			start := time.Now()
			r, err := Run(ctx, n.options("idle", func(o *Options) { o.Clients, o.Duration = 300, 100*time.Millisecond }))
			if err != nil {
				t.Fatal(err)
			}
			opening := time.Duration(r.Opens.Seconds * float64(time.Second))
			if took := time.Since(start) - opening; took > test.most {
				t.Errorf("it took %s after the opening", took)
			}
			if r.Interrupted || r.Errors > 0 {
				t.Errorf("interrupted: %t, %+v", r.Interrupted, r.Failures)
			}
		})
	}
}

// started runs a program until the test ends, or it is killed.
func started(t *testing.T, name string, args ...string) (pid int, kill func()) {
	t.Helper()
	if _, err := readUsage(os.Getpid()); err != nil {
		t.Skip("there is no /proc")
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	return cmd.Process.Pid, kill
}

// TestProcess: what could not be read of the gateway's process is not there, instead
// of being wrong.
func TestProcess(t *testing.T) {
	echo := func(s *stubSocket) {
		if s.open() {
			s.echo()
		}
	}
	written := func(t *testing.T, r *Report) (fields map[string]any, table string) {
		t.Helper()
		var text, b bytes.Buffer
		if err := r.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		var all struct{ Process map[string]any }
		if err := json.Unmarshal(text.Bytes(), &all); err != nil {
			t.Fatal(err)
		}
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "-") || strings.Contains(b.String(), "NaN") {
			t.Errorf("the table has nonsense:\n%s", b.String())
		}
		return all.Process, b.String()
	}
	t.Run("gone", func(t *testing.T) {
		pid, kill := started(t, "sleep", "100")
		r := newStub(t, echo).run(func(o *Options) {
			o.PID, o.Line, o.Duration, o.Progress = pid, true, 1500*time.Millisecond, whenReceived(kill)
		}, "echo")
		fields, table := written(t, r)
		for _, name := range []string{"rss_end", "rss_per_session", "cpu_us_per_message", "cores_per_1000_sessions"} {
			if v, ok := fields[name]; ok {
				t.Errorf("%s is %v", name, v)
			}
		}
		if !r.Process.Gone || r.Process.RSSMost == 0 || r.Process.RSSOpen == 0 || !strings.Contains(table, "it has gone") {
			t.Errorf("%+v\n%s", r.Process, table)
		}
	})
	t.Run("interrupted while opening", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := newStub(t, func(s *stubSocket) {
			if s.number == 3 {
				cancel()
			}
			echo(s)
		})
		pid, _ := started(t, "sleep", "100")
		r, err := Run(ctx, n.options("echo", func(o *Options) { o.PID, o.Ramp = pid, 20 }))
		if err != nil {
			t.Fatal(err)
		}
		fields, _ := written(t, r)
		for _, name := range []string{"rss_open", "rss_end", "rss_per_session", "cores", "cpu_us_per_message"} {
			if v, ok := fields[name]; ok {
				t.Errorf("%s is %v", name, v)
			}
		}
		if !r.Interrupted || r.Process.Gone || r.Process.RSSMost == 0 {
			t.Errorf("interrupted: %t, %+v", r.Interrupted, r.Process)
		}
	})
	t.Run("churn", func(t *testing.T) {
		r := newStub(t, echo).run(func(o *Options) { o.PID = os.Getpid() }, "churn")
		fields, table := written(t, r)
		if _, ok := fields["rss_per_session"]; ok || r.Process.Gone || r.Process.RSSMost == 0 || r.Process.CPUMsPerOpen <= 0 || !strings.Contains(table, "ms a visit") {
			t.Errorf("%+v\n%s", r.Process, table)
		}
	})
	t.Run("an open costs what the opening does", func(t *testing.T) {
		pid, _ := started(t, "sh", "-c", "while :; do :; done")
		r := newStub(t, echo).run(func(o *Options) { o.PID, o.Settle = pid, 700*time.Millisecond }, "idle")
		if p := r.Process; p.CPUMsPerOpen*5 > 1000*p.OpeningSeconds+400 {
			t.Errorf("%+v", p)
		}
	})
}

// TestInterruptedBefore: who ends the run before the clock starts has measured nothing.
func TestInterruptedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := newStub(t, func(s *stubSocket) {
		if s.open() {
			s.echo()
		}
	})
	r, err := Run(ctx, n.options("echo", func(o *Options) {
		o.Settle, o.Line = time.Hour, true
		o.Progress = when{"signing", cancel}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Seconds != 0 || r.Messages.Sent != 0 || r.Opens.Number != 5 {
		t.Errorf("%+v", r)
	}
}

// when is a progress that calls a function when it has a word.
type when struct {
	word string
	call func()
}

func (w when) Write(line []byte) (int, error) {
	if strings.Contains(string(line), w.word) {
		w.call()
	}
	return len(line), nil
}

// TestNoGateway: what listens there is something else.
func TestNoGateway(t *testing.T) {
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(nil)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the client breaks off
	secure.StartTLS()
	t.Cleanup(secure.Close)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail.example ESMTP\r\n"))
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = other.Close()
		group.Wait()
	})
	address := func(url string) string { return url[strings.LastIndex(url, "/")+1:] }
	n := newStub(t, func(*stubSocket) {})
	for name, test := range map[string]struct{ gateway, want string }{
		"HTTP":                      {"ws://" + address(plain.URL), "refused with HTTP 404"},
		"no TLS":                    {"wss://" + address(plain.URL), "no TLS there"},
		"a certificate of its own":  {"wss://" + address(secure.URL), "certificate not trusted"},
		"something else altogether": {"ws://" + other.Addr().String(), "no HTTP there"},
	} {
		t.Run(name, func(t *testing.T) {
			r := n.run(func(o *Options) { o.Gateway, o.Clients = test.gateway, 1 }, "idle")
			if r.Errors != 1 || r.Failures[0].Kind != test.want {
				t.Errorf("%+v, want %q", r.Failures, test.want)
			}
		})
	}
}

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		pace   pace
		passed time.Duration
		want   int
	}{
		"no pace":                {pace{}, time.Second, 0},
		"the first is due":       {pace{0, 100e6}, 1, 1},
		"before the first":       {pace{50 * ms, 100e6}, 50 * ms, 0},
		"after it":               {pace{50 * ms, 100e6}, 51 * ms, 1},
		"none at the end itself": {pace{0, 100e6}, 500 * ms, 5},
		"one just before":        {pace{0, 100e6}, 501 * ms, 6},
		"rarer than the time":    {pace{0, 3600e9}, time.Second, 1},
	} {
		if got := test.pace.due(test.passed); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestEvery: in whole seconds as many messages are due as the rate says.
func TestEvery(t *testing.T) {
	for _, rate := range []float64{0.1, 1, 1.3, 3, 7, 1000.0 / 64, 333, 1000, 99_999, 1e6} {
		p := pace{interval: every(rate)}
		for _, seconds := range []int{1, 4, 10, 60} {
			want := int(math.Ceil(rate*float64(seconds) - 1e-3))
			if got := p.due(time.Duration(seconds) * time.Second); got != want {
				t.Errorf("%g a second: %d due in %d s, want %d", rate, got, seconds, want)
			}
		}
	}
}
