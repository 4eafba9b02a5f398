package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// An adapter that is nothing but the base passes on what it gets. Envelopes are
// passed on without their bytes, which the relay has.
func TestPassThrough(t *testing.T) {
	st := onBase(t, func(route *Route) any { return route.Base })
	bare := protoEnv()
	bare.Bytes = nil
	want := &contract.Outcome{Kind: contract.Outcome_UNAVAILABLE, Text: "later", RetryAfterMs: 7}
	check := func(got, wanted proto.Message) (*contract.Outcome, error) {
		if !proto.Equal(got, wanted) {
			t.Errorf("the base gets %v, want %v", got, wanted)
		}
		return want, nil
	}
	st.relay.onOpen = func(_ context.Context, req *contract.OpenRequest) (*contract.Outcome, error) {
		return check(req, &contract.OpenRequest{Route: 1, Envelope: bare})
	}
	st.relay.onMessage = func(_ context.Context, req *contract.MessageRequest) (*contract.Outcome, error) {
		return check(req, &contract.MessageRequest{Route: 1, Envelope: bare})
	}
	gone := &contract.CloseRequest{Route: 1, Canister: aCanister.Bytes(), Client: protoPair, Lost: true}
	st.relay.onClose = func(req *contract.CloseRequest) (*contract.Outcome, error) { return check(req, gone) }
	look := &contract.CheckRequest{Route: 1, Canister: aCanister.Bytes()}
	st.relay.onCheck = func(req *contract.CheckRequest) (*contract.Outcome, error) { return check(req, look) }
	poll := &contract.PollRequest{Route: 1, Canister: aCanister.Bytes(), From: 9}
	st.relay.onPoll = func(req *contract.PollRequest, send func(*contract.PollPart) error) error {
		outcome, _ := check(req, poll)
		return send(&contract.PollPart{Outcome: outcome})
	}
	for name, call := range map[string]func() (*contract.Outcome, error){
		"Open": func() (*contract.Outcome, error) { return st.Open(soon(t), anOpen()) },
		"Message": func() (*contract.Outcome, error) {
			message := aMessage()
			message.Header = &contract.MessageHeader{SequenceNum: 1}
			return st.Message(soon(t), message)
		},
		"Close": func() (*contract.Outcome, error) { return st.Close(soon(t), gone) },
		"Check": func() (*contract.Outcome, error) { return st.Check(soon(t), look) },
		"Poll": func() (*contract.Outcome, error) {
			got, err := parts(st.Poll(soon(t), poll))
			if len(got) != 1 {
				return nil, fmt.Errorf("%d parts: %w", len(got), err)
			}
			return got[0].Outcome, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := call(); err != nil || !proto.Equal(got, want) {
				t.Errorf("outcome = %v, %v; want %v", got, err, want)
			}
		})
	}
}

// The bytes of an envelope cross when the relay does not have them: it says so,
// the call that gave it is over, or they are others.
func TestEnvelopeBytes(t *testing.T) {
	var kept Envelope
	st := onBase(t, func(route *Route) any {
		return &funcs{
			open: func(_ context.Context, env Envelope) error { kept = env; return nil },
			message: func(ctx context.Context, env Envelope) error {
				env.Bytes = bytes.Clone(env.Bytes)
				return route.Base.Message(ctx, env)
			},
			check: func(ctx context.Context, _ Principal) error { return route.Base.Open(ctx, kept) },
			close: func(ctx context.Context, _ Principal, _ ClientKey, _ bool) error {
				_, _, err := route.Host.Submit(ctx, Envelope{Client: aClient, Bytes: []byte("own")})
				return err
			},
		}
	})
	var got []byte
	st.relay.onOpen = func(_ context.Context, req *contract.OpenRequest) (*contract.Outcome, error) {
		got = req.GetEnvelope().GetBytes()
		return &contract.Outcome{}, nil
	}
	st.relay.onMessage = func(_ context.Context, req *contract.MessageRequest) (*contract.Outcome, error) {
		got = req.GetEnvelope().GetBytes()
		return &contract.Outcome{}, nil
	}
	st.relay.onSubmit = func(req *contract.SubmitRequest) (*contract.CallResponse, error) {
		got = req.GetEnvelope().GetBytes()
		return &contract.CallResponse{Accepted: true}, nil
	}
	expect := func(want []byte, err error) {
		t.Helper()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the base gets %q, %v; want %q", got, err, want)
		}
	}
	_, err := st.Message(soon(t), aMessage())
	expect(someBytes, err)
	_, err = st.Open(soon(t), anOpen())
	expect(someBytes, err)
	got = nil
	_, err = st.Check(soon(t), &contract.CheckRequest{Route: 1})
	expect(someBytes, err)
	_, err = st.Close(soon(t), &contract.CloseRequest{Route: 1, Client: protoPair})
	expect([]byte("own"), err)

	st = onBase(t, func(route *Route) any { return route.Base })
	calls := 0
	st.relay.onOpen = func(_ context.Context, req *contract.OpenRequest) (*contract.Outcome, error) {
		calls++
		if got = req.GetEnvelope().GetBytes(); len(got) == 0 {
			return nil, status.Error(codes.FailedPrecondition, "no such envelope is under way")
		}
		return &contract.Outcome{}, nil
	}
	_, err = st.Open(soon(t), anOpen())
	expect(someBytes, err)
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

