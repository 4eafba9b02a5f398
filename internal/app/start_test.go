package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testnet"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func principal(t *testing.T, text string) candid.Principal {
	t.Helper()
	p, err := candid.ParsePrincipal(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// That the user wants the end while it starts is no error.
func TestStoppedAtStart(t *testing.T) {
	// A network that takes connections and says nothing; the first one ends the start.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	byURL := "[gateway]\nlisten = \"127.0.0.1:0\"\n[network]\nurl = \"http://" + listener.Addr().String() + "\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n"
	ended := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx
	}
	asked := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			defer cancel()
			if conn, err := listener.Accept(); err == nil {
				t.Cleanup(func() { _ = conn.Close() })
			}
		}()
		return ctx
	}
	for _, test := range []struct {
		name string
		run  func(context.Context, *config.Config, io.Writer, *slog.Logger) error
		text string
		ctx  func() context.Context
	}{
		{"with an embedded network", Run, guestbook, ended},
		{"the network alone", RunNetwork, guestbook, ended},
		{"while a network is asked for its key", Run, byURL, asked},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.run(test.ctx(), load(t, test.text), io.Discard, quiet()); err != nil {
				t.Errorf("err = %v, want nil", err)
			}
		})
	}
}

// A stuck adapter's canister never answers a check.
type stuck struct {
	bridge.Adapter
	called func()
}

func (s stuck) Check(ctx context.Context, canister candid.Principal) error {
	s.called()
	<-ctx.Done()
	return fmt.Errorf("canister %s does not answer: %w", canister, context.Cause(ctx))
}

// A route whose check takes too long is a problem to tell; one whose check the
// user's stop has ended is none.
func TestCheckRoutes(t *testing.T) {
	for _, test := range []struct {
		name    string
		timeout time.Duration
		stop    bool
		want    string
	}{
		{"no answer in time", 10 * time.Millisecond, false, "does not answer"},
		{"stopped meanwhile", time.Hour, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			called := func() {
				if test.stop {
					cancel()
				}
			}
			identity := testnet.Identity(t)
			verifier, err := ic.NewVerifier(ic.MainnetRootKey())
			if err != nil {
				t.Fatal(err)
			}
			gateway, err := bridge.New(bridge.Options{
				Principal: identity.Principal(),
				Verifier:  verifier,
				Routes:    []bridge.Route{{Canister: "\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01", Name: "stuck", Adapter: stuck{called: called}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer gateway.Stop(context.Background())
			var log bytes.Buffer
			checkRoutes(ctx, gateway, test.timeout, slog.New(slog.NewTextHandler(&log, nil)))
			if got := log.String(); (test.want == "" && got != "") || !strings.Contains(got, test.want) {
				t.Errorf("log = %q, want %q in it", got, test.want)
			}
		})
	}
}

// A folder without a page is one line in the log.
func TestLookForPage(t *testing.T) {
	with := t.TempDir()
	if err := os.WriteFile(filepath.Join(with, "index.html"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, folder string
		lines        int
	}{
		{"none wanted", "", 0},
		{"a page", with, 0},
		{"an empty folder", t.TempDir(), 1},
		{"no folder", filepath.Join(t.TempDir(), "dist"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			lookForPage(test.folder, slog.New(slog.NewTextHandler(&log, nil)))
			if got := strings.Count(log.String(), "\n"); got != test.lines || (got > 0 && !strings.Contains(log.String(), "index.html")) {
				t.Errorf("log = %q", log.String())
			}
		})
	}
}

// A start tells that its page is missing.
func TestMissingPage(t *testing.T) {
	network := testnet.Start(t)
	cfg := load(t, "[gateway]\nlisten = \"127.0.0.1:0\"\nweb = \"dist\"\n[network]\nurl = \""+network.URL()+"\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n")
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	started := writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	if err := Run(ctx, cfg, started, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if strings.Count(log.String(), "index.html") != 1 {
		t.Errorf("log = %q, want one line about index.html", log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
