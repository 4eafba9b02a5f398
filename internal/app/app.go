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
	"syscall"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/httpstop"
)

// Run starts everything that the configuration names, prints where it can be
// found, and serves until ctx ends; then it stops in order. That ctx ended is
// no error, not even during the start.
func Run(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger) error {
	return unlessStopped(ctx, run(ctx, cfg, out, log), log)
}

// unlessStopped drops what failed because the user wanted the end.
func unlessStopped(ctx context.Context, err error, log *slog.Logger) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	log.Info("stopping", "interrupted", err)
	return nil
}

func run(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger) error {
	identity, err := loadIdentity(cfg, log)
	if err != nil {
		return err
	}
	listener, err := listen("gateway.listen", cfg.Gateway.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()

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
	gateway, err := bridge.New(bridge.Options{
		Principal: identity.Principal(),
		Routes:    routes,
		Verifier:  network.verifier,
		Limits:    limits(cfg.Gateway.Limits),
		Polling:   polling(cfg.Gateway.Polling),
		Info:      network.info(),
		Web:       cfg.Gateway.Web,

		FirstMessageDelay: network.firstMessageDelay(cfg),

		Log: log,
	})
	if err != nil {
		return err
	}
	lookForPage(cfg.Gateway.Web, log)
	printAddresses(out, listener.Addr(), identity.Principal(), network)
	return serve(ctx, listener, gateway, log)
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

// serve runs the HTTP server until ctx ends.
func serve(ctx context.Context, listener net.Listener, gateway *bridge.Gateway, log *slog.Logger) error {
	server := &http.Server{
		Handler:           gateway,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var fresh httpstop.Fresh
	server.ConnState = fresh.Track
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	checked := make(chan struct{})
	go func() {
		defer close(checked)
		checkRoutes(ctx, gateway, checkTimeout, log)
	}()

	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
		log.Info("stopping")
	}
	gateway.Stop(context.Background())
	if shutdownErr := shutdown(server, &fresh); shutdownErr != nil {
		log.Warn("HTTP server did not stop in time", "error", shutdownErr)
	}
	<-checked
	return err
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
