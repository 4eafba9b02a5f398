package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// Serve is what main calls. It serves the relay that has started this program,
// and returns when the relay is done with it; if it cannot begin, it says why
// and ends the program.
//
// start is called once for each route that names the adapter, and returns what
// has the route's methods: a type with any of those that Opener, Messenger,
// Closer, Poller, Checker, Watcher, Windower and Ender have. A method with one of
// these names and another form is a mistake, and the route does not start.
// Routes can share what start returns. An error is one sentence for whoever
// writes the configuration.
//
// The context that start gets ends with the route, so work that goes on in the
// background belongs to it. When a route's settings change, the new route
// starts before the old one ends.
//
// SIGINT, SIGTERM and SIGHUP do nothing: they often reach all processes at once,
// and the relay needs its adapters to say goodbye to canisters. It ends them
// itself when it is done, and they end by themselves when it was killed.
func Serve(start func(ctx context.Context, route *Route) (any, error)) {
	env, err := readEnvironment()
	if err == nil {
		err = serve(env, start)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Flow control. The defaults are for the Internet; here the other side is on
// the same machine, and a part of a batch has 256 KiB.
const (
	streamWindow     = 1 << 20
	connectionWindow = 4 << 20
)

// How long an end may take. After a second and a half the relay kills.
const (
	callsEnd  = 700 * time.Millisecond
	routesEnd = 700 * time.Millisecond
)

// serve speaks go-plugin's part of the protocol without its package: one line
// on standard output. Its server would take standard output and error for a
// stream of its own, in which the last words of a process that crashes are
// lost, and it would bring a broker, reflection, and five modules to every
// adapter. Nothing of that has a use here.
func serve(env environment, start func(context.Context, *Route) (any, error)) error {
	// Caught and not read, because what is ignored stays so in programs that the
	// adapter starts.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	log := newLogger(os.Stderr)
	slog.SetDefault(log) // and with it, that of package log

	listener, err := listen(env.socketDir)
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // the server has closed it, and it removes its file
	if err := otherVersions(); err != nil {
		_ = sayWhere(listener.Addr()) // the relay reads the version there, and has the same to say
		return err
	}

	// No pings in between: a unix socket ends with its process, and the stream
	// of Attach is always open.
	relay, err := grpc.NewClient(env.host,
		grpc.WithTransportCredentials(credentials.NewTLS(env.tls)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return fmt.Errorf("%s: %w", envHost, err)
	}
	defer relay.Close() //nolint:errcheck // nothing is under way any more

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := newServer(ctx, relay, log, start)
	g := s.grpc(grpc.Creds(credentials.NewTLS(env.tls)))
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	if err := sayWhere(listener.Addr()); err != nil {
		return err
	}

	attached := make(chan error, 1)
	go func() { attached <- attach(ctx, s.host) }()
	select {
	case err = <-served: // the socket is gone
		err = fmt.Errorf("serving the relay: %w", err)
	case err = <-attached:
	}
	s.stop(g, cancel)
	return err
}

// grpc makes the gRPC server of s.
func (s *server) grpc(options ...grpc.ServerOption) *grpc.Server {
	g := grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.WaitForHandlers(true),
	)...)
	contract.RegisterPluginServer(g, s)
	contract.RegisterAdapterServer(g, s)
	healthy := health.NewServer() // go-plugin's clients ask it
	healthy.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(g, healthy)
	return g
}

// stop ends the calls, then the routes. An adapter that does not end in time is
// left behind, with its process.
func (s *server) stop(g *grpc.Server, cancel context.CancelFunc) {
	cancel()
	if !within(callsEnd, g.Stop) {
		s.log.Warn("calls have not ended with their context")
	}
	if !within(routesEnd, s.endAll) {
		s.log.Warn("a route's End has not returned")
	}
}

// within runs what may never return, and reports whether it has in time.
func within(d time.Duration, run func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// attach holds the stream whose end is the end of the process. It is in order:
// the relay has stopped, or was killed. Only never to have begun is an error.
func attach(ctx context.Context, host contract.HostClient) error {
	stream, err := host.Attach(ctx, &contract.AttachRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("the relay is not reached: %s", status.Convert(err).Message())
	}
	for err == nil {
		_, err = stream.Recv()
	}
	return nil
}

// listen opens a socket that only this user reaches; strangers would not get
// past TLS either.
func listen(dir string) (net.Listener, error) {
	if dir != "" {
		// A path has room for about a hundred bytes.
		listener, err := net.Listen("unix", filepath.Join(dir, "p"+strconv.Itoa(os.Getpid())+".sock"))
		if err == nil {
			return listener, nil
		}
	}
	dir, err := os.MkdirTemp("", "relay")
	if err != nil {
		return nil, fmt.Errorf("a folder for the socket: %w", err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "p.sock"))
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &temporary{listener, dir}, nil
}

// temporary removes the folder, too.
type temporary struct {
	net.Listener
	dir string
}

func (t *temporary) Close() error {
	return errors.Join(t.Listener.Close(), os.RemoveAll(t.dir))
}

// sayWhere writes the handshake: go-plugin's own version, the contract's, and
// where the process listens.
func sayWhere(addr net.Addr) error {
	if _, err := fmt.Fprintf(handshake, "1|%d|%s|%s|grpc|\n", contractVersion, addr.Network(), addr); err != nil {
		return fmt.Errorf("the handshake: %w", err)
	}
	return nil
}
