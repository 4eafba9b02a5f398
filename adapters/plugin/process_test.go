//go:build unix

package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/internal/testlog"
)

const patience = 30 * time.Second // for what takes milliseconds when nobody else needs the machine

// quick is for tests that wait for what takes seconds in earnest.
var quick = timing{
	ping: 100 * time.Millisecond, pingTimeout: patience, // but where a process hangs
	weigh: 20 * time.Millisecond,
	grace: defaultTiming.grace,
	pause: 50 * time.Millisecond, maxPause: 400 * time.Millisecond, settled: time.Minute,
	retry: 20 * time.Millisecond, maxRetry: 200 * time.Millisecond,
	events: 10 * time.Millisecond,
	quiet:  20 * time.Millisecond,
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// config is the test binary as an adapter.
func config(t testing.TB, mode string) Config {
	t.Helper()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Name:    "trial",
		Command: []string{file},
		Dir:     t.TempDir(),
		Env:     map[string]string{"ADAPTER_TEST": mode, "GORACE": "exitcode=0"},
		Memory:  1 << 30,
	}
}

type processBench struct {
	*testing.T
	*Process
	log *testlog.Book
}

func startProcess(t *testing.T, change func(*Config, *timing)) *processBench {
	t.Helper()
	cfg, timing := config(t, ""), quick
	cfg.StartTimeout = patience
	if change != nil {
		change(&cfg, &timing)
	}
	log := new(testlog.Book)
	p, err := start(t.Context(), cfg, Host{Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, timing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("log of the process:\n%s", log)
		}
	})
	return &processBench{t, p, log}
}

// add gives the process a route to a base.
func (b *processBench) add(base bridge.Adapter, settings string) *Adapter {
	b.Helper()
	a, err := b.Route(b.Context(), Route{Base: base, BaseName: "cdk", Settings: []byte(settings)})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func (b *processBench) pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return 0
	}
	return b.current.program.command.Process.Pid
}

// exists reports whether there is such a process, and it lives: nobody may have
// taken note of its end.
func exists(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && bytes.Contains(stat, []byte(") Z ")) {
		return false
	}
	return syscall.Kill(pid, 0) == nil
}

// What is wrong with a program is said in one sentence that tells what to change.
func TestStartProblems(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := filepath.Join(folder, "notes.txt")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(folder, "broken")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o700); err != nil { //nolint:gosec // it is to be started
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, mode string
		change     func(*Config)
		want       []string
	}{
		{"no command", "", func(c *Config) { c.Command = nil }, []string{"command", "names no program"}},
		{"no such file", "", func(c *Config) { c.Command = []string{"./gone"} }, []string{"command", "there is no file", "gone"}},
		{"no such program", "", func(c *Config) { c.Command = []string{"no-such-program-here"} }, []string{"command", "PATH", "./no-such-program-here"}},
		{"a folder", "", func(c *Config) { c.Command = []string{folder} }, []string{"is a folder"}},
		{"not executable", "", func(c *Config) { c.Command = []string{text} }, []string{"notes.txt", "chmod +x"}},
		{"an interpreter that is not there", "", func(c *Config) { c.Command = []string{script} }, []string{"command", "no such file"}},
		{"another checksum", "", func(c *Config) { c.SHA256 = make([]byte, 32) }, []string{"sha256", "has checksum", strings.Repeat("0", 64)}},
		{"ends at once", "exits", nil, []string{"exit status 3", "before its handshake", "cannot open the database"}},
		{"ends at once, and says nothing", "exits politely", nil, []string{"exit status 0", "before its handshake"}},
		{"says nothing", "silent", nil, []string{"start_timeout (1s)", "thinking"}},
		{"prints something else", "chatty", nil, []string{"Welcome to the adapter!", "standard error"}},
		{"closes its output", "closes its output", nil, []string{"closed its standard output"}},
		{"prints without an end", "endless line", nil, []string{"handshake", "xxx"}},
		{"another version", "other version", nil, []string{`version "2"`, "version 1"}},
		{"does not listen", "not here", nil, []string{"does not answer", "nobody"}},
		{"listens elsewhere", "over there", nil, []string{"192.0.2.1"}},
		{"ends after the handshake", "exits after the handshake", nil, []string{"exit status 4", "changed my mind"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, tc.mode)
			cfg.StartTimeout = patience
			if strings.Contains(tc.name, "nothing") && tc.mode == "silent" || tc.mode == "not here" {
				cfg.StartTimeout = time.Second
			}
			if tc.change != nil {
				tc.change(&cfg)
			}
			p, err := start(t.Context(), cfg, Host{}, quick)
			if err == nil {
				p.Stop()
				t.Fatal("it starts")
			}
			for _, part := range append(tc.want, `adapter "trial"`) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error is %q, and does not have %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
		})
	}
}

