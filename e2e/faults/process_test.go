package faults

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
)

// binary is the relay under test: RELAY_BIN, or one built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("RELAY_BIN"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "relay-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "relay")
	build := exec.Command("go", "build", "-o", path, "./cmd/relay")
	build.Dir = testnet.Root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// built is the folder of a binary that was built here.
var built string

// removeBinary is for the end of all tests.
func removeBinary() {
	if built != "" {
		_ = os.RemoveAll(built)
	}
}

// A setup is a gateway's folder: its configuration and its identity.
type setup struct {
	w    *world
	file string
}

// newSetup makes one, and its identity the world's. The network is behind url.
func newSetup(w *world) *setup {
	w.Helper()
	dir := w.TempDir()
	identity, _, err := ic.LoadOrCreateIdentity(filepath.Join(dir, "identity.pem"))
	w.must(err)
	w.identity = identity
	return &setup{w: w, file: filepath.Join(dir, "config.toml")}
}

// write writes the configuration: any canister is one with the CDK, but for r's relay canister.
func (s *setup) write(networkURL string, r relayed) {
	s.w.Helper()
	s.w.must(os.WriteFile(s.file, fmt.Appendf(nil, `
[gateway]
listen = "127.0.0.1:0"
identity = "identity.pem"
[gateway.limits]
max_connections_per_address = 5000
connection_rate_per_address = 5000
[network]
url = %q
[[route]]
canister = "*"
adapter = "cdk"
[[route]]
canister = %q
adapter = "relay"
[route.relay]
ack_interval = %q
keep_alive_timeout = %q
[[route.relay.call]]
target = %q
method = "echo"
reply = "sender"
error_tag = %q
`, networkURL, r.relay, r.settings.AckInterval, r.settings.KeepAliveTimeout, r.target, failedTag), 0o600))
}

// A process is a gateway as a user runs it.
type process struct {
	t       *testing.T
	command *exec.Cmd
	url     string // ws://
	ended   chan struct{}
	err     error // what it ended with; set before ended is closed

	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what it logs.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// lines counts the lines of its log with a text.
func (p *process) lines(with string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

// run starts the gateway and waits until it says where it is.
func (s *setup) run() *process {
	t := s.w.T
	t.Helper()
	path, err := binary()
	s.w.must(err)
	p := &process{t: t, command: exec.Command(path, "--config", s.file), ended: make(chan struct{})} //nolint:gosec // the binary under test
	p.command.Stderr = p
	out, err := p.command.StdoutPipe()
	s.w.must(err)
	s.w.must(p.command.Start())
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", p.tail())
		}
	})
	started := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if name, value, _ := strings.Cut(lines.Text(), " "); name == "websocket" {
				p.url = strings.TrimSpace(value)
				close(started)
			}
		}
		p.err = p.command.Wait()
		close(p.ended)
	}()
	select {
	case <-started:
	case <-p.ended:
		t.Fatalf("the gateway has ended: %v\n%s", p.err, p.tail())
	case <-time.After(patience):
		t.Fatalf("the gateway does not say where it is\n%s", p.tail())
	}
	return p
}

// tail is the end of its log.
func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 4000
	text := p.log.String()
	return text[max(0, len(text)-most):]
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Error("a killed gateway goes on")
	}
}

// terminate asks it to stop.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// stops wants that it ends with exit code 0 in time, and returns when it did.
func (p *process) stops(within time.Duration) time.Duration {
	p.t.Helper()
	start := time.Now()
	select {
	case <-p.ended:
		if p.err != nil {
			p.t.Errorf("the gateway ends with %v", p.err)
		}
	case <-time.After(within):
		p.t.Errorf("the gateway has not ended after %s", within)
		p.kill()
	}
	return time.Since(start)
}

// background is a context that ends with the test.
func (w *world) background() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	w.Cleanup(cancel)
	return ctx
}
