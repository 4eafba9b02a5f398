package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/internal/tlsconf/acmetest"
)

func TestMain(m *testing.M) {
	if isAdapter() {
		serveAdapter()
		return
	}
	goleak.VerifyTestMain(m, acmetest.Leaks()...)
}

// load writes the text as config.toml into a folder and loads it. {root} is
// the project's folder.
func load(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(expand(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func expand(text string) string { return strings.ReplaceAll(text, "{root}", testnet.Root()) }

const guestbook = `
[gateway]
listen = "127.0.0.1:0"
[network]
listen = "127.0.0.1:0"
[[network.canister]]
name = "guestbook"
wasm = "{root}/examples/motoko/guestbook/guestbook.wasm"
[[network.canister]]
name = "relay"
wasm = "builtin:relay"
[[route]]
canister = "relay"
adapter = "relay"
relay.call = [{ target = "guestbook", method = "post" }]
relay.feed = [{ target = "guestbook", method = "since" }]
relay.watch_interval = "50ms"
`

// A running relay, as a user starts it.
type running struct {
	*testing.T
	url      string // of the gateway, http
	info     bridge.Info
	verifier *ic.Verifier
	stop     func() error // returns what Run returned

	http   *http.Client
	dialer *websocket.Dialer
}

// launch starts Run or RunNetwork, and returns the last value that it printed
// for each name, the canisters' as "canister <name>", when it has printed last.
func launch(t *testing.T, cfg *config.Config, run func(context.Context, *config.Config, io.Writer, *slog.Logger) error, last string) (printed map[string]string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	done := make(chan error, 1)
	go func() {
		err := run(ctx, cfg, writer, log)
		_ = writer.CloseWithError(io.EOF)
		done <- err
	}()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			t.Fatal("Run does not return")
			return nil
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})

	printed = make(map[string]string)
	for lines := bufio.NewScanner(reader); printed[last] == "" && lines.Scan(); {
		fields := strings.Fields(lines.Text())
		printed[strings.Join(fields[:len(fields)-1], " ")] = fields[len(fields)-1]
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }() // ends with the pipe
	if printed[last] == "" {
		t.Fatalf("Run printed %v; it ended with %v", printed, stop())
	}
	return printed, stop
}

func start(t *testing.T, cfg *config.Config) *running {
	t.Helper()
	last := "network"
	if cfg.IsEmbedded() {
		last = "canister relay"
	}
	printed, stop := launch(t, cfg, Run, last)
	r := &running{T: t, stop: stop, http: http.DefaultClient}
	r.meet(printed)
	return r
}

// meet learns where everything is.
func (r *running) meet(printed map[string]string) {
	r.Helper()
	r.url = strings.TrimSuffix(printed["page"], "/")
	r.get("/info", &r.info)
	if r.info.GatewayPrincipal != printed["gateway"] || r.info.Network.URL != printed["network"] {
		r.Errorf("printed %v, info says %+v", printed, r.info)
	}
	rootKey, err := hex.DecodeString(r.info.Network.RootKeyHex)
	if err != nil {
		r.Fatal(err)
	}
	if r.verifier, err = ic.NewVerifier(rootKey); err != nil {
		r.Fatal(err)
	}
}

func (r *running) get(path string, v any) {
	r.Helper()
	response, err := r.http.Get(r.url + path)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		r.Fatalf("GET %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(v); err != nil {
		r.Fatal(err)
	}
}

func (r *running) canister(name string) candid.Principal {
	r.Helper()
	id, err := candid.ParsePrincipal(r.info.Canisters[name])
	if err != nil {
		r.Fatalf("canister %s: %v", name, err)
	}
	return id
}

func (r *running) tryDial(canister candid.Principal) (*client.Conn, error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return client.Dial(ctx, client.Options{
		URL:      "ws" + strings.TrimPrefix(r.url, "http"),
		Canister: canister,
		Identity: testnet.Identity(r),
		Verifier: r.verifier,
		Dialer:   r.dialer,
	})
}

func (r *running) dial(canister candid.Principal) *client.Conn {
	r.Helper()
	conn, err := r.tryDial(canister)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
	return conn
}

func entry(t testing.TB, author, text string) []byte {
	t.Helper()
	raw, err := candid.NewBuilder().Add(candid.RecordOf(
		candid.Field{Label: "author", Type: candid.TextType},
		candid.Field{Label: "text", Type: candid.TextType},
	), candid.Fields{"author": author, "text": text}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The whole thing: two clients chat through a canister that knows nothing of WebSockets.
func TestGuestbook(t *testing.T) {
	r := start(t, load(t, guestbook))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conns := []*client.Conn{r.dial(r.canister("relay")), r.dial(r.canister("relay"))}
	const each = 20
	for who, conn := range conns {
		for n := range each {
			if err := conn.Send(ctx, entry(t, fmt.Sprint("author ", who), fmt.Sprint(n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for who, conn := range conns {
		next := make(map[string]int)
		for range 2 * each {
			raw, err := conn.Receive(ctx)
			if err != nil {
				t.Fatalf("client %d: %v", who, err)
			}
			values, err := candid.Decode(raw, candid.Limits{})
			if err != nil || len(values) != 1 {
				t.Fatalf("client %d got %x: %v", who, raw, err)
			}
			author, _ := values[0].Field("author").Text()
			text, _ := values[0].Field("text").Text()
			if text != fmt.Sprint(next[author]) {
				t.Fatalf("client %d got %s of %s, want %d", who, text, author, next[author])
			}
			next[author]++
		}
	}
	if err := r.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	for who, conn := range conns {
		select {
		case <-conn.Done():
		case <-ctx.Done():
			t.Fatalf("client %d was not closed at the stop", who)
		}
		if err := conn.Err(); err == nil || !strings.Contains(err.Error(), "1001") {
			t.Errorf("client %d ended with %v, want close code 1001", who, err)
		}
	}
}

// A taken port is explained with the setting that chose it.
func TestTakenPorts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	address := listener.Addr().String()
	for setting, text := range map[string]string{
		"gateway.listen": strings.Replace(guestbook, `"127.0.0.1:0"`, `"`+address+`"`, 1),
		"network.listen": strings.Replace(guestbook, "[network]\nlisten = \"127.0.0.1:0\"", "[network]\nlisten = \""+address+`"`, 1),
	} {
		t.Run(setting, func(t *testing.T) {
			err := Run(t.Context(), load(t, text), io.Discard, slog.New(slog.DiscardHandler))
			if err == nil || !strings.HasPrefix(err.Error(), setting+": "+address+" is in use") {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestNetworkNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	_ = listener.Close()
	cfg := load(t, "[gateway]\nlisten = \"127.0.0.1:0\"\n[network]\nurl = \""+url+"\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n")
	if err := Run(t.Context(), cfg, io.Discard, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "network.url: ") {
		t.Errorf("err = %v, want one that names network.url", err)
	}
}

// The gateway beside a network that runs on its own, found by URL.
func TestNetworkByURL(t *testing.T) {
	network := testnet.Start(t)
	cfg := load(t, "[gateway]\nlisten = \"127.0.0.1:0\"\n[network]\nurl = \""+network.URL()+"\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n")
	r := start(t, cfg)
	if r.info.Network.RootKeyHex != hex.EncodeToString(network.RootKey()) {
		t.Error("the root key is not the network's")
	}
	if len(r.info.Routes) != 1 || r.info.Routes[0] != (bridge.RouteInfo{Canister: "*", Adapter: "cdk"}) {
		t.Errorf("routes = %v", r.info.Routes)
	}
}

// The load tests' canister, through the cdk adapter.
func TestBuiltinEcho(t *testing.T) {
	r := start(t, load(t, `
[gateway]
listen = "127.0.0.1:0"
[network]
listen = "127.0.0.1:0"
[[network.canister]]
name = "relay"
wasm = "builtin:echo"
[[route]]
canister = "relay"
adapter = "cdk"
`))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn := r.dial(r.canister("relay"))
	for n := range 20 {
		want := candid.EncodeNat(uint64(n))
		if err := conn.Send(ctx, want); err != nil {
			t.Fatal(err)
		}
		if got, err := conn.Receive(ctx); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("echo %d: %x, %v", n, got, err)
		}
	}
}
