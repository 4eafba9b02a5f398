package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// A server answers the relay: it has the routes, and finds the adapter that a
// call is for.
type server struct {
	contract.UnimplementedPluginServer
	contract.UnimplementedAdapterServer

	start func(context.Context, *Route) (any, error)
	base  contract.AdapterClient
	host  contract.HostClient
	log   *slog.Logger
	ctx   context.Context // ends with the process

	mu     sync.Mutex
	routes map[uint64]*running
}

// running is a route that has been started, or nil handlers while it starts.
type running struct {
	*handlers
	cancel context.CancelFunc
	log    *slog.Logger
}

func newServer(ctx context.Context, relay grpc.ClientConnInterface, log *slog.Logger, start func(context.Context, *Route) (any, error)) *server {
	return &server{
		start:  start,
		base:   contract.NewAdapterClient(relay),
		host:   contract.NewHostClient(relay),
		log:    log,
		ctx:    ctx,
		routes: make(map[uint64]*running),
	}
}

func (s *server) Ping(context.Context, *contract.PingRequest) (*contract.PingResponse, error) {
	return &contract.PingResponse{}, nil
}

func (s *server) StartRoute(ctx context.Context, req *contract.StartRouteRequest) (*contract.StartRouteResponse, error) {
	route, err := s.route(req)
	if err != nil {
		return nil, err
	}
	// What start begins goes on after this call: it ends with the route.
	life, cancel := context.WithCancel(s.ctx)
	r := &running{cancel: cancel, log: route.Log}
	s.mu.Lock()
	_, taken := s.routes[req.GetRoute()]
	if !taken {
		s.routes[req.GetRoute()] = r
	}
	s.mu.Unlock()
	if taken {
		cancel()
		return nil, status.Errorf(codes.AlreadyExists, "route %d is started already", req.GetRoute())
	}
	started := false
	defer func() { // also when start panics
		if !started {
			s.forget(req.GetRoute())
			cancel()
		}
	}()
	stop := context.AfterFunc(ctx, cancel)
	adapter, err := s.start(life, route)
	gone := !stop() // the relay has given up, and will ask again
	if err != nil {
		return &contract.StartRouteResponse{Problem: problem(err)}, nil
	}
	found, err := find(adapter)
	var window *contract.Window
	if err == nil {
		window, err = found.window()
	}
	if err != nil || gone {
		if ender, ok := adapter.(Ender); ok {
			cancel()
			ender.End()
		}
		if gone {
			return nil, status.FromContextError(context.Cause(ctx)).Err()
		}
		return &contract.StartRouteResponse{Problem: problem(err)}, nil
	}
	s.mu.Lock()
	r.handlers = found
	s.mu.Unlock()
	started = true
	return &contract.StartRouteResponse{Handles: found.methods(), Window: window}, nil
}

// problem is never empty: that would mean that there is none.
func problem(err error) string {
	if text := bounded(err.Error()); text != "" {
		return text
	}
	return fmt.Sprintf("the adapter does not say why (%T)", err)
}

// route reads what the relay says about a route.
func (s *server) route(req *contract.StartRouteRequest) (*Route, error) {
	base := &Base{route: req.GetRoute(), client: s.base, messages: 1}
	if w := req.GetBaseWindow(); w != nil {
		base.messages, base.bytes = windowOf(w)
	}
	r := &Route{
		Adapter:      req.GetAdapter(),
		Canisters:    make(map[string]Principal, len(req.GetCanisters())),
		RelayVersion: req.GetRelayVersion(),
		Base:         base,
		BaseName:     req.GetBase(),
		Host:         &Host{client: s.host},
		Log:          s.log,
		settings:     req.GetSettings(),
	}
	var err error
	if r.Canister, err = principal(req.GetCanister()); err != nil {
		return nil, err
	}
	if r.Gateway, err = principal(req.GetGateway()); err != nil {
		return nil, err
	}
	for name, raw := range req.GetCanisters() {
		if r.Canisters[name], err = principal(raw); err != nil {
			return nil, err
		}
	}
	if r.Canister != "" {
		r.Log = r.Log.With("canister", r.Canister.String())
	}
	return r, nil
}

