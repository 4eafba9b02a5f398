package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A panic in a handler is the end of that call, and of nothing else.

func (s *server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
	defer s.rescue(req, info.FullMethod, &err)
	return handler(ctx, req)
}

func (s *server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	seen := &requestSeen{ServerStream: stream}
	defer func() { s.rescued(recover(), seen.req, info.FullMethod, &err) }()
	return handler(srv, seen)
}

func (s *server) rescue(req any, method string, err *error) { s.rescued(recover(), req, method, err) }

func (s *server) rescued(v, req any, method string, err *error) {
	if v == nil {
		return
	}
	log := s.log
	if r, ok := req.(interface{ GetRoute() uint64 }); ok {
		s.mu.Lock()
		if r := s.routes[r.GetRoute()]; r != nil {
			log = r.log
		}
		s.mu.Unlock()
	}
	logPanic(log, method, v)
	*err = status.Errorf(codes.Internal, "the adapter panicked in %s", path.Base(method))
}

// logPanic writes where a panic comes from: the top of the stack, because the
// relay takes lines of 8 KiB.
func logPanic(log *slog.Logger, method string, v any) {
	stack := debug.Stack()
	stack = stack[:min(len(stack), 5<<10)]
	log.Error("the adapter panicked", "method", path.Base(method), "panic", fmt.Sprint(v), "stack", string(stack))
}

// requestSeen remembers a stream's request, which says what route it is for.
type requestSeen struct {
	grpc.ServerStream
	req any
}

func (r *requestSeen) RecvMsg(m any) error {
	r.req = m
	return r.ServerStream.RecvMsg(m)
}