// What is right about a program is no problem: the checksum, and the environment.
func TestEnvironment(t *testing.T) {
	t.Setenv("A_SECRET_OF_THE_RELAY", "hunter2")
	folder := t.TempDir()
	program := filepath.Join(folder, "adapter.sh")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv >environment\npwd >>environment\nexec "+strconv.Quote(config(t, "").Command[0])+"\n"), 0o700); err != nil { //nolint:gosec // it is to be started
		t.Fatal(err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	b := startProcess(t, func(c *Config, _ *timing) {
		c.Command, c.Dir, c.SHA256 = []string{"./adapter.sh"}, folder, sum[:]
		c.Env["MINE"] = "yes"
	})
	environment, err := os.ReadFile(filepath.Join(folder, "environment"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MINE=yes", "ICRELAY_ADAPTER=v1", "ICRELAY_HOST=unix:/", "ICRELAY_TLS_CA=", "ICRELAY_LOG_LEVEL=debug", "GOMEMLIMIT=966367638", "PATH=", "PLUGIN_PROTOCOL_VERSIONS=1\n", "\n" + folder + "\n"} {
		if !strings.Contains(string(environment), want) {
			t.Errorf("the environment does not have %q", want)
		}
	}
	if strings.Contains(string(environment), "hunter2") {
		t.Error("the program sees what the relay's environment has besides")
	}
	_, rest, _ := strings.Cut(string(environment), "ICRELAY_HOST=unix:")
	socket, _, _ := strings.Cut(rest, "\n")
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder: %v, %v", info, err)
	}
	b.Stop()
	if _, err := os.Stat(filepath.Dir(socket)); err == nil {
		t.Error("the socket's folder stays behind")
	}
}

// A stranger without the certificates of this start gets nowhere.
func TestStrangers(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	keys, err := newKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i := b.current
	for _, address := range []string{filepath.Join(i.folder, "host"), filepath.Join(i.sockets, "adapter")} {
		if err := greet(t, address, keys.client()); err == nil {
			t.Errorf("%s answers somebody with other certificates", address)
		}
		anonymous := keys.client()
		anonymous.Certificates, anonymous.RootCAs, anonymous.InsecureSkipVerify = nil, nil, true //nolint:gosec // what an attacker would do
		if err := greet(t, address, anonymous); err == nil {
			t.Errorf("%s answers somebody without a certificate", address)
		}
	}
}

// A program that ends is started anew, with its routes, and pauses in between.
func TestRestart(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	b := startProcess(t, nil)
	base := newFakeBase()
	a := b.add(base, fmt.Sprintf(`{"log":%q}`, log))
	for n := range uint64(3) {
		pid := b.pid()
		if err := a.Open(t.Context(), envelope(t, "ws_open", nil)); err != nil {
			t.Fatalf("open after %d restarts: %v", n, err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it runs again", func() bool { return b.Up() && b.Restarts() == n+1 && a.state.Load() != nil && b.pid() != pid })
	}
	started, err := os.ReadFile(log) //nolint:gosec // the test's own file
	if err != nil || strings.Count(string(started), "start 1 trial cdk") != 4 {
		t.Errorf("the route was started: %q, %v", started, err)
	}
	for _, part := range []string{`"adapter":"trial"`, "is started anew", "signal: killed"} {
		if !b.log.Contains(part) {
			t.Errorf("the log does not have %q", part)
		}
	}
}

// While there is no process, callers are told to try again later, the canister
// is told of those who have gone, and a watch says that its sessions are lost.
func TestWhileItIsGone(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(_ *Config, timing *timing) { timing.pause, timing.maxPause = time.Hour, time.Hour })
	base := newFakeBase()
	a := b.add(base, `{}`)
	env := envelope(t, "ws_open", nil)
	if err := a.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	watched := make(chan error, 1)
	go func() { watched <- a.Watch(t.Context(), env.Canister, func() {}) }()
	eventually(t, "the base is watched", func() bool { return base.count("watch") == 1 })
	start := time.Now()
	_ = syscall.Kill(b.pid(), syscall.SIGKILL)
	wantLost(t, <-watched)
	t.Logf("the watch says so after %s", time.Since(start).Round(time.Millisecond))
	if b.Up() {
		t.Error("it is said to be up")
	}
	for name, err := range map[string]error{
		"Open":    a.Open(t.Context(), env),
		"Message": a.Message(t.Context(), env),
		"Check":   a.Check(t.Context(), env.Canister),
	} {
		wantUnavailable(t, name, err, "trial starts anew, try again later")
	}
	_, err := a.Poll(t.Context(), env.Canister, 0)
	wantLost(t, err)
	wantLost(t, a.Watch(t.Context(), env.Canister, func() {}))
	if err := a.Close(t.Context(), env.Canister, env.Client); err != nil || base.count("close") != 1 {
		t.Errorf("close: %v; the base was told %d times", err, base.count("close"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Route(ctx, Route{Base: base}); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("a new route: %v", err)
	}
}

// Sessions that were opened with a process that has been replaced are lost, even
// if nobody has watched when it was.
func TestReplacedUnwatched(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	base := newFakeBase()
	a := b.add(base, `{}`)
	env := envelope(t, "ws_open", nil)
	if err := a.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	old := a.state.Load()
	_ = syscall.Kill(b.pid(), syscall.SIGKILL)
	eventually(t, "the route is served again", func() bool { s := a.state.Load(); return s != nil && s != old })
	wantLost(t, a.Watch(t.Context(), env.Canister, func() {}))
	if err := a.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Poll(t.Context(), env.Canister, 0); err != nil {
		t.Errorf("poll of a session with the new process: %v", err)
	}
}

// A process that does not take a route again is asked until it does; clients
// are told to try again later.
func TestRouteRefusedAfterRestart(t *testing.T) {
	t.Parallel()
	stop := filepath.Join(t.TempDir(), "stop")
	b := startProcess(t, nil)
	a := b.add(newFakeBase(), fmt.Sprintf(`{"once":%q}`, stop))
	other := b.add(newFakeBase(), `{}`)
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(b.pid(), syscall.SIGKILL)
	eventually(t, "refused", func() bool {
		return b.log.Contains("not while that file is there") && other.state.Load() != nil
	})
	wantUnavailable(t, "Open", a.Open(t.Context(), envelope(t, "ws_open", nil)), "try again later")
	if err := other.Open(t.Context(), envelope(t, "ws_open", nil)); err != nil {
		t.Errorf("the other route: %v", err)
	}
	if err := os.Remove(stop); err != nil {
		t.Fatal(err)
	}
	eventually(t, "taken", func() bool { return a.Open(t.Context(), envelope(t, "ws_open", nil)) == nil })
}

// A route's problem is the program's own sentence.
func TestRouteProblems(t *testing.T) {
	t.Parallel()
	b := startProcess(t, nil)
	_, err := b.Route(t.Context(), Route{Base: newFakeBase(), Settings: []byte(`{"problem":"token is not a principal"}`)})
	if err == nil || err.Error() != `adapter "trial": token is not a principal` {
		t.Errorf("error is %v", err)
	}
	if b.route(1) != nil {
		t.Error("the route is still known")
	}
	none := startProcess(t, func(c *Config, _ *timing) { c.Env["ADAPTER_TEST"] = "no service" })
	if _, err := none.Route(t.Context(), Route{Base: newFakeBase()}); err == nil || !strings.Contains(err.Error(), "icrelay.adapter.v1.Plugin") {
		t.Errorf("error is %v", err)
	}
}

// A process that is stopped by a signal is found out, and replaced.
func TestHang(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(_ *Config, timing *timing) { timing.pingTimeout = 1500 * time.Millisecond })
	pid := b.pid()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	eventually(t, "another process", func() bool { return b.Up() && b.pid() != pid })
	if exists(pid) {
		t.Error("the old one is still there")
	}
	if !b.log.Contains("it has not answered for 1.5s") {
		t.Error("the log does not say why")
	}
}

// Stop takes its second or two, whatever the process does; and its children go with it.
func TestStopOfTheStubborn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, b *processBench, a *Adapter)
		slow bool
	}{
		{"as it should be", func(*testing.T, *processBench, *Adapter) {}, false},
		{"stopped by a signal", func(_ *testing.T, b *processBench, _ *Adapter) { _ = syscall.Kill(b.pid(), syscall.SIGSTOP) }, true},
		{"deaf", func(t *testing.T, b *processBench, a *Adapter) {
			go func() { _ = a.Message(context.WithoutCancel(t.Context()), message(t, "fault:deaf")) }()
			eventually(t, "it is asked", func() bool { return b.current.given.Load() == 1 })
		}, true},
		{"while it is down", func(t *testing.T, b *processBench, _ *Adapter) {
			_ = syscall.Kill(b.pid(), syscall.SIGKILL)
			eventually(t, "down", func() bool { return !b.Up() })
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := startProcess(t, nil)
			a := b.add(newFakeBase(), `{}`)
			pid := b.pid()
			tc.do(t, b, a)
			start := time.Now()
			b.Stop()
			took := time.Since(start)
			if took > quick.grace+2*time.Second {
				t.Errorf("it took %s", took)
			}
			if exists(pid) {
				t.Error("the process is still there")
			}
			b.Stop() // again
			wantUnavailable(t, "Open", a.Open(t.Context(), envelope(t, "ws_open", nil)), "")
			t.Logf("%s", took.Round(time.Millisecond))
		})
	}
}

