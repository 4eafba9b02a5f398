package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
)

// isAdapter reports whether this process is to be an adapter: TestMain asks.
func isAdapter() bool { return os.Getenv("ICRELAY_ADAPTER") != "" }

// serveAdapter is the adapter that the tests of this package run: it passes
// everything on, and says who it is.
func serveAdapter() {
	if os.Getenv("TEST_CRASH") != "" {
		fmt.Fprintln(os.Stderr, "I cannot go on")
		os.Exit(3)
	}
	sdk.Serve(func(_ context.Context, route *sdk.Route) (any, error) {
		var settings struct {
			Refuse string `json:"refuse"`
			Note   string `json:"note"`
		}
		if err := route.Settings(&settings); err != nil {
			return nil, err
		}
		if settings.Refuse != "" {
			return nil, errors.New(settings.Refuse)
		}
		route.Log.Info("route taken", "pid", os.Getpid(), "note", settings.Note, "base", route.BaseName)
		return route.Base, nil
	})
}

// ownAdapter is the [[adapter]] table of this test's own program.
func ownAdapter(more string) string {
	return fmt.Sprintf("\n[[adapter]]\nname = \"own\"\ncommand = [%q]\n%s\n", os.Args[0], more)
}

// ownRoute is echoRoute by one's own adapter.
func ownRoute(more string) string {
	return strings.Replace(echoRoute, `"cdk"`, `"own"`, 1) + more
}

var pids = regexp.MustCompile(`msg="?route taken"?.* pid=(\d+)`)

// taken returns the process of each route that an adapter has taken so far.
func (l *logbook) taken(t *testing.T) []int {
	t.Helper()
	var list []int
	for _, m := range pids.FindAllStringSubmatch(l.String(), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}

// takenTimes is taken, when that are so many: a process's log takes its time.
func (r *reloadable) takenTimes(n int) []int {
	r.Helper()
	r.eventually(fmt.Sprintf("%d routes are taken", n), func() bool { return len(r.log.taken(r.T)) >= n })
	return r.log.taken(r.T)
}

// runs reports whether there is a process.
func runs(pid int) bool { return syscall.Kill(pid, 0) == nil }

// echoes sends a number and waits for it.
func (r *running) echoes(conn *client.Conn, n uint64) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := conn.Send(ctx, candid.EncodeNat(n)); err != nil {
		r.Fatal(err)
	}
	if got, err := conn.Receive(ctx); err != nil || !bytes.Equal(got, candid.EncodeNat(n)) {
		r.Fatalf("%x, %v", got, err)
	}
}

// ends waits for a connection's end with a close code.
func (r *running) ends(conn *client.Conn, code string) {
	r.Helper()
	select {
	case <-conn.Done():
	case <-time.After(20 * time.Second):
		r.Fatalf("the connection goes on, want close code %s", code)
	}
	if err := conn.Err(); err == nil || !strings.Contains(err.Error(), code) {
		r.Errorf("it ended with %v, want close code %s", err, code)
	}
}

