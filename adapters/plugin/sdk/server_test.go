package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// An adapter of functions, for tests.
type funcs struct {
	open    func(context.Context, Envelope) error
	message func(context.Context, Envelope) error
	close   func(context.Context, Principal, ClientKey, bool) error
	poll    func(context.Context, Principal, uint64) (Batch, error)
	check   func(context.Context, Principal) error
	watch   func(context.Context, Principal, func()) error
	end     func()
}

func (f *funcs) Open(ctx context.Context, env Envelope) error    { return f.open(ctx, env) }
func (f *funcs) Message(ctx context.Context, env Envelope) error { return f.message(ctx, env) }
func (f *funcs) Close(ctx context.Context, canister Principal, client ClientKey, lost bool) error {
	return f.close(ctx, canister, client, lost)
}
func (f *funcs) Poll(ctx context.Context, canister Principal, from uint64) (Batch, error) {
	return f.poll(ctx, canister, from)
}
func (f *funcs) Check(ctx context.Context, canister Principal) error { return f.check(ctx, canister) }
func (f *funcs) Watch(ctx context.Context, canister Principal, changed func()) error {
	return f.watch(ctx, canister, changed)
}
func (f *funcs) End() {
	if f.end != nil {
		f.end()
	}
}

var (
	anOpen    = func() *contract.OpenRequest { return &contract.OpenRequest{Route: 1, Envelope: protoEnv()} }
	aMessage  = func() *contract.MessageRequest { return &contract.MessageRequest{Route: 1, Envelope: protoEnv()} }
	protoPair = &contract.ClientKey{Principal: []byte("client"), Nonce: 7}
)

// What a handler gets is what the relay has said.
func TestArguments(t *testing.T) {
	var env Envelope
	var closed, polled, checked, watched string
	st := with(t, &funcs{
		open:    func(_ context.Context, e Envelope) error { env = e; return nil },
		message: func(_ context.Context, e Envelope) error { env = e; return nil },
		close: func(_ context.Context, c Principal, k ClientKey, lost bool) error {
			closed = fmt.Sprint(c, k, lost)
			return nil
		},
		poll: func(_ context.Context, c Principal, from uint64) (Batch, error) {
			polled = fmt.Sprint(c, from)
			return Batch{}, nil
		},
		check: func(_ context.Context, c Principal) error { checked = fmt.Sprint(c); return nil },
		watch: func(_ context.Context, c Principal, _ func()) error { watched = fmt.Sprint(c); return nil },
	})
	ok := func(outcome *contract.Outcome, err error) {
		t.Helper()
		if err != nil || outcome.GetKind() != contract.Outcome_OK {
			t.Fatal(outcome, err)
		}
	}
	ok(st.Open(soon(t), anOpen()))
	if env.Canister != aCanister || env.Client != aClient || !bytes.Equal(env.RequestID[:], aRequest) || env.Expiry.UnixNano() != 1_700_000_000_000_000_001 ||
		!bytes.Equal(env.Bytes, someBytes) || env.Header != nil || env.Content() != nil {
		t.Fatalf("envelope = %+v", env)
	}
	message := aMessage()
	message.Header = &contract.MessageHeader{SequenceNum: 3, Timestamp: 1<<64 - 1, IsServiceMessage: true, ContentStart: 17, ContentEnd: 24}
	ok(st.Message(soon(t), message))
	if string(env.Content()) != "content" || env.Header.SequenceNum != 3 || !env.Header.IsServiceMessage || env.Header.Timestamp.Year() != 2554 {
		t.Fatalf("header = %+v", env.Header)
	}
	ok(st.Close(soon(t), &contract.CloseRequest{Route: 1, Canister: aCanister.Bytes(), Client: protoPair, Lost: true}))
	ok(st.Check(soon(t), &contract.CheckRequest{Route: 1, Canister: aCanister.Bytes()}))
	if got, err := parts(st.Poll(soon(t), &contract.PollRequest{Route: 1, Canister: aCanister.Bytes(), From: 5})); err != nil || len(got) > 0 {
		t.Fatal(got, err)
	}
	stream, err := st.Watch(soon(t), &contract.WatchRequest{Route: 1, Canister: aCanister.Bytes()})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Convert(err).Message() != "EOF" {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		closed:  fmt.Sprint(aCanister, aClient, true),
		polled:  fmt.Sprint(aCanister, 5),
		checked: fmt.Sprint(aCanister),
		watched: fmt.Sprint(aCanister),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// What the contract does not allow does not reach a handler.
func TestBadArguments(t *testing.T) {
	st := with(t, &Base{messages: 1})
	change := func(f func(*contract.MessageRequest)) *contract.MessageRequest {
		message := aMessage()
		f(message)
		return message
	}
	for name, message := range map[string]*contract.MessageRequest{
		"no envelope":        {Route: 1},
		"a long canister":    change(func(m *contract.MessageRequest) { m.Envelope.Canister = make([]byte, 30) }),
		"no client":          change(func(m *contract.MessageRequest) { m.Envelope.Client = nil }),
		"an empty principal": change(func(m *contract.MessageRequest) { m.Envelope.Client = &contract.ClientKey{} }),
		"a long principal":   change(func(m *contract.MessageRequest) { m.Envelope.Client.Principal = make([]byte, 30) }),
		"a short request id": change(func(m *contract.MessageRequest) { m.Envelope.RequestId = aRequest[:31] }),
		"a long request id":  change(func(m *contract.MessageRequest) { m.Envelope.RequestId = make([]byte, 33) }),
		"content backwards":  change(func(m *contract.MessageRequest) { m.Header = &contract.MessageHeader{ContentStart: 2, ContentEnd: 1} }),
		"content beyond":     change(func(m *contract.MessageRequest) { m.Header = &contract.MessageHeader{ContentEnd: 1 << 63} }),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := st.Message(soon(t), message); status.Code(err) != codes.InvalidArgument {
				t.Fatal(err)
			}
		})
	}
}