func (s *server) EndRoute(_ context.Context, req *contract.EndRouteRequest) (*contract.EndRouteResponse, error) {
	if r := s.forget(req.GetRoute()); r != nil {
		r.end()
	}
	return &contract.EndRouteResponse{}, nil
}

// forget takes a route out of the table.
func (s *server) forget(number uint64) *running {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routes[number]
	delete(s.routes, number)
	return r
}

// end ends a route that is out of the table.
func (r *running) end() {
	r.cancel()
	if r.handlers != nil && r.Ender != nil {
		r.End()
	}
}

// endAll ends all routes at once, each on its own.
func (s *server) endAll() {
	s.mu.Lock()
	routes := s.routes
	s.routes = make(map[uint64]*running)
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, r := range routes {
		all.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					logPanic(r.log, "End", v)
				}
			}()
			r.end()
		})
	}
	all.Wait()
}

// find returns the handlers of a route.
func (s *server) find(number uint64) (*handlers, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.routes[number]; r != nil && r.handlers != nil {
		return r.handlers, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no route %d", number)
}

func missing(method string) error {
	return status.Errorf(codes.Unimplemented, "the adapter has no method %s", method)
}

func (s *server) Open(ctx context.Context, req *contract.OpenRequest) (*contract.Outcome, error) {
	h, err := s.find(req.GetRoute())
	if err != nil {
		return nil, err
	}
	if h.Opener == nil {
		return nil, missing("Open")
	}
	env, err := envelope(req.GetEnvelope(), nil)
	if err != nil {
		return nil, err
	}
	defer env.given.end()
	return outcomeOf(h.Open(ctx, env))
}

func (s *server) Message(ctx context.Context, req *contract.MessageRequest) (*contract.Outcome, error) {
	h, err := s.find(req.GetRoute())
	if err != nil {
		return nil, err
	}
	if h.Messenger == nil {
		return nil, missing("Message")
	}
	env, err := envelope(req.GetEnvelope(), req.GetHeader())
	if err != nil {
		return nil, err
	}
	defer env.given.end()
	return outcomeOf(h.Message(ctx, env))
}

func (s *server) Close(ctx context.Context, req *contract.CloseRequest) (*contract.Outcome, error) {
	h, err := s.find(req.GetRoute())
	if err != nil {
		return nil, err
	}
	if h.Closer == nil {
		return nil, missing("Close")
	}
	canister, err := principal(req.GetCanister())
	if err != nil {
		return nil, err
	}
	client, err := clientKey(req.GetClient())
	if err != nil {
		return nil, err
	}
	return outcomeOf(h.Close(ctx, canister, client, req.GetLost()))
}

func (s *server) Check(ctx context.Context, req *contract.CheckRequest) (*contract.Outcome, error) {
	h, err := s.find(req.GetRoute())
	if err != nil {
		return nil, err
	}
	if h.Checker == nil {
		return nil, missing("Check")
	}
	canister, err := principal(req.GetCanister())
	if err != nil {
		return nil, err
	}
	return outcomeOf(h.Check(ctx, canister))
}

func (s *server) Poll(req *contract.PollRequest, stream grpc.ServerStreamingServer[contract.PollPart]) error {
	h, err := s.find(req.GetRoute())
	if err != nil {
		return err
	}
	if h.Poller == nil {
		return missing("Poll")
	}
	canister, err := principal(req.GetCanister())
	if err != nil {
		return err
	}
	batch, err := h.Poll(stream.Context(), canister, req.GetFrom())
	if err != nil {
		outcome, err := outcomeOf(err)
		if err != nil {
			return err
		}
		return stream.Send(&contract.PollPart{Outcome: outcome})
	}
	return sendBatch(batch, stream.Send)
}

func (s *server) Watch(req *contract.WatchRequest, stream grpc.ServerStreamingServer[contract.WatchEvent]) error {
	h, err := s.find(req.GetRoute())
	if err != nil {
		return err
	}
	if h.Watcher == nil {
		return missing("Watch")
	}
	canister, err := principal(req.GetCanister())
	if err != nil {
		return err
	}
	return watch(stream, func(ctx context.Context, changed func()) error { return h.Watch(ctx, canister, changed) })
}
