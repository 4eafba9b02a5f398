//go:build unix

package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Methods that the process does not handle go to the base without crossing, and
// so do those that it says it handles and does not have.
func TestWhoIsAsked(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	for _, tc := range []struct{ name, settings string }{
		{"nothing is handled", `{"handles":[],"answer":"refused"}`},
		{"everything is handled, and passed on", `{}`},
		{"everything is handled, and not there", `{"lacks":true}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := newFakeBase()
			base.batch = bridge.Batch{Messages: []candid.OutputMessage{{ClientKey: candid.ClientKey{Principal: "p", Nonce: 1}, Key: "k_0", Content: []byte("c")}}, Cert: []byte("cert"), Tree: []byte("tree")}
			a := b.add(base, tc.settings)
			env, changed := message(t, "hello"), make(chan struct{}, 100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			watched := make(chan error, 1)
			go func() { watched <- a.Watch(ctx, testCanister, func() { changed <- struct{}{} }) }()
			batch, err := a.Poll(t.Context(), testCanister, 4)
			for name, err := range map[string]error{
				"open":    a.Open(t.Context(), env),
				"message": a.Message(t.Context(), env),
				"close":   a.Close(t.Context(), testCanister, env.Client),
				"lost":    a.Lost(t.Context(), testCanister, env.Client),
				"check":   a.Check(t.Context(), testCanister),
				"poll":    err,
			} {
				if err != nil || base.count(name) != 1 {
					t.Errorf("%s: %v, the base was asked %d times", name, err, base.count(name))
				}
			}
			if len(batch.Messages) != 1 || batch.Messages[0].Key != "k_0" || string(batch.Cert) != "cert" || string(batch.Tree) != "tree" || batch.EndOfQueue {
				t.Errorf("batch = %+v", batch)
			}
			if base.last.RequestID != env.RequestID || string(base.last.Bytes) != string(env.Bytes) || base.last.Client != env.Client || !base.last.Expiry.Equal(env.Expiry) {
				t.Error("the base got another envelope")
			}
			<-changed
			cancel()
			if err := <-watched; !errors.Is(err, context.Canceled) {
				t.Errorf("watch: %v", err)
			}
			if n := len(b.current.underway.envelopes); n != 0 {
				t.Errorf("%d envelopes are still under way", n)
			}
		})
	}
}

func TestWindowOfProcess(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	for _, tc := range []struct {
		name, settings  string
		messages, bytes int
	}{
		{"that of the base", `{"handles":["POLL"]}`, 5, 5000},
		{"passed on", `{}`, 5, 5000},
		{"any number of bytes", `{"window":7}`, 7, maxWindowBytes},
		{"too many", `{"window":4000000000}`, maxWindowMessages, maxWindowBytes},
	} {
		messages, bytes := b.add(newFakeBase(), tc.settings).Window()
		if messages != tc.messages || bytes != tc.bytes {
			t.Errorf("%s: window of %d messages and %d bytes, want %d and %d", tc.name, messages, bytes, tc.messages, tc.bytes)
		}
	}
}

// What the process answers, good or bad, becomes one of the adapter's errors.
func TestAnswers(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	is := func(kind, part string) func(error) string {
		return func(err error) string {
			text, refused := bridge.RefusalText(err)
			var unavailable *bridge.UnavailableError
			switch {
			case kind == "refused" && (!refused || len(text) > maxText+10 || !strings.Contains(text, part)),
				kind == "unavailable" && (!errors.As(err, &unavailable) || unavailable.Text != part || ic.RetryAfter(err) != 7*time.Second),
				kind == "not reached" && (err == nil || refused || errors.As(err, &unavailable) || !strings.Contains(err.Error(), part)),
				kind == "ok" && err != nil:
				return fmt.Sprintf("error is %.300v, want %s with %q", err, kind, part)
			}
			return ""
		}
	}
	for _, tc := range []struct {
		answer        string
		message, poll func(error) string
	}{
		{"refused", is("refused", "members only"), is("refused", "members only")},
		{"refused without a word", is("refused", "adapter trial refuses"), is("refused", "adapter trial refuses")},
		{"refused at length", is("refused", "no no"), is("refused", "no no")},
		{"unavailable", is("unavailable", "in a minute"), is("unavailable", "in a minute")},
		{"unknown kind", is("not reached", "unknown kind 77"), is("not reached", "unknown kind 77")},
		{"not reached", is("not reached", "broken"), is("not reached", "broken")},
		{"long error", is("not reached", "Internal"), is("not reached", "Internal")},
		{"huge", is("not reached", "larger than max"), is("not reached", "larger than max")},
		{"endless", nil, is("not reached", "a batch may have")},
		{"many parts", nil, is("not reached", "a batch may have")},
		{"no client", nil, is("not reached", "0 bytes")},
		{"long principal", nil, is("not reached", "30 bytes")},
		{"long key", nil, is("not reached", "1000 bytes")},
		{"two certificates", nil, is("not reached", "two parts")},
		{"late outcome", nil, is("not reached", "an outcome after")},
		{"nothing", nil, is("ok", "")},
	} {
		t.Run(tc.answer, func(t *testing.T) {
			a := b.add(newFakeBase(), fmt.Sprintf(`{"answer":%q}`, tc.answer))
			if tc.message != nil {
				if problem := tc.message(a.Message(t.Context(), message(t, "x"))); problem != "" {
					t.Errorf("Message: %s", problem)
				}
				if problem := tc.message(a.Open(t.Context(), message(t, "x"))); problem != "" {
					t.Errorf("Open: %s", problem)
				}
			}
			batch, err := a.Poll(t.Context(), testCanister, 0)
			if problem := tc.poll(err); problem != "" {
				t.Errorf("Poll: %s", problem)
			}
			if len(batch.Messages) != 0 || err == nil && !batch.EndOfQueue {
				t.Errorf("batch = %+v", batch)
			}
		})
	}
	if b.Restarts() != 0 {
		t.Error("bad answers are no reason to start it anew")
	}
}

// Events without an end are passed on one at a time, with pauses.
func TestEventFlood(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	a := b.add(newFakeBase(), `{"answer":"events"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	n := 0
	start := time.Now()
	_ = a.Watch(ctx, testCanister, func() { n++ })
	if most := int(time.Since(start)/quick.events) + 2; n == 0 || n > most {
		t.Errorf("%d signals, want 1 to %d", n, most)
	}
}

// An error without end of a watch is cut for the log.
func TestLongErrorOfWatch(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	a := b.add(newFakeBase(), `{"answer":"long error"}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.Watch(ctx, testCanister, func() {})
	}()
	eventually(t, "the watch has ended", func() bool { return b.log.Contains("watch ended") })
	cancel()
	<-ended
	for line := range strings.Lines(b.log.String()) {
		if len(line) > maxText+500 {
			t.Errorf("a line of the log has %d bytes", len(line))
		}
	}
}

// A call ends with call_timeout, with the caller's context, and with the
// process, whatever the process does.
func TestCallsEnd(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(c *Config, timing *timing) {
		c.CallTimeout = 300 * time.Millisecond
		timing.ping = time.Hour
	})
	base := newFakeBase()
	base.set("message", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	a := b.add(base, `{}`)
	start := time.Now()
	if err := a.Message(t.Context(), message(t, "x")); err == nil || !strings.Contains(err.Error(), "DeadlineExceeded") {
		t.Errorf("at call_timeout: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := a.Message(ctx, message(t, "x")); err == nil {
		t.Error("cancelled: no error")
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("took %s", took)
	}
}

// A process that says nothing does not keep the canister from hearing that a
// client has gone: there is time for the base to tell it.
func TestCloseBesideTheDeaf(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(_ *Config, timing *timing) { timing.ping = time.Hour }) // nobody ends it for that
	base := newFakeBase()
	a := b.add(base, `{}`)
	stopAll(t, b.pid())
	for lost, method := range map[bool]string{false: "close", true: "lost"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := a.close(ctx, testCanister, candid.ClientKey{Principal: "p"}, lost); err != nil || base.count(method) != 1 {
			t.Errorf("%s: %v, the base was asked %d times", method, err, base.count(method))
		}
		cancel()
	}
}

// stopAll stops a process, and returns when none of its threads runs any more:
// those that do meanwhile may still answer.
func stopAll(t *testing.T, pid int) {
	t.Helper()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		running := 0
		for _, thread := range threads {
			stat, err := os.ReadFile(thread) //nolint:gosec // of the process under test
			if _, state, _ := strings.Cut(string(stat), ") "); err == nil && !strings.HasPrefix(state, "T") {
				running++
			}
		}
		if running == 0 {
			if len(threads) == 0 { // no /proc here
				time.Sleep(200 * time.Millisecond)
			}
			return
		}
	}
	t.Fatal("it does not stop")
}

// Large envelopes pass up to what a message can have; more is refused.
func TestLargeEnvelopes(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	base := newFakeBase()
	a := b.add(base, `{}`)
	if err := a.Message(t.Context(), message(t, strings.Repeat("x", maxEnvelope-1000))); err != nil || len(base.last.Bytes) < maxEnvelope-1000 {
		t.Errorf("the largest envelope: %v", err)
	}
	err := a.Message(t.Context(), message(t, strings.Repeat("x", maxEnvelope)))
	if text, refused := bridge.RefusalText(err); !refused || !strings.Contains(text, "too large") {
		t.Errorf("an envelope that is too large: %v", err)
	}
}

// The header has what the relay has read, and where the content is.
func TestHeader(t *testing.T) {
	t.Parallel()
	env := message(t, "the content")
	h := header(env.Bytes)
	if h.GetSequenceNum() != 3 || h.GetTimestamp() != 12345 || h.GetIsServiceMessage() || string(env.Bytes[h.GetContentStart():h.GetContentEnd()]) != "the content" {
		t.Errorf("header = %v", h)
	}
	if h := header(message(t, "").Bytes); h == nil || h.GetContentStart() != h.GetContentEnd() {
		t.Errorf("header of an empty message = %v", h)
	}
	for _, other := range [][]byte{nil, []byte("x"), envelope(t, "ws_message", candid.EncodeText("x")).Bytes} {
		if h := header(other); h != nil {
			t.Errorf("header of %.20q = %v", other, h)
		}
	}
}

// Errors of the base keep their kind and the time that was asked for, both ways.
func TestErrorsOfBase(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	wait := &ic.HTTPError{Status: 429, RetryAfter: 7 * time.Second}
	for _, tc := range []struct {
		name    string
		err     error
		refused string
		retry   time.Duration
		un      bool
	}{
		{"refused", fmt.Errorf("call: %w", bridge.Refused("no")), "no", 0, false},
		{"unavailable", &bridge.UnavailableError{Text: "stopped", Err: wait}, "", 7 * time.Second, true},
		{"not reached", errors.New("connection refused"), "", 0, false},
		{"asked for time", fmt.Errorf("call: %w", wait), "", 7 * time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := newFakeBase()
			for _, method := range []string{"open", "message", "close", "poll", "check"} {
				base.set(method, func(context.Context) error { return tc.err })
			}
			a := b.add(base, `{}`)
			_, polled := a.Poll(t.Context(), testCanister, 0)
			for method, err := range map[string]error{
				"open":    a.Open(t.Context(), message(t, "x")),
				"message": a.Message(t.Context(), message(t, "x")),
				"close":   a.Close(t.Context(), testCanister, candid.ClientKey{Principal: "p"}),
				"check":   a.Check(t.Context(), testCanister),
				"poll":    polled,
			} {
				text, refused := bridge.RefusalText(err)
				if err == nil || refused != (tc.refused != "") || !strings.Contains(text, tc.refused) {
					t.Errorf("%s: %v", method, err)
				}
				if got := errors.As(err, new(*bridge.UnavailableError)); got != tc.un {
					t.Errorf("%s: unavailable: %v", method, err)
				}
				if got := ic.RetryAfter(err); got != tc.retry {
					t.Errorf("%s: asked to wait %s, want %s", method, got, tc.retry)
				}
			}
		})
	}
}

// What a process asks of the base of a route, the relay believes only as far as
// it can check.
func TestBaseCalls(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	base := newFakeBase()
	bound, err := b.Route(t.Context(), Route{Canister: testCanister, Base: base, BaseName: "cdk"})
	if err != nil {
		t.Fatal(err)
	}
	service := &baseService{incarnation: b.current}
	env, other := message(t, "x"), message(t, "y")
	with := func(change func(*contract.Envelope)) *contract.Envelope {
		e := envelopeMessage(env)
		change(e)
		return e
	}
	told := 0
	forget := b.current.underway.add(ic.WithAnswered(t.Context(), func() { told++ }), &other)
	for _, tc := range []struct {
		name     string
		route    uint64
		envelope *contract.Envelope
		want     codes.Code
	}{
		{"with its bytes", bound.number, with(func(*contract.Envelope) {}), codes.OK},
		{"with little besides", bound.number, &contract.Envelope{Canister: testCanister.Bytes(), Bytes: env.Bytes}, codes.OK},
		{"under way", bound.number, &contract.Envelope{Canister: testCanister.Bytes(), RequestId: other.RequestID[:]}, codes.OK},
		{"not under way", bound.number, with(func(e *contract.Envelope) { e.Bytes = nil }), codes.FailedPrecondition},
		{"nothing", bound.number, nil, codes.InvalidArgument},
		{"another route", 99, with(func(*contract.Envelope) {}), codes.NotFound},
		{"another canister", bound.number, with(func(e *contract.Envelope) { e.Canister = []byte("another") }), codes.PermissionDenied},
		{"no canister", bound.number, with(func(e *contract.Envelope) { e.Canister = nil }), codes.InvalidArgument},
		{"another request id", bound.number, with(func(e *contract.Envelope) { e.RequestId = make([]byte, 32) }), codes.InvalidArgument},
		{"another sender", bound.number, with(func(e *contract.Envelope) { e.Client.Principal = []byte("p") }), codes.InvalidArgument},
		{"no envelope in the bytes", bound.number, with(func(e *contract.Envelope) { e.Bytes = []byte("x") }), codes.InvalidArgument},
		{"expired", bound.number, &contract.Envelope{Canister: testCanister.Bytes(), Bytes: expired(t)}, codes.InvalidArgument},
	} {
		_, err := service.Message(t.Context(), &contract.MessageRequest{Route: tc.route, Envelope: tc.envelope})
		if status.Code(err) != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	forget()
	if told != 1 {
		t.Errorf("told %d times of the answer to the call under way", told)
	}
	if _, err := service.Close(t.Context(), &contract.CloseRequest{Route: bound.number, Canister: testCanister.Bytes()}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("close of nobody: %v", err)
	}
}

func expired(t *testing.T) []byte {
	t.Helper()
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	env := ic.NewCall(testCanister, "ws_message", nil, time.Now().Add(-time.Hour))
	if err := ic.Sign(env, identity); err != nil {
		t.Fatal(err)
	}
	return env.Encode()
}

// A process has so many calls under way; its bases it may ask once more for each
// call of the relay, whatever else it does.
func TestMaxCalls(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(c *Config, _ *timing) { c.MaxCalls = 3 })
	i := b.current
	enter := func(method string, want bool) {
		t.Helper()
		if _, ok := i.enter(method); ok != want {
			t.Errorf("%s is let through: %v, want %v", method, ok, want)
		}
	}
	for range 3 {
		enter(contract.Host_Query_FullMethodName, true)
	}
	enter(contract.Host_Call_FullMethodName, false)
	for range 3 {
		enter(contract.Adapter_Poll_FullMethodName, true)
	}
	enter(contract.Adapter_Open_FullMethodName, false)
	i.given.Add(1)
	enter(contract.Host_Call_FullMethodName, false)
	enter(contract.Adapter_Open_FullMethodName, true)
	enter(contract.Adapter_Open_FullMethodName, false)
	_, err := i.limitCall(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: contract.Host_Call_FullMethodName}, nil)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a call too many: %v", err)
	}
	if n := b.log.Count("max_calls"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

// Retry information is read from any status.
func TestRetryInfo(t *testing.T) {
	t.Parallel()
	err := statusOf(&ic.HTTPError{Status: 503, RetryAfter: time.Second})
	if details := status.Convert(err).Details(); len(details) != 1 || details[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration() != time.Second {
		t.Errorf("details = %v", details)
	}
	for err, want := range map[error]codes.Code{context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded, errors.New("x"): codes.Unavailable} {
		if got := status.Code(statusOf(err)); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
	if got := shorten(strings.Repeat("ä", 100), 5); got != "ää..." {
		t.Errorf("cut to %q", got)
	}
	if readRetryAfter(1<<63) != time.Hour {
		t.Error("a time without bound")
	}
}

// Memory that grows without an end is found out; the bound is the configuration's.
func TestLeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells how much memory a process has")
	}
	t.Parallel()
	b := startProcess(t, func(c *Config, _ *timing) { c.Memory = 384 << 20 })
	a := b.add(newFakeBase(), `{}`)
	pid := b.pid()
	_ = a.Message(t.Context(), message(t, "fault:leak"))
	eventually(t, "another process", func() bool { return b.Up() && b.pid() != pid })
	if !b.log.Contains("MiB of memory, and may have 384 (memory)") {
		t.Error("the log does not say why")
	}
}