// What a handler returns, and what the relay hears.
func TestErrors(t *testing.T) {
	busy, _ := status.New(codes.Unavailable, "the network is busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	long := strings.Repeat("ä", 2000)
	for _, tc := range []struct {
		name    string
		err     error
		outcome *contract.Outcome
		code    codes.Code
		text    string
	}{
		{name: "nil", outcome: &contract.Outcome{}},
		{name: "refused", err: Refused("no %d", 1), outcome: &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: "no 1"}},
		{name: "refused, wrapped", err: fmt.Errorf("gate: %w", Refused("no")), outcome: &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: "no"}},
		{name: "refused, not UTF-8", err: Refused("a\xffb"), outcome: &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: "a\uFFFDb"}},
		{name: "refused, long", err: Refused("%s", long), outcome: &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: long[:2044] + "..."}},
		{name: "unavailable", err: Unavailable("later"), outcome: &contract.Outcome{Kind: contract.Outcome_UNAVAILABLE, Text: "later"}},
		{
			name: "unavailable for a while", err: &UnavailableError{"later", 1500 * time.Millisecond},
			outcome: &contract.Outcome{Kind: contract.Outcome_UNAVAILABLE, Text: "later", RetryAfterMs: 1500},
		},
		{name: "any other", err: errors.New("disk full"), code: codes.Unknown, text: "disk full"},
		{name: "any other, long and not UTF-8", err: errors.New(long + "\xff"), code: codes.Unknown, text: long[:2044] + "..."},
		{name: "cancelled", err: fmt.Errorf("x: %w", context.Canceled), code: codes.Canceled, text: "x: context canceled"},
		{name: "too late", err: context.DeadlineExceeded, code: codes.DeadlineExceeded, text: "context deadline exceeded"},
		{name: "of the base", err: failed("Base.Open", busy.Err()), code: codes.Unavailable, text: "Base.Open: the network is busy"},
		{name: "of the base, wrapped", err: fmt.Errorf("gate: %w", failed("Base.Open", busy.Err())), code: codes.Unavailable, text: "gate: Base.Open: the network is busy"},
		{name: "a method that the relay does not have", err: failed("x", status.Error(codes.Unimplemented, "y")), code: codes.Unknown, text: "x: y"},
		{name: "a reject", err: &RejectError{Code: 5, Text: "trapped"}, code: codes.Unknown, text: "rejected (code 5): trapped"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := with(t, &funcs{
				open:  func(context.Context, Envelope) error { return tc.err },
				poll:  func(context.Context, Principal, uint64) (Batch, error) { return Batch{}, tc.err },
				watch: func(context.Context, Principal, func()) error { return tc.err },
			})
			check := func(outcome *contract.Outcome, err error) {
				t.Helper()
				if s := status.Convert(err); s.Code() != tc.code || (tc.code != codes.OK && s.Message() != tc.text) {
					t.Fatalf("err = %v, want %s: %s", err, tc.code, tc.text)
				}
				if strings.HasPrefix(tc.name, "of the base") && len(status.Convert(err).Details()) != 1 {
					t.Error("the relay is not told when to try again")
				}
				if err == nil && !proto.Equal(outcome, tc.outcome) {
					t.Fatalf("outcome = %v, want %v", outcome, tc.outcome)
				}
			}
			check(st.Open(soon(t), anOpen()))
			batch, err := parts(st.Poll(soon(t), &contract.PollRequest{Route: 1}))
			switch {
			case tc.err == nil:
				if err != nil || len(batch) > 0 {
					t.Fatal(batch, err)
				}
				return
			case err == nil:
				check(batch[0].Outcome, nil)
			default:
				check(nil, err)
			}
			stream, err := st.Watch(soon(t), &contract.WatchRequest{Route: 1})
			if err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) == codes.OK || status.Code(err) == codes.Unimplemented {
				t.Fatalf("Watch = %v", err)
			}
		})
	}
}

