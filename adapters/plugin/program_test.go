//go:build unix

package plugin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// What follows runs in the adapter's process. It is written against the bare
// contract, and passes everything on to the base, until it is told to fail:
// modes are how it starts (ADAPTER_TEST), faults come with clients' messages
// ("fault:<name>") or with the route's settings.

type programSettings struct {
	Handles []string `json:"handles"` // default: all
	Window  uint32   `json:"window"`
	Problem string   `json:"problem"`     // StartRoute refuses with it
	Once    string   `json:"once"`        // a file: the next process to start the route refuses it while this is there
	Answer  string   `json:"answer"`      // what Message and Poll answer
	Lacks   bool     `json:"lacks"`       // it does not implement what it handles
	Log     string   `json:"log"`         // a file that says what was called
	Canary  string   `json:"wrong_route"` // a base call that is not its to make
}

func runProgram() int {
	say := func(line string) { _, _ = fmt.Fprintln(os.Stderr, line) }
	handshake := func(version int, path string) {
		_, _ = fmt.Printf("1|%d|unix|%s|grpc\n", version, path)
	}
	switch os.Getenv("ADAPTER_TEST") {
	case "exits":
		say("cannot open the database")
		return 3
	case "exits politely":
		return 0
	case "silent":
		say("thinking")
		time.Sleep(time.Hour)
	case "chatty":
		_, _ = fmt.Println("Welcome to the adapter!")
		time.Sleep(time.Hour)
	case "closes its output":
		_ = os.Stdout.Close()
		time.Sleep(time.Hour)
	case "endless line":
		_, _ = io.Copy(os.Stdout, endless{})
	case "other version":
		handshake(2, "/tmp/x")
		time.Sleep(time.Hour)
	case "not here":
		handshake(1, filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "nobody"))
		time.Sleep(time.Hour)
	case "over there":
		_, _ = fmt.Println("1|1|tcp|192.0.2.1:1|grpc")
		time.Sleep(time.Hour)
	}

	p := &testProgram{routes: make(map[uint64]*programSettings)}
	pair, err := tls.X509KeyPair([]byte(os.Getenv("ICRELAY_TLS_CERT")), []byte(os.Getenv("ICRELAY_TLS_KEY")))
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM([]byte(os.Getenv("ICRELAY_TLS_CA"))) {
		say("no certificates")
		return 1
	}
	conn, err := grpc.NewClient(os.Getenv("ICRELAY_HOST"),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12})),
		grpc.WithAuthority("localhost"))
	if err != nil {
		say(err.Error())
		return 1
	}
	p.host, p.base = contract.NewHostClient(conn), contract.NewAdapterClient(conn)
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "adapter")
	listener, err := net.Listen("unix", socket) //nolint:noctx // does not wait
	if err != nil {
		say(err.Error())
		return 1
	}
	creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12})
	server := grpc.NewServer(grpc.Creds(creds), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(64<<20))
	if os.Getenv("ADAPTER_TEST") != "no service" {
		contract.RegisterPluginServer(server, p)
	}
	contract.RegisterAdapterServer(server, p)
	if os.Getenv("ADAPTER_TEST") == "exits after the handshake" {
		handshake(1, socket)
		say("changed my mind")
		return 4
	}
	if os.Getenv("ADAPTER_TEST") == "floods its standard output service" {
		server.RegisterService(&floodedStdio, nil)
	}
	if os.Getenv("ADAPTER_TEST") == "connects without end" {
		go connectWithoutEnd(strings.TrimPrefix(os.Getenv("ICRELAY_HOST"), "unix:"))
	}
	go func() { _ = server.Serve(listener) }()
	handshake(1, socket)
	attach, err := p.host.Attach(context.Background(), &contract.AttachRequest{})
	for err == nil {
		_, err = attach.Recv()
	}
	if p.stays.Load() {
		time.Sleep(time.Hour)
	}
	return 0
}

// floodedStdio is go-plugin's service for standard output, with more to read than anybody does.
var floodedStdio = grpc.ServiceDesc{
	ServiceName: "plugin.GRPCStdio",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{StreamName: "StreamStdio", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		data := protowire.AppendTag(nil, 2, protowire.BytesType)
		data = protowire.AppendBytes(data, []byte(strings.Repeat(strings.Repeat("x", 1000)+"\n", 200)))
		message := new(emptypb.Empty)
		message.ProtoReflect().SetUnknown(data)
		for {
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
	}}},
}

// connectWithoutEnd opens connections to the relay, and says nothing, or nothing that makes sense.
func connectWithoutEnd(socket string) {
	var held []net.Conn
	for len(held) < 300 {
		conn, err := net.Dial("unix", socket) //nolint:noctx // does not wait
		if err != nil {
			return
		}
		if held = append(held, conn); len(held)%2 == 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(bytes.Repeat([]byte("garbage"), 1000))
		}
	}
	fmt.Fprintln(os.Stderr, "connected") //nolint:errcheck // the relay reads it
	time.Sleep(time.Hour)
	_ = held
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type testProgram struct {
	contract.UnimplementedPluginServer
	contract.UnimplementedAdapterServer
	host  contract.HostClient
	base  contract.AdapterClient
	stays atomic.Bool // it does not end when it should

	mu     sync.Mutex
	routes map[uint64]*programSettings
	hoard  [][]byte
}