// metric returns the value of one series.
func (r *running) metric(series string) string {
	r.Helper()
	response, err := r.http.Get(r.url + "/metrics")
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Two routes of one process, each built on another adapter, from the start to
// the stop; and what is to be seen of it from outside.
func TestOwnAdapter(t *testing.T) {
	own := strings.Replace(guestbookAndEcho, `adapter = "relay"`, "adapter = \"own\"\nbase = \"relay\"", 1)
	r := launchReloadable(t, ownAdapter("")+own+ownRoute("settings.note = \"of the echo\"\n"), "canister echo")
	r.meet(r.printed)
	guest, echo := r.dial(r.canister("relay")), r.dial(r.canister("echo"))
	r.talks(guest, "through a process")
	r.echoes(echo, 7)

	taken := r.takenTimes(2)
	if len(taken) != 2 || taken[0] != taken[1] {
		t.Fatalf("routes were taken by the processes %v, want one for both\n%s", taken, r.log)
	}
	for _, part := range []string{"adapter=own", `note="of the echo"`, "base=cdk", "base=relay"} {
		if r.log.count(part) == 0 {
			t.Errorf("%q is not in the log:\n%s", part, r.log)
		}
	}
	for _, route := range r.info.Routes {
		if route.Adapter != "own" {
			t.Errorf("/info says %+v", route)
		}
	}
	if up, restarts := r.metric(`relay_adapter_up{adapter="own"}`), r.metric(`relay_adapter_restarts_total{adapter="own"}`); up != "1" || restarts != "0" {
		t.Errorf("up %q, restarts %q", up, restarts)
	}
	start := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
	r.ends(echo, "1001")
	if runs(taken[0]) {
		t.Error("the process is still there")
	}
}

// What keeps an adapter from starting ends the start, with a sentence that says
// where to look.
func TestOwnAdapterDoesNotStart(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho hello\nexec sleep 60\n"), 0o700); err != nil { //nolint:gosec // it is to be executed
		t.Fatal(err)
	}
	foreign := fmt.Sprintf("\n[[adapter]]\nname = \"own\"\ncommand = [%q]\n", script)
	for _, test := range []struct {
		name, adapter, route string
		want                 []string
	}{
		{"ends at once", ownAdapter(`env = { TEST_CRASH = "1" }`), ownRoute(""), []string{"adapter[0].command: ", "own"}},
		{"is no adapter", foreign + "start_timeout = \"2s\"\n", ownRoute(""), []string{"adapter[0].command: ", "own"}},
		{"refuses its route", ownAdapter(""), ownRoute("settings.refuse = \"the moon is not full\"\n"), []string{"route[1]", "own", "the moon is not full"}},
		{"does not know a setting", ownAdapter(""), ownRoute("settings.colour = \"red\"\n"), []string{"route[1]", "own", "colour"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := new(logbook)
			err := Run(t.Context(), load(t, test.adapter+guestbookAndEcho+test.route), io.Discard, log.logger())
			if err == nil {
				t.Fatal("it starts")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in: %v", part, err)
				}
			}
			t.Logf("%v\n%s", err, log)
			for _, pid := range log.taken(t) {
				if runs(pid) {
					t.Error("a process is still there")
				}
			}
		})
	}
}

// While the relay runs, an adapter changes, another one of it does not start,
// and it goes; the clients of other routes notice nothing.
func TestReloadOfOwnAdapters(t *testing.T) {
	first := ownAdapter(`env = { VERSION = "1" }`) + guestbookAndEcho + ownRoute("")
	r := launchReloadable(t, first, "canister echo")
	r.meet(r.printed)
	guest, echo := r.dial(r.canister("relay")), r.dial(r.canister("echo"))
	r.talks(guest, "before")
	r.echoes(echo, 1)
	old := r.takenTimes(1)[0]

	// Nothing has changed: the process and its route stay.
	r.reload(first, inForce)
	r.echoes(echo, 2)
	if taken := r.log.taken(t); len(taken) != 1 {
		t.Fatalf("routes taken by %v", taken)
	}

	// What cannot start, or does not take its route, changes nothing.
	r.reload(strings.Replace(first, `VERSION = "1"`, `TEST_CRASH = "1"`, 1), nothingChanged)
	r.reload(strings.Replace(first, `VERSION = "1"`, `VERSION = "2"`, 1)+"settings.refuse = \"not with me\"\n", nothingChanged)
	r.reload(first+"settings.refuse = \"nor with me\"\n", nothingChanged)
	for _, part := range []string{"not with me", "nor with me"} {
		if r.log.count(part) == 0 {
			t.Errorf("%q is not in the log:\n%s", part, r.log)
		}
	}
	r.echoes(echo, 3)

	// Another version: a new process first, and the clients of this route reconnect.
	second := strings.Replace(first, `VERSION = "1"`, `VERSION = "2"`, 1)
	r.reload(second, inForce)
	r.ends(echo, "4105")
	echo = r.dial(r.canister("echo"))
	r.echoes(echo, 4)
	taken := r.takenTimes(2) // the version that was refused said nothing
	fresh := taken[len(taken)-1]
	if fresh == old {
		t.Fatalf("routes taken by %v", taken)
	}
	r.eventually("the old process ends", func() bool { return !runs(old) })
	r.echoes(echo, 5)

	// Other settings: the same process, and clients reconnect as well.
	noted := second + "settings.note = \"new\"\n"
	r.reload(noted, inForce)
	r.ends(echo, "4105")
	echo = r.dial(r.canister("echo"))
	if taken := r.takenTimes(3); taken[2] != fresh {
		t.Errorf("other settings, and routes are taken by %v", taken)
	}
	r.echoes(echo, 6)

	// The adapter goes, and its process with it.
	r.reload(guestbookAndEcho+echoRoute, inForce)
	r.ends(echo, "4105")
	r.eventually("the process ends", func() bool { return !runs(fresh) })
	r.echoes(r.dial(r.canister("echo")), 7)
	if value := r.metric(`relay_adapter_up{adapter="own"}`); value != "" {
		t.Errorf("an adapter that is gone is shown: %s", value)
	}
	r.talks(guest, "still here")
}