// A panic ends its call and is in the log, with the place where it was.
func TestPanics(t *testing.T) {
	adapter := &funcs{ // functions that are not there
		end: func() { panic("at the end") },
	}
	st := with(t, adapter)
	calls := map[string]func() error{
		"Open":    func() error { _, err := st.Open(soon(t), anOpen()); return err },
		"Message": func() error { _, err := st.Message(soon(t), aMessage()); return err },
		"Close": func() error {
			_, err := st.Close(soon(t), &contract.CloseRequest{Route: 1, Client: protoPair})
			return err
		},
		"Poll": func() error { _, err := parts(st.Poll(soon(t), &contract.PollRequest{Route: 1})); return err },
		"Check": func() error {
			_, err := st.Check(soon(t), &contract.CheckRequest{Route: 1})
			return err
		},
		"Watch": func() error {
			stream, err := st.Watch(soon(t), &contract.WatchRequest{Route: 1})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			if err := call(); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "panicked in "+name) {
				t.Fatal(err)
			}
			for _, want := range []string{`"method":"` + name + `"`, "nil pointer", "server_test.go"} {
				if !st.log.Contains(want) {
					t.Errorf("no %s in the log: %s", want, &st.log)
				}
			}
		})
	}
	if _, err := st.EndRoute(soon(t), &contract.EndRouteRequest{Route: 1}); status.Code(err) != codes.Internal || !st.log.Contains("at the end") {
		t.Error(err)
	}
	if _, err := st.Ping(soon(t), &contract.PingRequest{}); err != nil {
		t.Error(err)
	}
}