// What a base says that has nothing to check and to watch, or is of another time.
func TestOtherBases(t *testing.T) {
	var outcome *contract.Outcome
	var answer error
	st := onBase(t, func(route *Route) any { return route.Base })
	st.relay.onOpen = func(context.Context, *contract.OpenRequest) (*contract.Outcome, error) { return outcome, answer }

	if got, err := st.Check(soon(t), &contract.CheckRequest{Route: 1}); err != nil || got.Kind != contract.Outcome_OK {
		t.Errorf("Check = %v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(soon(t), 100*time.Millisecond)
	defer cancel()
	stream, err := st.Watch(ctx, &contract.WatchRequest{Route: 1})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("Watch of a base that does not watch ends: %v", err)
	}
	outcome = &contract.Outcome{Kind: 77, Text: "?"}
	if _, err := st.Open(soon(t), anOpen()); status.Code(err) != codes.Unknown {
		t.Errorf("an unknown outcome is not %q: %v", "not reached", err)
	}
	outcome = &contract.Outcome{Kind: contract.Outcome_UNAVAILABLE, RetryAfterMs: 1<<64 - 1}
	if got, err := st.Open(soon(t), anOpen()); err != nil || got.RetryAfterMs != 24*3600*1000 {
		t.Errorf("much time: %v, %v", got, err)
	}
	outcome, answer = nil, status.Error(codes.ResourceExhausted, "too many calls")
	var seen error
	busy := onBase(t, func(route *Route) any {
		return &funcs{open: func(ctx context.Context, env Envelope) error {
			seen = route.Base.Open(ctx, env)
			return seen
		}}
	})
	busy.relay.onOpen = st.relay.onOpen
	if _, err := busy.Open(soon(t), anOpen()); status.Code(err) != codes.ResourceExhausted || !errors.Is(seen, ErrBusy) || errors.Is(seen, context.Canceled) {
		t.Errorf("%v, %v", seen, err)
	}
}

// Batches come in parts and go in parts; nothing is lost in between.
func TestBatches(t *testing.T) {
	message := func(n, size int) *contract.OutputMessage {
		return &contract.OutputMessage{
			Client:  &contract.ClientKey{Principal: []byte("client"), Nonce: uint64(n)},
			Key:     fmt.Sprintf("gateway_%020d", n),
			Content: bytes.Repeat([]byte{byte(n)}, size),
		}
	}
	many := func(count, size int) (list []*contract.OutputMessage) {
		for n := range count {
			list = append(list, message(n, size))
		}
		return list
	}
	const kib = 1 << 10
	for _, tc := range []struct {
		name  string
		given []*contract.PollPart
		parts int
		fails bool
	}{
		{"nothing", nil, 0, false},
		{"an empty part", []*contract.PollPart{{}}, 0, false},
		{"more, but nothing yet", []*contract.PollPart{{More: true}}, 1, false},
		{"one message", []*contract.PollPart{{Messages: many(1, 10), Certificate: []byte("c"), Witness: []byte("w"), More: true}}, 1, false},
		{"certificate and witness apart", []*contract.PollPart{{Messages: many(1, 10)}, {Certificate: []byte("c")}, {Witness: []byte("w")}, {}}, 1, false},
		{"many small ones", []*contract.PollPart{{Messages: many(1000, 1*kib), Certificate: make([]byte, 2*kib), Witness: make([]byte, 100*kib)}}, 5, false},
		{"parts of messages", []*contract.PollPart{{Messages: many(3, 200*kib), Certificate: []byte("c")}, {Messages: many(3, 200*kib)}}, 6, false},
		{"large ones", []*contract.PollPart{{Messages: many(3, 1024*kib), Certificate: []byte("c")}}, 3, false},
		{"a large witness", []*contract.PollPart{{Messages: many(2, 10), Certificate: []byte("c"), Witness: make([]byte, 300*kib)}}, 2, false},
		{"a batch beyond its bound", []*contract.PollPart{{Messages: many(3, 1024*kib)}, {Messages: many(3, 1024*kib)}, {Messages: many(3, 1024*kib)}}, 0, true},
		{"a client without a principal", []*contract.PollPart{{Messages: []*contract.OutputMessage{{Key: "k"}}}}, 0, true},
		{"a message beyond the bound of gRPC", []*contract.PollPart{{Messages: many(1, 4096*kib)}}, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := onBase(t, func(route *Route) any { return route.Base })
			st.relay.onPoll = func(_ *contract.PollRequest, send func(*contract.PollPart) error) error {
				for _, part := range tc.given {
					if err := send(part); err != nil {
						return err
					}
				}
				return nil
			}
			stream, err := st.Poll(soon(t), &contract.PollRequest{Route: 1})
			if err != nil {
				t.Fatal(err)
			}
			got, err := parts(stream, nil)
			if tc.fails {
				if err == nil {
					t.Fatalf("%d parts", len(got))
				}
				return
			}
			if err != nil || len(got) != tc.parts {
				t.Fatalf("%d parts, %v; want %d", len(got), err, tc.parts)
			}
			for i, part := range got {
				if size := proto.Size(part); size > partSize && len(part.Messages) > 1 {
					t.Errorf("part %d has %d messages in %d bytes", i, len(part.Messages), size)
				}
			}
			if all, want := together(got), together(tc.given); !proto.Equal(all, want) {
				t.Errorf("%d messages, cert %d, witness %d, want %d, %d, %d", len(all.Messages), len(all.Certificate), len(all.Witness),
					len(want.Messages), len(want.Certificate), len(want.Witness))
			}
		})
	}
}

