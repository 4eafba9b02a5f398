package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testlog"
)

// A logbook keeps what was logged.
type logbook struct{ testlog.Book }

func (l *logbook) count(part string) int { return l.Count(part) }

func (l *logbook) logger() *slog.Logger { return l.Logger(slog.LevelInfo) }

// A reloadable relay runs on a file that the test changes.
type reloadable struct {
	*running
	printed map[string]string
	file    string
	signals chan os.Signal
	log     *logbook
}

// launchReloadable does not connect to what it starts.
func launchReloadable(t *testing.T, text, last string) *reloadable {
	t.Helper()
	r := &reloadable{running: &running{T: t, http: http.DefaultClient}, signals: make(chan os.Signal), log: new(logbook)}
	cfg := load(t, text)
	r.file = cfg.File()
	run := func(ctx context.Context, cfg *config.Config, out io.Writer, _ *slog.Logger) error {
		return RunReloading(ctx, cfg, r.signals, out, r.log.logger())
	}
	r.printed, r.stop = launch(t, cfg, run, last)
	return r
}

func (r *reloadable) eventually(what string, done func() bool) {
	r.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("not within 30s: %s\n%s", what, r.log)
		}
	}
}

// reload changes the file and waits until the relay has said what is written.
func (r *reloadable) reload(text, said string) {
	r.Helper()
	if err := os.WriteFile(r.file, []byte(expand(text)), 0o600); err != nil {
		r.Fatal(err)
	}
	before := r.log.count(said)
	r.signals <- syscall.SIGHUP
	r.eventually("the relay says: "+said, func() bool { return r.log.count(said) > before })
}

const inForce, nothingChanged = "the configuration is in force", "nothing was changed"

// talks sends an entry and waits for it to come back.
func (r *running) talks(conn *client.Conn, text string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := conn.Send(ctx, entry(r, "somebody", text)); err != nil {
		r.Fatal(err)
	}
	for r.receives(ctx, conn) != text {
	}
}

// receives returns the text of the next entry.
func (r *running) receives(ctx context.Context, conn *client.Conn) string {
	r.Helper()
	raw, err := conn.Receive(ctx)
	if err != nil {
		r.Fatal(err)
	}
	values, err := candid.Decode(raw, candid.Limits{})
	if err != nil || len(values) != 1 {
		r.Fatalf("got %x: %v", raw, err)
	}
	text, _ := values[0].Field("text").Text()
	return text
}

const echoBeside = `
[[network.canister]]
name = "echo"
wasm = "builtin:echo"
`

const echoRoute = `
[[route]]
canister = "echo"
adapter = "cdk"
`

// guestbookAndEcho is the guestbook's network with another canister.
var guestbookAndEcho = strings.Replace(guestbook, "\n[[route]]", echoBeside+"\n[[route]]", 1)

func TestReloadOfRoutes(t *testing.T) {
	r := launchReloadable(t, guestbookAndEcho+echoRoute, "canister echo")
	r.meet(r.printed)
	guest, echo := r.dial(r.canister("relay")), r.dial(r.canister("echo"))
	r.talks(guest, "before")

	// Nothing has changed.
	r.reload(guestbookAndEcho+echoRoute, inForce)
	r.talks(guest, "same")

	// A route goes: its sessions end, others do not.
	r.reload(guestbookAndEcho, inForce)
	select {
	case <-echo.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the session of a removed route goes on")
	}
	if err := echo.Err(); err == nil || !strings.Contains(err.Error(), "4201") {
		t.Errorf("it ended with %v, want close code 4201", err)
	}
	if _, err := r.tryDial(r.canister("echo")); err == nil || !strings.Contains(err.Error(), "4201") {
		t.Errorf("a new one ends with %v, want close code 4201", err)
	}
	r.talks(guest, "still here")
	if r.get("/info", &r.info); len(r.info.Routes) != 1 {
		t.Errorf("/info has routes %v", r.info.Routes)
	}

	// It comes back.
	r.reload(guestbookAndEcho+echoRoute, inForce)
	r.dial(r.canister("echo"))

	// Another setting of the relay canister: it is told, and the session goes on.
	changed := strings.Replace(guestbookAndEcho, `method = "since" }`, `method = "since", last = 2 }`, 1)
	if changed == guestbookAndEcho {
		t.Fatal("no change")
	}
	r.reload(changed+echoRoute, inForce)
	r.talks(guest, "the last but one")
	r.talks(guest, "the last")
	newcomer := r.dial(r.canister("relay"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, want := range []string{"the last but one", "the last"} {
		if got := r.receives(ctx, newcomer); got != want {
			t.Errorf("a newcomer gets %q, want %q", got, want)
		}
	}
	if n := r.log.count("level=ERROR"); n != 0 {
		t.Errorf("%d errors:\n%s", n, r.log)
	}
}

// What cannot be used changes nothing, and every problem is said.
func TestReloadRefused(t *testing.T) {
	r := launchReloadable(t, guestbookAndEcho+echoRoute, "canister echo")
	r.meet(r.printed)
	echo := r.dial(r.canister("echo"))

	r.reload(strings.Replace(guestbookAndEcho, "[gateway]\n", "[gateway]\nlisten_on = \"x\"\nidentity = \"\"\n", 1), nothingChanged)
	r.eventually("both problems are said", func() bool { return r.log.count("msg=\"problem of the configuration\"") == 2 })
	for _, part := range []string{`line=3 key=gateway.listen_on problem="unknown key"`, "line=4 key=gateway.identity problem="} {
		if r.log.count(part) != 1 {
			t.Errorf("%q was not logged:\n%s", part, r.log)
		}
	}
	// A route that needs a canister which only a restart installs.
	r.reload(guestbookAndEcho+strings.ReplaceAll(echoBeside+echoRoute, `"echo"`, `"second"`), nothingChanged)
	if r.log.count("route[1].canister: ") != 1 {
		t.Errorf("the route was not named:\n%s", r.log)
	}
	// No file.
	if err := os.Rename(r.file, r.file+".away"); err != nil {
		t.Fatal(err)
	}
	before := r.log.count(nothingChanged)
	r.signals <- syscall.SIGHUP
	r.eventually("the missing file is said", func() bool { return r.log.count(nothingChanged) > before })

	// Settings that take a restart are named; the rest is put into force.
	more := strings.Replace(guestbookAndEcho, "[gateway]\nlisten = \"127.0.0.1:0\"", "[gateway]\nlisten = \"127.0.0.1:1\"\nlimits.queue_messages = 7", 1)
	r.reload(more+echoRoute, inForce)
	if r.log.count(`keys="[gateway.limits.queue_messages gateway.listen]"`) != 1 {
		t.Errorf("the settings were not named:\n%s", r.log)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := echo.Send(ctx, candid.EncodeNat(7)); err != nil {
		t.Fatal(err)
	}
	if got, err := echo.Receive(ctx); err != nil || !bytes.Equal(got, candid.EncodeNat(7)) {
		t.Errorf("%x, %v", got, err)
	}
}

// That the end comes during a reload is no error.
func TestStopDuringReload(t *testing.T) {
	r := launchReloadable(t, guestbook, "canister relay")
	for n := range 3 {
		text := strings.Replace(guestbook, `"since" }`, fmt.Sprintf(`"since", last = %d }`, n+1), 1)
		if err := os.WriteFile(r.file, []byte(expand(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		r.signals <- syscall.SIGHUP
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}
