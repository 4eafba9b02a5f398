package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/httpstop"
)

// Run is RunReloading without reloads.
func Run(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger) error {
	return RunReloading(ctx, cfg, nil, out, log)
}

// RunReloading starts everything that the configuration names, prints where it
// can be found, and serves until ctx ends; then it stops in order. That ctx
// ended is no error, not even during the start. Whatever comes from reload makes
// it read the configuration's file again.
func RunReloading(ctx context.Context, cfg *config.Config, reload <-chan os.Signal, out io.Writer, log *slog.Logger) error {
	return unlessStopped(ctx, run(ctx, cfg, reload, out, log), log)
}

// unlessStopped drops what failed because the user wanted the end.
func unlessStopped(ctx context.Context, err error, log *slog.Logger) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	log.Info("stopping", "interrupted", err)
	return nil
}

func run(ctx context.Context, cfg *config.Config, reload <-chan os.Signal, out io.Writer, log *slog.Logger) error {
	identity, err := loadIdentity(cfg, log)
	if err != nil {
		return err
	}
	listener, err := listen("gateway.listen", cfg.Gateway.Listen)
	if err != nil {
		return err
	}
	listener = bridge.Listener(listener)
	defer func() { _ = listener.Close() }()

	metrics, err := listenForMetrics(cfg)
	if err != nil {
		return err
	}
	if metrics != nil {
		defer func() { _ = metrics.Close() }()
	}
	network, err := connect(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer network.close()
	routes, err := makeRoutes(cfg, network, identity, log)
	if err != nil {
		return err
	}
	if err := network.install(ctx, cfg, identity.Principal(), log); err != nil {
		return err
	}
	own := newProcesses(network, identity, log)
	defer own.stop()
	if err := own.startAll(ctx, cfg, routes, network); err != nil {
		return err
	}
	door, err := openDoor(cfg, listener, log)
	if err != nil {
		return err
	}
	defer door.close()
	gateway, err := bridge.New(bridge.Options{
		Principal: identity.Principal(),
		Routes:    bridgeRoutes(routes),
		Verifier:  network.verifier,
		Limits:    limits(cfg.Gateway.Limits),
		Polling:   polling(cfg.Gateway.Polling),
		Info:      network.info(),
		Web:       cfg.Gateway.Web,

		TrustedProxies: cfg.Gateway.Proxies(),
		AllowedOrigins: cfg.Gateway.AllowedOrigins,
		RequireOrigin:  cfg.Gateway.RequireOrigin,
		Reachable:      network.reachable,
		LocalMetrics:   cfg.Gateway.MetricsListen == "",
		Collectors:     []prometheus.Collector{own},

		FirstMessageDelay: network.firstMessageDelay(cfg),
		Certificates:      door.problem,

		Log: log,
	})
	if err != nil {
		return err
	}
	lookForPage(cfg.Gateway.Web, log)
	printAddresses(out, door, identity.Principal(), network)
	stopMetrics := serveMetrics(metrics, cfg.Gateway.Profiling, gateway, out, log)
	defer stopMetrics()
	running := *cfg // changes with each reload
	s := &service{cfg: &running, network: network, identity: identity, gateway: gateway, routes: routes, own: own, door: door, log: log}
	return s.serve(ctx, reload)
}

// A service is what runs, and the configuration that is in force.
type service struct {
	cfg      *config.Config
	network  *network
	identity ic.Identity
	gateway  *bridge.Gateway
	routes   []*route
	own      *processes
	door     *door
	log      *slog.Logger

	checks sync.WaitGroup // of routes
}

// listen explains a taken port with the setting that chose it.
func listen(setting, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use by another program; stop that one or set %s to another port (port 0 lets the system choose)", setting, address, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return listener, nil
}

// lookForPage says why / will be empty. Clients do not need the page, and it may
// be built later, so this is no error.
func lookForPage(folder string, log *slog.Logger) {
	if folder == "" {
		return
	}
	if info, err := os.Stat(filepath.Join(folder, "index.html")); err != nil || info.IsDir() {
		log.Warn("no page at /: gateway.web has no index.html (the demo's is built by `make page`)", "folder", folder)
	}
}

// checkTimeout bounds the look at the canisters at start.
const checkTimeout = 30 * time.Second

// serve runs the HTTP servers until ctx ends.
func (s *service) serve(ctx context.Context, reload <-chan os.Signal) error {
	server := s.gateway.Server()
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	var fresh httpstop.Fresh
	count := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		fresh.Track(conn, state)
		count(conn, state)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.door) }()
	stopRedirecting := s.door.redirectAll(s.log)
	s.checkRoutes(ctx)

	err := s.wait(ctx, reload, served)
	s.gateway.Stop(context.Background())
	stopRedirecting()
	if shutdownErr := shutdown(server, &fresh); shutdownErr != nil {
		s.log.Warn("HTTP server did not stop in time", "error", shutdownErr)
	}
	s.checks.Wait()
	return err
}

// wait returns when ctx ends, or with the error of the server. Meanwhile it
// reloads.
func (s *service) wait(ctx context.Context, reload <-chan os.Signal, served <-chan error) error {
	for {
		select {
		case err := <-served:
			return fmt.Errorf("gateway: %w", err)
		case <-ctx.Done():
			s.log.Info("stopping")
			return nil
		case <-reload:
			s.reload(ctx)
		}
	}
}

// checkRoutes looks at the canisters in the background.
func (s *service) checkRoutes(ctx context.Context) {
	s.checks.Go(func() { checkRoutes(ctx, s.gateway, checkTimeout, s.log) })
}

// checkRoutes logs what does not work as configured. The gateway serves all the
// same: a canister may be mended.
func checkRoutes(ctx context.Context, gateway *bridge.Gateway, timeout time.Duration, log *slog.Logger) {
	checking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := gateway.Check(checking)
	if err == nil || ctx.Err() != nil {
		return // what a stop interrupted is no problem of a route
	}
	for _, problem := range unjoin(err) {
		log.Error("route does not work as configured", "problem", problem)
	}
}

// shutdown lets HTTP requests under way finish, for a while.
func shutdown(server *http.Server, fresh *httpstop.Fresh) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return fresh.ShutDown(ctx, server)
}

// unjoin takes errors.Join apart, so that each problem gets a line of its own.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the joined error itself is wanted
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, unjoin(e)...)
		}
		return all
	}
	return []error{err}
}