func (p *testProgram) Ping(context.Context, *contract.PingRequest) (*contract.PingResponse, error) {
	return &contract.PingResponse{}, nil
}

func (p *testProgram) StartRoute(_ context.Context, r *contract.StartRouteRequest) (*contract.StartRouteResponse, error) {
	s := new(programSettings)
	if err := json.Unmarshal(r.GetSettings(), s); err != nil {
		return nil, err
	}
	s.note("start %d %s %s", r.GetRoute(), r.GetAdapter(), r.GetBase())
	if s.Once != "" {
		if _, err := os.Stat(s.Once); err == nil {
			return &contract.StartRouteResponse{Problem: "not while that file is there"}, nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes[r.GetRoute()] = s
	response := &contract.StartRouteResponse{Problem: s.Problem, Handles: []contract.Method{0, 99}} // unknown ones are ignored
	for name, number := range contract.Method_value {
		if s.Handles == nil || strings.Contains(strings.Join(s.Handles, " "), name) {
			response.Handles = append(response.Handles, contract.Method(number))
		}
	}
	response.Window = r.GetBaseWindow()
	if s.Window > 0 {
		response.Window = &contract.Window{Messages: s.Window}
	}
	return response, nil
}

func (p *testProgram) EndRoute(_ context.Context, r *contract.EndRouteRequest) (*contract.EndRouteResponse, error) {
	p.of(r.GetRoute()).note("end %d", r.GetRoute())
	return &contract.EndRouteResponse{}, nil
}

func (p *testProgram) of(route uint64) *programSettings {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.routes[route]; s != nil {
		return s
	}
	return new(programSettings)
}

func (s *programSettings) note(format string, args ...any) {
	if s.Log == "" {
		return
	}
	file, err := os.OpenFile(s.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintf(file, format+"\n", args...)
		_ = file.Close()
	}
}

func (p *testProgram) Open(ctx context.Context, r *contract.OpenRequest) (*contract.Outcome, error) {
	if s := p.of(r.GetRoute()); s.Lacks {
		return nil, status.Error(codes.Unimplemented, "")
	} else if s.Answer != "" {
		return answer(s.Answer)
	}
	return p.base.Open(ctx, &contract.OpenRequest{Route: r.GetRoute(), Envelope: without(r.GetEnvelope())})
}

// without is the envelope without its bytes: the relay has them.
func without(e *contract.Envelope) *contract.Envelope {
	return &contract.Envelope{Canister: e.GetCanister(), Client: e.GetClient(), RequestId: e.GetRequestId(), Expiry: e.GetExpiry()}
}

func (p *testProgram) Message(ctx context.Context, r *contract.MessageRequest) (*contract.Outcome, error) {
	s := p.of(r.GetRoute())
	if s.Lacks {
		return nil, status.Error(codes.Unimplemented, "")
	}
	if s.Answer != "" {
		return answer(s.Answer)
	}
	content := r.GetEnvelope().GetBytes()[r.GetHeader().GetContentStart():r.GetHeader().GetContentEnd()]
	if _, fault, ok := bytes.Cut(content, []byte("fault:")); ok {
		return p.fail(ctx, string(fault), r)
	}
	return p.base.Message(ctx, &contract.MessageRequest{Route: r.GetRoute(), Envelope: without(r.GetEnvelope())})
}

// fail does what the gateway has to live with.
func (p *testProgram) fail(ctx context.Context, fault string, r *contract.MessageRequest) (*contract.Outcome, error) {
	switch fault {
	case "crash":
		_, _ = fmt.Fprintln(os.Stderr, "panic: on purpose")
		os.Exit(7)
	case "hang":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "leak":
		go func() {
			for {
				chunk := make([]byte, 4<<20)
				for i := 0; i < len(chunk); i += 4096 {
					chunk[i] = 1
				}
				p.mu.Lock()
				p.hoard = append(p.hoard, chunk)
				p.mu.Unlock()
			}
		}()
	case "deaf": // to cancellation, and to the end
		p.stays.Store(true)
		time.Sleep(time.Hour)
	case "stay":
		p.stays.Store(true)
	case "flood":
		p.flood(r)
	case "garbage":
		p.mu.Lock()
		p.routes[r.GetRoute()].Answer = "huge"
		p.mu.Unlock()
	}
	return p.base.Message(ctx, &contract.MessageRequest{Route: r.GetRoute(), Envelope: without(r.GetEnvelope())})
}

// flood logs, calls and signals as fast as it can, for a while.
func (p *testProgram) flood(r *contract.MessageRequest) {
	end := time.Now().Add(1500 * time.Millisecond)
	line := strings.Repeat("the log is long ", 20)
	var group sync.WaitGroup
	group.Go(func() {
		for time.Now().Before(end) {
			_, _ = fmt.Fprintln(os.Stderr, line)
			_, _ = fmt.Fprintln(os.Stdout, line)
		}
	})
	ctx, cancel := context.WithDeadline(context.Background(), end)
	for range 200 {
		group.Go(func() {
			for ctx.Err() == nil {
				_, _ = p.host.Query(ctx, &contract.CallRequest{Canister: r.GetEnvelope().GetCanister(), Method: "nothing", Arg: make([]byte, 1000)})
			}
		})
	}
	go func() {
		group.Wait()
		cancel()
	}()
}

// answer is what a Message or Open call answers that does not ask the base.
func answer(kind string) (*contract.Outcome, error) {
	switch kind {
	case "refused":
		return &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: "members only"}, nil
	case "refused without a word":
		return &contract.Outcome{Kind: contract.Outcome_REFUSED}, nil
	case "refused at length":
		return &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: strings.Repeat("no ", 100_000)}, nil
	case "unavailable":
		return &contract.Outcome{Kind: contract.Outcome_UNAVAILABLE, Text: "in a minute", RetryAfterMs: 7000}, nil
	case "unknown kind":
		return &contract.Outcome{Kind: 77, Text: "?"}, nil
	case "not reached":
		return nil, status.Error(codes.Internal, "broken")
	case "long error":
		return nil, status.Error(codes.Internal, strings.Repeat("x", 4<<20))
	case "huge":
		return &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: strings.Repeat("x", 5<<20)}, nil
	}
	return &contract.Outcome{}, nil
}

