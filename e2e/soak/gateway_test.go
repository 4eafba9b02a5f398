package soak

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/config"
)

// A gateway is a whole one, made from a configuration file, with a proxy
// between it and the network.
type gateway struct {
	t         *testing.T
	name      string
	file      string
	principal candid.Principal
	proxy     *proxy
	log       *slog.Logger

	stop func() // ends the one that runs

	mu  sync.Mutex
	url string // for clients, "" while it does not run
}

// newGateway makes a gateway's identity and its way to the network.
func newGateway(t *testing.T, name, networkURL string, log *slog.Logger) *gateway {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	identity, _, err := ic.LoadOrCreateIdentity(filepath.Join(dir, "identity.pem"))
	if err != nil {
		t.Fatal(err)
	}
	network, err := url.Parse(networkURL)
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{
		t:         t,
		name:      name,
		file:      filepath.Join(dir, "config.toml"),
		principal: identity.Principal(),
		proxy:     startProxy(t, network.Host),
		log:       log.With("gateway", name),
	}
}

// configure writes the configuration, in which route is the same for all gateways.
func (g *gateway) configure(route string) {
	g.t.Helper()
	text := strings.NewReplacer("{url}", g.proxy.url()).Replace(`
[gateway]
listen = "127.0.0.1:0"
identity = "identity.pem"
[gateway.limits]
stop_timeout = "1s"
connection_rate_per_address = 1000
[network]
url = "{url}"
`) + route
	if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) load() *config.Config {
	g.t.Helper()
	cfg, err := config.Load(g.file)
	if err != nil {
		g.t.Fatal(err)
	}
	return cfg
}

// start runs the gateway until the test ends, or crash.
func (g *gateway) start() {
	g.t.Helper()
	cfg := g.load()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := app.Run(ctx, cfg, writer, g.log)
		_ = writer.Close()
		done <- err
	}()
	g.stop = sync.OnceFunc(func() {
		g.set("")
		cancel()
		select {
		case err := <-done:
			if err != nil {
				g.t.Errorf("gateway %s: %v", g.name, err)
			}
		case <-time.After(patience):
			g.t.Errorf("gateway %s does not stop", g.name)
		}
	})
	g.t.Cleanup(g.stop)

	address := ""
	for lines := bufio.NewScanner(reader); address == "" && lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), " "); name == "websocket" {
			address = strings.TrimSpace(value)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }() // ends with the pipe
	if address == "" {
		g.t.Fatalf("gateway %s does not say where it is", g.name)
	}
	g.set(address)
}

// crash ends the gateway without a word to the canister.
func (g *gateway) crash() {
	g.proxy.interrupt(true)
	g.stop()
	g.proxy.interrupt(false)
}

func (g *gateway) set(url string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.url = url
}

// address is the URL for clients, "" while there is none.
func (g *gateway) address() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.url
}

// A tail keeps the last lines, which are of interest when something is wrong.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 500

// newLog returns a log whose end is shown if the test fails.
func newLog(t *testing.T) *slog.Logger {
	end := &tail{}
	t.Cleanup(func() {
		end.mu.Lock()
		defer end.mu.Unlock()
		if t.Failed() {
			_, _ = io.WriteString(t.Output(), strings.Join(end.lines, ""))
		}
	})
	return slog.New(logs{slog.NewTextHandler(end, &slog.HandlerOptions{Level: slog.LevelWarn})})
}

func (l *tail) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == tailLines {
		l.lines = slices.Delete(l.lines, 0, tailLines/5)
	}
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// logs leaves out what every message of some kinds would bring.
type logs struct{ slog.Handler }

func (l logs) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "a call was rejected by its target" {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

func (l logs) WithAttrs(attrs []slog.Attr) slog.Handler { return logs{l.Handler.WithAttrs(attrs)} }
