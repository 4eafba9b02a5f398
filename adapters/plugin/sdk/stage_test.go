package sdk

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/internal/testlog"
)

// As a plugin the test binary is the one of process_test.go.
func TestMain(m *testing.M) {
	if os.Getenv(envContract) != "" {
		Serve(startInProcess)
		os.Exit(0)
	}
	if os.Getenv(byHand) != "" {
		Serve(nil)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// A stage is a server of this package with a relay of the tests on either side.
type stage struct {
	contract.PluginClient
	contract.AdapterClient
	conn  *grpc.ClientConn
	relay *fakeRelay
	log   testlog.Book
	s     *server
	g     *grpc.Server
	end   context.CancelFunc
}

func newStage(t *testing.T, start func(context.Context, *Route) (any, error)) *stage {
	t.Helper()
	st := &stage{relay: &fakeRelay{}}
	r := grpc.NewServer(grpc.WaitForHandlers(true))
	contract.RegisterHostServer(r, st.relay)
	contract.RegisterAdapterServer(r, st.relay)
	back := dial(t, r)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	st.end = cancel
	st.s = newServer(ctx, back, newLogger(&st.log), start)
	st.g = st.s.grpc()
	st.conn = dial(t, st.g)
	st.PluginClient, st.AdapterClient = contract.NewPluginClient(st.conn), contract.NewAdapterClient(st.conn)
	return st
}

// dial serves g and connects with it.
func dial(t *testing.T, g *grpc.Server) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// with starts route 1 with an adapter.
func with(t *testing.T, adapter any) *stage {
	t.Helper()
	st := newStage(t, func(context.Context, *Route) (any, error) { return adapter, nil })
	if answer := st.started(t, &contract.StartRouteRequest{Route: 1}); answer.Problem != "" {
		t.Fatal(answer.Problem)
	}
	return st
}

// onBase starts route 1 with an adapter that knows its route.
func onBase(t *testing.T, adapter func(*Route) any) *stage {
	t.Helper()
	st := newStage(t, func(_ context.Context, route *Route) (any, error) { return adapter(route), nil })
	if answer := st.started(t, &contract.StartRouteRequest{Route: 1}); answer.Problem != "" {
		t.Fatal(answer.Problem)
	}
	return st
}

func (st *stage) started(t *testing.T, req *contract.StartRouteRequest) *contract.StartRouteResponse {
	t.Helper()
	answer, err := st.StartRoute(soon(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// soon is a context for what takes milliseconds.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// fakeRelay is the other side of Base and Host: functions of the tests.
type fakeRelay struct {
	contract.UnimplementedAdapterServer
	contract.UnimplementedHostServer

	onOpen      func(context.Context, *contract.OpenRequest) (*contract.Outcome, error)
	onMessage   func(context.Context, *contract.MessageRequest) (*contract.Outcome, error)
	onClose     func(*contract.CloseRequest) (*contract.Outcome, error)
	onCheck     func(*contract.CheckRequest) (*contract.Outcome, error)
	onPoll      func(*contract.PollRequest, func(*contract.PollPart) error) error
	onWatch     func(context.Context, func(*contract.WatchEvent) error) error
	onCall      func(string, *contract.CallRequest) (*contract.CallResponse, error)
	onSubmit    func(*contract.SubmitRequest) (*contract.CallResponse, error)
	onReadState func(*contract.ReadStateRequest) (*contract.ReadStateResponse, error)
	attached    chan struct{} // closed: the stream ends
}

func (f *fakeRelay) Open(ctx context.Context, req *contract.OpenRequest) (*contract.Outcome, error) {
	if f.onOpen == nil {
		return f.UnimplementedAdapterServer.Open(ctx, req)
	}
	return f.onOpen(ctx, req)
}

func (f *fakeRelay) Message(ctx context.Context, req *contract.MessageRequest) (*contract.Outcome, error) {
	return f.onMessage(ctx, req)
}

func (f *fakeRelay) Close(_ context.Context, req *contract.CloseRequest) (*contract.Outcome, error) {
	return f.onClose(req)
}

func (f *fakeRelay) Check(ctx context.Context, req *contract.CheckRequest) (*contract.Outcome, error) {
	if f.onCheck == nil {
		return f.UnimplementedAdapterServer.Check(ctx, req)
	}
	return f.onCheck(req)
}

func (f *fakeRelay) Poll(req *contract.PollRequest, stream grpc.ServerStreamingServer[contract.PollPart]) error {
	return f.onPoll(req, stream.Send)
}

func (f *fakeRelay) Watch(req *contract.WatchRequest, stream grpc.ServerStreamingServer[contract.WatchEvent]) error {
	if f.onWatch == nil {
		return f.UnimplementedAdapterServer.Watch(req, stream)
	}
	return f.onWatch(stream.Context(), stream.Send)
}

func (f *fakeRelay) Query(_ context.Context, req *contract.CallRequest) (*contract.CallResponse, error) {
	return f.onCall("Query", req)
}

func (f *fakeRelay) Call(_ context.Context, req *contract.CallRequest) (*contract.CallResponse, error) {
	return f.onCall("Call", req)
}

func (f *fakeRelay) Submit(_ context.Context, req *contract.SubmitRequest) (*contract.CallResponse, error) {
	return f.onSubmit(req)
}

func (f *fakeRelay) ReadState(_ context.Context, req *contract.ReadStateRequest) (*contract.ReadStateResponse, error) {
	return f.onReadState(req)
}

func (f *fakeRelay) Attach(_ *contract.AttachRequest, stream grpc.ServerStreamingServer[contract.AttachEvent]) error {
	if err := stream.Send(&contract.AttachEvent{}); err != nil {
		return err
	}
	select {
	case <-f.attached:
	case <-stream.Context().Done():
	}
	return nil
}

// Values that all tests use.
var (
	aCanister = Principal("\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")
	aClient   = ClientKey{Principal: "client", Nonce: 7}
	aRequest  = bytes.Repeat([]byte{3}, 32)
	someBytes = []byte("an envelope with content in it")
)

func protoEnv() *contract.Envelope {
	return &contract.Envelope{
		Canister:  aCanister.Bytes(),
		Client:    &contract.ClientKey{Principal: []byte("client"), Nonce: 7},
		RequestId: aRequest,
		Expiry:    1_700_000_000_000_000_001,
		Bytes:     someBytes,
	}
}

func parts(stream grpc.ServerStreamingClient[contract.PollPart], err error) ([]*contract.PollPart, error) {
	var all []*contract.PollPart
	for err == nil {
		var part *contract.PollPart
		if part, err = stream.Recv(); err == nil {
			all = append(all, part)
		}
	}
	if err == io.EOF { //nolint:errorlint // streams return it as it is
		err = nil
	}
	return all, err
}
