package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/testnet"
)

// TestMain is this program when the suite starts a part of it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "bare-") {
		main()
		return
	}
	os.Exit(m.Run())
}

// relayBinary is the relay under test: RELAY_BIN, or one built for this test.
func relayBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("RELAY_BIN"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "relay")
	build := exec.Command("go", "build", "-o", path, "./cmd/relay") //nolint:gosec // this project
	build.Dir = testnet.Root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// TestSuite runs the whole chain for a moment. Figures of a moment on a busy
// machine say little: what is wanted is that everything was measured, without
// errors, and nothing far from what it should be.
func TestSuite(t *testing.T) {
	relay := relayBinary(t)
	var out bytes.Buffer
	u := &suite{
		settings: settings{
			relay: relay, self: os.Args[0],
			seconds: time.Second, turns: 2, senders: 8, fan: 50, rate: 50, crowds: []int{10, 100}, opens: 100, settle: time.Second, fixed: 100 * time.Millisecond,
		},
		results: results{out: &out},
		figures: make(map[string]float64),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err := u.run(ctx)
	t.Logf("\n%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	for name, bounds := range map[string]struct{ least, most float64 }{
		"fanout":        {1, 1000}, // percent of the bare server
		"send":          {2, 1000}, // percent of bare posts
		"echo":          {2, 1000}, // the same
		"added p99":     {-10_000, 10_000},
		"polls":         {1, 300}, // percent of a fixed interval's
		"polling delay": {0.1, 100_000},
		"opened":        {100, 100},
		"idle KB":       {-100, 500},
		"idle cores":    {0, 0.8},
		"flat":          {-100_000, 100_000},
	} {
		if got, ok := u.figures[name]; !ok || got < bounds.least || got > bounds.most {
			t.Errorf("%s: %g (measured: %t), want %g to %g", name, got, ok, bounds.least, bounds.most)
		}
	}
	for _, want := range []string{"fan-out to 50 clients", "sends to all", "client to canister, 8 clients", "frames/s", "posts/s", "100 opens at 100/s", "memory of an idle session", "reached"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the results lack %q", want)
		}
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct{ name, value, want string }{
		"no number":      {"BENCH_SECONDS", "ten", "BENCH_SECONDS"},
		"zero":           {"BENCH_FANOUT", "0", "BENCH_FANOUT"},
		"in a list":      {"BENCH_CROWDS", "10 x", "BENCH_CROWDS"},
		"a list":         {"BENCH_CROWDS", "10 20", ""},
		"another binary": {"RELAY_BIN", "/elsewhere/relay", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(test.name, test.value)
			_, err := settingsFromEnvironment()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestUnknownPart(t *testing.T) {
	if err := start(t.Context(), []string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}

// TestBrokenRelay: a relay that does not start is told of, with what it said.
func TestBrokenRelay(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "relay")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no such luck >&2\nexit 3\n"), 0o700); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
	err := runSuite(t.Context(), settings{relay: broken, self: os.Args[0]}, t.Output())
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
}