func together(parts []*contract.PollPart) *contract.PollPart {
	all := &contract.PollPart{}
	for _, part := range parts {
		proto.Merge(all, part)
	}
	return all
}

// What an adapter makes itself is bounded before it crosses, with a sentence.
func TestBatchBounds(t *testing.T) {
	for name, batch := range map[string]Batch{
		"a message":   {Messages: []OutputMessage{{Client: aClient, Content: make([]byte, maxMessage)}}},
		"the witness": {Witness: make([]byte, maxMessage)},
		"the count":   {Messages: make([]OutputMessage, maxCount+1)},
		"the batch":   {Messages: []OutputMessage{{Content: make([]byte, 3<<20)}, {Content: make([]byte, 3<<20)}, {Content: make([]byte, 3<<20)}}},
	} {
		t.Run(name, func(t *testing.T) {
			err := sendBatch(batch, func(*contract.PollPart) error { return errors.New("sent") })
			if status.Code(err) != codes.Unknown || status.Convert(err).Message() == "sent" {
				t.Fatal(err)
			}
		})
	}
}

// Events are worth as much as one while nobody has read it.
func TestWatchCoalesces(t *testing.T) {
	const changes = 100_000
	done := make(chan struct{})
	st := with(t, &funcs{watch: func(ctx context.Context, _ Principal, changed func()) error {
		for range changes {
			changed()
		}
		close(done)
		<-ctx.Done()
		return nil
	}})
	ctx, cancel := context.WithCancel(soon(t))
	stream, err := st.Watch(ctx, &contract.WatchRequest{Route: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-done // nobody has read anything, and changed has not blocked
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
}

// The base's events reach an adapter that only listens in on them.
func TestBaseWatch(t *testing.T) {
	var seen atomic.Int32
	st := onBase(t, func(route *Route) any {
		return &funcs{watch: func(ctx context.Context, canister Principal, changed func()) error {
			return route.Base.Watch(ctx, canister, func() { seen.Add(1); changed() })
		}}
	})
	more := make(chan struct{})
	st.relay.onWatch = func(_ context.Context, send func(*contract.WatchEvent) error) error {
		for range more {
			if err := send(&contract.WatchEvent{}); err != nil {
				return err
			}
		}
		return nil
	}
	stream, err := st.Watch(soon(t), &contract.WatchRequest{Route: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		more <- struct{}{}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	close(more)
	if _, err := stream.Recv(); err == nil || status.Convert(err).Message() != "EOF" || seen.Load() != 3 {
		t.Fatal(err, seen.Load())
	}
}

// The network through the relay.
func TestHost(t *testing.T) {
	st := newStage(t, nil)
	h := &Host{client: st.s.host}
	call := &contract.CallRequest{Canister: aCanister.Bytes(), Method: "m", Arg: []byte("a")}
	var method string
	var answer *contract.CallResponse
	st.relay.onCall = func(m string, req *contract.CallRequest) (*contract.CallResponse, error) {
		method = m
		if !proto.Equal(req, call) {
			t.Errorf("request = %v", req)
		}
		if answer == nil {
			return nil, status.Error(codes.Unavailable, "connection refused")
		}
		return answer, nil
	}
	st.relay.onSubmit = func(*contract.SubmitRequest) (*contract.CallResponse, error) { return answer, nil }

	answer = &contract.CallResponse{Reply: []byte("r")}
	for name, f := range map[string]func(context.Context, Principal, string, []byte) ([]byte, error){"Query": h.Query, "Call": h.Call} {
		if reply, err := f(soon(t), aCanister, "m", []byte("a")); err != nil || string(reply) != "r" || method != name {
			t.Errorf("%s = %q, %v through %s", name, reply, err, method)
		}
	}
	if reply, answered, err := h.Submit(soon(t), Envelope{}); err != nil || !answered || string(reply) != "r" {
		t.Error(reply, answered, err)
	}
	answer = &contract.CallResponse{Accepted: true}
	if _, answered, err := h.Submit(soon(t), Envelope{}); err != nil || answered {
		t.Error(answered, err)
	}
	answer = &contract.CallResponse{Reject: &contract.Reject{Code: 5, Text: "trapped", ErrorCode: "IC0503", Certified: true}}
	_, queried := h.Query(soon(t), aCanister, "m", []byte("a"))
	_, _, submitted := h.Submit(soon(t), Envelope{})
	for _, err := range []error{queried, submitted} {
		var reject *RejectError
		if !errors.As(err, &reject) || *reject != (RejectError{5, "trapped", "IC0503", true}) {
			t.Error(err)
		}
	}
	answer = nil
	if _, err := h.Call(soon(t), aCanister, "m", []byte("a")); err == nil || err.Error() != "Host.Call of m: connection refused" {
		t.Error(err)
	}

	state := &contract.ReadStateResponse{Certificate: []byte("c"), Values: []*contract.Value{
		{Kind: contract.Value_FOUND, Value: []byte("v")}, {Kind: contract.Value_ABSENT}, {}, {Kind: 9},
	}}
	st.relay.onReadState = func(req *contract.ReadStateRequest) (*contract.ReadStateResponse, error) {
		if len(req.Paths) > 1 && string(req.Paths[1].Labels[1]) != string(aCanister) {
			t.Errorf("request = %v", req)
		}
		return state, nil
	}
	paths := []Path{{"time"}, {"canister", string(aCanister), "module_hash"}, {}, {}}
	got, err := h.ReadState(soon(t), aCanister, paths...)
	want := State{Certificate: []byte("c"), Values: []Value{{Bytes: []byte("v"), Found: true}, {Absent: true}, {}, {}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("state = %+v, %v", got, err)
	}
	if _, err := h.ReadState(soon(t), aCanister, paths[0]); err == nil {
		t.Error("four values for one path")
	}
	state = &contract.ReadStateResponse{Reject: &contract.Reject{Code: 3, Text: "no canister"}}
	if _, err := h.ReadState(soon(t), aCanister); err == nil || err.Error() != "Host.ReadState: rejected (code 3): no canister" {
		t.Error(err)
	}
}