func (p *testProgram) Close(ctx context.Context, r *contract.CloseRequest) (*contract.Outcome, error) {
	s := p.of(r.GetRoute())
	s.note("close lost=%v", r.GetLost())
	if s.Lacks {
		return nil, status.Error(codes.Unimplemented, "")
	}
	return p.base.Close(ctx, r)
}

func (p *testProgram) Check(ctx context.Context, r *contract.CheckRequest) (*contract.Outcome, error) {
	if p.of(r.GetRoute()).Lacks {
		return nil, status.Error(codes.Unimplemented, "")
	}
	outcome, err := p.base.Check(ctx, r)
	if status.Code(err) == codes.Unimplemented {
		return &contract.Outcome{}, nil
	}
	return outcome, err
}

func (p *testProgram) Poll(r *contract.PollRequest, stream grpc.ServerStreamingServer[contract.PollPart]) error {
	s := p.of(r.GetRoute())
	if s.Lacks {
		return status.Error(codes.Unimplemented, "")
	}
	if s.Answer != "" {
		return answerPoll(s.Answer, stream)
	}
	parts, err := p.base.Poll(stream.Context(), r)
	if err != nil {
		return err
	}
	for {
		part, err := parts.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(part); err != nil {
			return err
		}
	}
}

func answerPoll(kind string, stream grpc.ServerStreamingServer[contract.PollPart]) error {
	key := func(n int) *contract.ClientKey { return &contract.ClientKey{Principal: make([]byte, n), Nonce: 1} }
	message := func(client *contract.ClientKey, size int) *contract.PollPart {
		return &contract.PollPart{Messages: []*contract.OutputMessage{{Client: client, Key: "k_0", Content: make([]byte, size)}}}
	}
	switch kind {
	case "huge":
		return stream.Send(message(key(10), 5<<20))
	case "endless":
		for {
			if err := stream.Send(message(key(10), 200<<10)); err != nil {
				return err
			}
		}
	case "many parts":
		for {
			if err := stream.Send(&contract.PollPart{}); err != nil {
				return err
			}
		}
	case "no client":
		return stream.Send(message(nil, 1))
	case "long principal":
		return stream.Send(message(key(30), 1))
	case "long key":
		part := message(key(10), 1)
		part.Messages[0].Key = strings.Repeat("k", 1000)
		return stream.Send(part)
	case "two certificates":
		for range 2 {
			if err := stream.Send(&contract.PollPart{Certificate: []byte("x")}); err != nil {
				return err
			}
		}
		return nil
	case "late outcome":
		_ = stream.Send(message(key(10), 1))
		return stream.Send(&contract.PollPart{Outcome: &contract.Outcome{Kind: contract.Outcome_REFUSED}})
	case "nothing":
		return nil
	}
	outcome, err := answer(kind)
	if err != nil {
		return err
	}
	return stream.Send(&contract.PollPart{Outcome: outcome})
}

func (p *testProgram) Watch(r *contract.WatchRequest, stream grpc.ServerStreamingServer[contract.WatchEvent]) error {
	s := p.of(r.GetRoute())
	if s.Lacks {
		return status.Error(codes.Unimplemented, "")
	}
	if s.Answer == "long error" {
		return status.Error(codes.Internal, strings.Repeat("x", 50<<10)) // as much as gets through
	}
	if s.Answer == "events" {
		for {
			if err := stream.Send(&contract.WatchEvent{}); err != nil {
				return err
			}
		}
	}
	events, err := p.base.Watch(stream.Context(), r)
	for err == nil {
		if _, err = events.Recv(); err == nil {
			err = stream.Send(&contract.WatchEvent{})
		}
	}
	if status.Code(err) == codes.Unimplemented {
		<-stream.Context().Done()
	}
	return err
}
