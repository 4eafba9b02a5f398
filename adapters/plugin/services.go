package plugin

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// What a process may have open on its connection. Calls beyond its limits are
// refused before they do anything, but watches of many canisters have to have room.
const maxStreams = 16 << 10

// newServer makes the server of an incarnation's own services.
func (i *incarnation) newServer(config *tls.Config) *grpc.Server {
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connectionWindow),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(i.limitCall), grpc.StreamInterceptor(i.limitStream),
	)
	contract.RegisterHostServer(server, &hostService{incarnation: i})
	contract.RegisterAdapterServer(server, &baseService{incarnation: i})
	return server
}

// maxAttached is how many Attach streams a process may have: it needs one.
const maxAttached = 16

var (
	errTooManyCalls    = status.Error(codes.ResourceExhausted, "too many calls of this adapter are under way (max_calls)")
	errTooManyAttached = status.Error(codes.ResourceExhausted, "one Attach stream is enough")
)

// enter counts a call of the process. The base it may ask once for each call that
// the relay has under way with it, besides max_calls: it passes them on, however
// much it asks of the host.
func (i *incarnation) enter(method string) (leave func(), ok bool) {
	calls, most := &i.asked, int64(i.process.cfg.MaxCalls)
	if strings.HasPrefix(method, basePrefix) {
		calls, most = &i.passed, most+i.given.Load()
	}
	if calls.Add(1) <= most {
		return func() { calls.Add(-1) }, true
	}
	calls.Add(-1)
	i.refusals.add(i.process.log)
	return nil, false
}

const basePrefix = "/icrelay.adapter.v1.Adapter/"

func (i *incarnation) limitCall(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	leave, ok := i.enter(info.FullMethod)
	if !ok {
		return nil, errTooManyCalls
	}
	defer leave()
	return handle(ctx, request)
}

func (i *incarnation) limitStream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if info.FullMethod == contract.Host_Attach_FullMethodName {
		defer i.attached.Add(-1)
		if i.attached.Add(1) > maxAttached {
			return errTooManyAttached
		}
		return handle(service, stream)
	}
	leave, ok := i.enter(info.FullMethod)
	if !ok {
		return errTooManyCalls
	}
	defer leave()
	return handle(service, stream)
}

// refusals says once in a while that calls were refused.
type refusals struct {
	mu    sync.Mutex
	count int
	told  time.Time
}

func (r *refusals) add(log interface{ Warn(string, ...any) }) {
	const often = 10 * time.Second
	r.mu.Lock()
	r.count++
	n, isTime := r.count, time.Since(r.told) > often
	if isTime {
		r.count, r.told = 0, time.Now()
	}
	r.mu.Unlock()
	if isTime {
		log.Warn("calls of the adapter are refused: too many are under way (max_calls)", "calls", n)
	}
}