// A new version of the program is a change, though its table is the same.
func TestReloadOfAProgram(t *testing.T) {
	script := filepath.Join(t.TempDir(), "program.sh")
	write := func(comment string) {
		t.Helper()
		text := fmt.Sprintf("#!/bin/sh\n# %s\nexec %q \"$@\"\n", comment, os.Args[0])
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil { //nolint:gosec // it is to be executed
			t.Fatal(err)
		}
	}
	write("first")
	text := fmt.Sprintf("\n[[adapter]]\nname = \"own\"\ncommand = [\"sh\", %q]\n", script) + guestbookAndEcho + ownRoute("")
	r := launchReloadable(t, text, "canister echo")
	r.meet(r.printed)
	r.echoes(r.dial(r.canister("echo")), 1)
	write("the second one")
	r.reload(text, inForce)
	r.echoes(r.dial(r.canister("echo")), 2)
	if taken := r.takenTimes(2); taken[0] == taken[1] {
		t.Errorf("routes taken by %v", taken)
	}
}

// A process that dies takes its own sessions with it, and comes back.
func TestOwnAdapterDies(t *testing.T) {
	r := launchReloadable(t, ownAdapter("")+guestbookAndEcho+ownRoute(""), "canister echo")
	r.meet(r.printed)
	guest, echo := r.dial(r.canister("relay")), r.dial(r.canister("echo"))
	r.echoes(echo, 1)
	if err := syscall.Kill(r.takenTimes(1)[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.ends(echo, "1013")
	r.eventually("it is started anew", func() bool {
		return r.metric(`relay_adapter_up{adapter="own"}`) == "1" && r.metric(`relay_adapter_restarts_total{adapter="own"}`) == "1"
	})
	r.echoes(r.dial(r.canister("echo")), 2)
	r.talks(guest, "still here")
}

// A trial that is interrupted ends soon, and says so.
func TestInterruptedTrial(t *testing.T) {
	trial, err := NewTrial([]string{os.Args[0]}, "cdk", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := 0
	err = TestAdapter(ctx, trial, writerFunc(func(p []byte) (int, error) {
		if lines++; lines == 3 {
			cancel()
		}
		return len(p), nil
	}))
	if err == nil || !strings.Contains(err.Error(), "interrupted after ") {
		t.Errorf("err = %v", err)
	}
	if lines > 20 {
		t.Errorf("%d lines", lines)
	}
}

// Every metric of adapters stands in the documentation.
func TestAdapterMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"relay_adapter_up", "relay_adapter_restarts_total", "relay_adapter_log_dropped_total"} {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/reliability.md does not mention `%s`", name)
		}
	}
}