// Nor does what go-plugin's own server wants to be read keep it from ending.
func TestStopBesideFloodedOutput(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(c *Config, _ *timing) { c.Env["ADAPTER_TEST"] = "floods its standard output service" })
	eventually(t, "it is held up", func() bool { return b.Dropped() > 2*bytesPerSecond/10/1000 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.Stop()
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("Stop does not return")
	}
}

// What a process has started goes with it, even if it holds its output open.
func TestChildrenGoToo(t *testing.T) {
	t.Parallel()
	program, pids := filepath.Join(t.TempDir(), "adapter.sh"), filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf("#!/bin/sh\nsleep 1000 &\necho $! >%s\nexec %q\n", pids, config(t, "").Command[0])
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil { //nolint:gosec // it is to be started
		t.Fatal(err)
	}
	b := startProcess(t, func(c *Config, _ *timing) { c.Command = []string{program} })
	text, err := os.ReadFile(pids) //nolint:gosec // the test's own file
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	b.Stop()
	eventually(t, "the child is gone", func() bool { return !exists(child) })
}

// End tells the process when no call is under way any more; a late Close goes to the base.
func TestEndRoute(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	b := startProcess(t, nil)
	base := newFakeBase()
	a := b.add(base, fmt.Sprintf(`{"log":%q}`, log))
	env := envelope(t, "ws_open", nil)
	hold := make(chan struct{})
	base.set("open", func(context.Context) error { <-hold; return nil })
	opened := make(chan error, 1)
	go func() { opened <- a.Open(t.Context(), env) }()
	eventually(t, "the base is asked", func() bool { return base.count("open") == 1 })
	a.End()
	a.End()
	noted := func() string {
		text, _ := os.ReadFile(log) //nolint:gosec // the test's own file
		return string(text)
	}
	time.Sleep(5 * quick.quiet) // it would have been sent by now
	if strings.Contains(noted(), "end 1") {
		t.Error("EndRoute while a call is under way")
	}
	close(hold)
	if err := <-opened; err != nil {
		t.Error(err)
	}
	eventually(t, "EndRoute", func() bool { return strings.Contains(noted(), "end 1\n") })
	if strings.Contains(noted(), "close") {
		t.Error("a close that nobody has asked for")
	}
	if err := a.Close(t.Context(), env.Canister, env.Client); err != nil || base.count("close") != 1 {
		t.Errorf("late close: %v; the base was told %d times", err, base.count("close"))
	}
	if err := a.Open(t.Context(), env); err == nil {
		t.Error("the route still opens")
	}
	eventually(t, "forgotten", func() bool { return b.route(a.number) == nil })
}

