package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/icrelay/icrelay/internal/bench"
	"github.com/icrelay/icrelay/internal/testlog"
)

// A process is a part of the setup that runs until it is stopped.
type process struct {
	command *exec.Cmd
	said    map[string]string // the first lines of its output: name and value
	ended   chan struct{}
	log     testlog.Book
}

// patience is for a process to start or to stop.
const patience = 30 * time.Second

// launch starts a process and waits until it has printed a line with the last
// of the names.
func launch(names []string, path string, args ...string) (*process, error) {
	p := &process{command: exec.Command(path, args...), said: make(map[string]string), ended: make(chan struct{})} //nolint:gosec // parts of the suite
	p.command.Stderr = &p.log
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		waiting := true
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if !waiting || len(fields) < 2 {
				continue
			}
			p.said[fields[0]] = fields[len(fields)-1]
			if fields[0] == names[len(names)-1] {
				waiting = false
				close(ready)
			}
		}
		_ = p.command.Wait()
		close(p.ended)
	}()
	select {
	case <-ready:
	case <-p.ended:
		return nil, fmt.Errorf("%s %s has ended: %s", filepath.Base(path), strings.Join(args, " "), p.log.String())
	case <-time.After(patience):
		p.stop()
		return nil, fmt.Errorf("%s %s does not say where it is", filepath.Base(path), strings.Join(args, " "))
	}
	for _, name := range names {
		if p.said[name] == "" {
			p.stop()
			return nil, fmt.Errorf("%s did not print %q", filepath.Base(path), name)
		}
	}
	return p, nil
}

func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.command.Process.Kill()
		<-p.ended
	}
}

const networkConfig = `
[gateway]
identity = "network.pem"
[network]
url = "embedded"
listen = "127.0.0.1:0"
[[network.canister]]
name = "echo"
wasm = "builtin:echo"
[[route]]
canister = "echo"
adapter = "cdk"
`

// gatewayConfig has limits beyond what is measured: they have tests of their own.
const gatewayConfig = `
[gateway]
listen = %q
identity = "gateway-%d.pem"
metrics_listen = "127.0.0.1:0"
profiling = true
[gateway.limits]
max_connections = 100000
connection_rate = 100000
max_http_connections = 100000
[gateway.log]
level = "warn"
[network]
url = %q
[[route]]
canister = %q
adapter = "cdk"
`

// startNetwork starts the embedded network alone.
func startNetwork(s settings, dir string) (*process, error) {
	file := filepath.Join(dir, "network.toml")
	if err := os.WriteFile(file, []byte(networkConfig), 0o600); err != nil {
		return nil, err
	}
	return launch([]string{"network", "canister"}, s.relay, "network", "--config", file)
}

// startGateway starts a gateway in front of it, each with an identity of its
// own: with that of another it would first read what that one has left.
func startGateway(s settings, dir, listen string, number int, network *process) (*process, error) {
	file := filepath.Join(dir, fmt.Sprintf("gateway-%d.toml", number))
	text := fmt.Sprintf(gatewayConfig, listen, number, network.said["network"], network.said["canister"])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return launch([]string{"websocket", "metrics"}, s.relay, "--config", file)
}

// load runs `relay bench` against the gateway.
func (u *suite) load(ctx context.Context, args ...string) (*bench.Report, error) {
	args = append([]string{"bench", "--json", "--quiet", "--gateway", u.gateway.said["websocket"],
		"--pid", strconv.Itoa(u.gateway.command.Process.Pid), "--ramp", strconv.Itoa(u.opens), "--check-every", "1000"}, u.onNetwork(args...)...)
	var report bench.Report
	if err := runJSON(ctx, &report, u.relay, args...); err != nil {
		return nil, err
	}
	return &report, nil
}

// bare runs another part of this program.
func (u *suite) bare(ctx context.Context, part string, args ...string) (*bareResult, error) {
	var result bareResult
	if err := runJSON(ctx, &result, u.self, append([]string{part}, args...)...); err != nil {
		return nil, err
	}
	return &result, nil
}

// runJSON runs a program to its end and reads what it writes.
func runJSON(ctx context.Context, into any, path string, args ...string) error {
	command := exec.CommandContext(ctx, path, args...) //nolint:gosec // parts of the suite
	var log bytes.Buffer
	command.Stderr = &log
	out, err := command.Output()
	if jsonErr := json.Unmarshal(out, into); jsonErr != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(path), strings.Join(args, " "), errors.Join(err, jsonErr), log.String())
	}
	return nil // errors on the way are in the report
}

// polls is how many polls the gateway has made.
func (u *suite) polls(ctx context.Context) (n float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.gateway.said["metrics"], nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(name, "relay_polls_total") {
			count, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			n += count
		}
	}
	return n, nil
}
