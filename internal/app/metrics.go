package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/httpstop"
)

// listenForMetrics opens the listener that metrics have for themselves; nil if
// they have none.
func listenForMetrics(cfg *config.Config) (net.Listener, error) {
	address := cfg.Gateway.MetricsListen
	if address == "" || address == config.MetricsOff {
		return nil, nil
	}
	return listen("gateway.metrics_listen", address)
}

// serveMetrics serves GET /metrics, and profiles if they are wanted, until stop
// is called.
func serveMetrics(listener net.Listener, profiling bool, gateway *bridge.Gateway, out io.Writer, log *slog.Logger) (stop func()) {
	if listener == nil {
		return func() {}
	}
	printLine(out, "metrics", "http://"+reachable(listener.Addr())+"/metrics")
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", gateway.MetricsHandler())
	if profiling {
		printLine(out, "profiles", "http://"+reachable(listener.Addr())+"/debug/pprof/")
		handleProfiles(mux)
	}
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // a profile takes 30 s by default
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var fresh httpstop.Fresh
	server.ConnState = fresh.Track
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return func() {
		if err := shutdown(server, &fresh); err != nil {
			log.Warn("metrics server did not stop in time", "error", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics were no longer served", "error", err)
		}
	}
}

// handleProfiles serves what `go tool pprof` asks for.
func handleProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
}

// reachable asks the network for its status, for GET /ready.
func (n *network) reachable(ctx context.Context) error {
	status, err := n.client.Status(ctx)
	if err != nil {
		return err
	}
	if len(status.RootKey) > 0 && !bytes.Equal(status.RootKey, n.rootKey) {
		return fmt.Errorf("%s has another root key than at the start: it is another network now", n.url)
	}
	return nil
}