// The context of a handler ends when the relay has given up, and with it what
// the handler asks of the base.
func TestCancellation(t *testing.T) {
	reached, ended := make(chan struct{}), make(chan error, 1)
	st := onBase(t, func(route *Route) any {
		return &funcs{open: func(ctx context.Context, env Envelope) error {
			err := route.Base.Open(ctx, env)
			ended <- err
			return err
		}}
	})
	st.relay.onOpen = func(ctx context.Context, _ *contract.OpenRequest) (*contract.Outcome, error) {
		close(reached)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(soon(t))
	go func() {
		<-reached
		cancel()
	}()
	if _, err := st.Open(ctx, anOpen()); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// Routes begin and end.
func TestRoutes(t *testing.T) {
	var life context.Context
	var got *Route
	fail := errors.New(`settings: unknown key "x"`)
	ended := 0
	st := newStage(t, func(ctx context.Context, route *Route) (any, error) {
		life, got = ctx, route
		return &funcs{
			check: func(context.Context, Principal) error { return nil },
			end: func() {
				if ctx.Err() == nil {
					t.Error("End comes before the end of the context")
				}
				ended++
			},
		}, fail
	})
	check := func(want codes.Code) {
		t.Helper()
		if _, err := st.Check(soon(t), &contract.CheckRequest{Route: 4}); status.Code(err) != want {
			t.Fatalf("Check = %v, want %s", err, want)
		}
	}
	start := &contract.StartRouteRequest{
		Route: 4, Adapter: "gate", Canister: aCanister.Bytes(), Settings: []byte(`{"a":"b"}`), Gateway: []byte("gateway"), Base: "relay",
		BaseWindow: &contract.Window{Messages: 64, Bytes: 1 << 20}, Canisters: map[string][]byte{"echo": []byte("e")}, RelayVersion: "1.2",
	}
	check(codes.NotFound)
	if answer := st.started(t, start); answer.Problem != fail.Error() {
		t.Fatalf("answer = %v", answer)
	}
	check(codes.NotFound)
	if life.Err() == nil {
		t.Error("the context of a route that does not start goes on")
	}

	fail = nil
	if answer := st.started(t, start); answer.Problem != "" {
		t.Fatal(answer.Problem)
	}
	check(codes.OK)
	if got.Adapter != "gate" || got.Canister != aCanister || got.Gateway != "gateway" || got.BaseName != "relay" || got.RelayVersion != "1.2" || got.Canisters["echo"] != "e" {
		t.Errorf("route = %+v", got)
	}
	if messages, size := got.Base.Window(); messages != 64 || size != 1<<20 {
		t.Errorf("the base's window is %d, %d", messages, size)
	}
	if _, err := st.StartRoute(soon(t), start); status.Code(err) != codes.AlreadyExists {
		t.Errorf("the same again: %v", err)
	}
	if _, err := st.Check(soon(t), &contract.CheckRequest{Route: 5}); status.Code(err) != codes.NotFound {
		t.Errorf("another route: %v", err)
	}

	for range 2 {
		if _, err := st.EndRoute(soon(t), &contract.EndRouteRequest{Route: 4}); err != nil {
			t.Fatal(err)
		}
	}
	check(codes.NotFound)
	if ended != 1 {
		t.Errorf("ended %d times", ended)
	}
}

// An end of the process ends all routes, whatever one of them does.
func TestStop(t *testing.T) {
	watching, ended := make(chan struct{}), make(chan string, 3)
	st := newStage(t, func(ctx context.Context, route *Route) (any, error) {
		return &funcs{
			watch: func(ctx context.Context, _ Principal, _ func()) error {
				close(watching)
				<-ctx.Done()
				ended <- "watch"
				return nil
			},
			end: func() {
				<-ctx.Done()
				ended <- route.Adapter
				panic("never mind")
			},
		}, nil
	})
	st.started(t, &contract.StartRouteRequest{Route: 1, Adapter: "end"})
	st.started(t, &contract.StartRouteRequest{Route: 2, Adapter: "end"})
	if _, err := st.Watch(soon(t), &contract.WatchRequest{Route: 1}); err != nil {
		t.Fatal(err)
	}
	<-watching
	st.s.stop(st.g, st.end)
	got := map[string]int{<-ended: 1}
	got[<-ended]++
	got[<-ended]++
	if got["watch"] != 1 || got["end"] != 2 {
		t.Errorf("ended: %v", got)
	}
}

// A start that takes longer than the relay waits comes to nothing.
func TestStartTooLate(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan struct{})
	st := newStage(t, func(ctx context.Context, _ *Route) (any, error) {
		close(entered)
		<-ctx.Done()
		return &funcs{end: func() { close(ended) }}, nil
	})
	ctx, cancel := context.WithCancel(soon(t))
	go func() {
		<-entered
		cancel()
	}()
	if _, err := st.StartRoute(ctx, &contract.StartRouteRequest{Route: 1}); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	<-ended
	if _, err := st.Check(soon(t), &contract.CheckRequest{Route: 1}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

// A start that panics, or returns what is no adapter, has come to nothing too.
func TestStartPanics(t *testing.T) {
	first := true
	st := newStage(t, func(context.Context, *Route) (any, error) {
		if first {
			first = false
			panic("no")
		}
		return nil, nil
	})
	if _, err := st.StartRoute(soon(t), &contract.StartRouteRequest{Route: 1}); status.Code(err) != codes.Internal {
		t.Fatal(err)
	}
	if answer := st.started(t, &contract.StartRouteRequest{Route: 1}); answer.Problem != "" || len(answer.Handles) != 0 {
		t.Fatal(answer)
	}
}

// Both sides of the contract grow: what one does not know does no harm.
func TestLaterContracts(t *testing.T) {
	st := with(t, &opener{})
	err := st.conn.Invoke(soon(t), "/icrelay.adapter.v1.Plugin/Dance", &contract.PingRequest{}, &contract.PingResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
	if _, err := st.Check(soon(t), &contract.CheckRequest{Route: 1}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that the adapter does not have: %v", err)
	}
	later := anOpen()
	later.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1))
	if outcome, err := st.Open(soon(t), later); err != nil || outcome.Kind != contract.Outcome_OK {
		t.Errorf("an unknown field: %v, %v", outcome, err)
	}
}