// The program's lines are in the log, with their level and attributes.
func TestLogLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", 3*maxLine)
	for _, tc := range []struct{ name, line, want string }{
		{"slog", `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"low","disk":7,"adapter":"another"}`, `{"level":"WARN","msg":"low","adapter":"trial","disk":7}`},
		{"hclog", `{"@level":"trace","@message":"deep","@timestamp":"x","@module":"m"}`, `{"level":"DEBUG","msg":"deep","adapter":"trial","@module":"m"}`},
		{"text", `it works`, `{"level":"INFO","msg":"it works","adapter":"trial"}`},
		{"other JSON", `{"a":1}`, `{"level":"INFO","msg":"{\"a\":1}","adapter":"trial"}`},
		{"broken JSON", `{"msg":`, `{"level":"INFO","msg":"{\"msg\":","adapter":"trial"}`},
		{"unknown level", `{"level":"LOUD","msg":"x"}`, `{"level":"INFO","msg":"x","adapter":"trial"}`},
		{"not UTF-8", "\xff\xfe", `{"level":"INFO","msg":"?","adapter":"trial"}`},
		{"too long", long, `{"level":"INFO","msg":"` + long[:maxLine] + `","adapter":"trial","cut":true}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			log := new(testlog.Book)
			handler := slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})
			lines := newLineLog(slog.New(handler).With("adapter", "trial"))
			readLines(strings.NewReader(tc.line+"\r\n"), lines.line, nil)
			if got := strings.TrimSpace(log.String()); got != tc.want {
				t.Errorf("logged\n%.300s\nwant\n%.300s", got, tc.want)
			}
		})
	}
}

// A flood of lines is cut off, and how many were dropped is said.
func TestLogFlood(t *testing.T) {
	t.Parallel()
	log := new(testlog.Book)
	lines := newLineLog(slog.New(slog.NewJSONHandler(log, nil)))
	text := strings.Repeat("line\n", 10_000)
	readLines(strings.NewReader(text), lines.line, nil)
	logged := log.Count("\n")
	if logged < linesPerSecond || logged > 3*linesPerSecond {
		t.Errorf("%d lines were logged", logged)
	}
	if got := int(lines.dropped.Load()) + log.Count(`"msg":"line"`); got != 10_000 { //nolint:gosec // thousands
		t.Errorf("%d lines are accounted for", got)
	}
	eventually(t, "a line is taken again, and says how many were dropped", func() bool {
		lines.line([]byte("later"), false)
		return log.Contains(`"lines":`)
	})
	if words := lines.lastWords(); !strings.HasSuffix(words, "later") || strings.Count(words, "/") != lastLines-1 {
		t.Errorf("last words: %q", words)
	}
}
