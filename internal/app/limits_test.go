package app

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/internal/testnet"
)

const twoEchos = `
[gateway]
listen = "127.0.0.1:0"
{gateway}
[gateway.limits]
max_connections_per_address = 1
[network]
listen = "127.0.0.1:0"
[[network.canister]]
name = "open"
wasm = "builtin:echo"
[[network.canister]]
name = "closed"
wasm = "builtin:echo"
[[route]]
canister = "*"
adapter = "cdk"
deny = ["closed"]
`

// startEchos starts the relay with other settings of the gateway.
func startEchos(t *testing.T, gateway, last string) (r *running, printed map[string]string) {
	t.Helper()
	printed, stop := launch(t, load(t, strings.ReplaceAll(twoEchos, "{gateway}", gateway)), Run, last)
	r = &running{T: t, stop: stop, http: http.DefaultClient}
	r.meet(printed)
	return r, printed
}

// status asks for a page and returns what comes.
func (r *running) status(url string) (status int, body string) {
	r.Helper()
	response, err := r.http.Get(url)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// socket opens a WebSocket and returns it, or the status that refuses it.
func (r *running) socket(headers ...string) (*websocket.Conn, int) {
	r.Helper()
	header := make(http.Header)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	conn, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(r.url, "http"), header)
	if err != nil {
		if response == nil {
			r.Fatal(err)
		}
		return nil, response.StatusCode
	}
	r.Cleanup(func() { _ = conn.Close() })
	return conn, http.StatusSwitchingProtocols
}

// The settings of the file reach those who have to keep them.
func TestProtection(t *testing.T) {
	r, _ := startEchos(t, `
trusted_proxies = ["127.0.0.0/8"]
allowed_origins = ["https://*.example.com"]`, "canister closed")
	const one, other = "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 203.0.113.2"
	for _, step := range []struct {
		headers []string
		want    int
	}{
		{[]string{one}, http.StatusSwitchingProtocols},
		{[]string{one}, http.StatusTooManyRequests},
		{[]string{other, "Origin: https://app.example.com"}, http.StatusSwitchingProtocols},
		{[]string{"Origin: https://app.example.org"}, http.StatusForbidden},
	} {
		if _, status := r.socket(step.headers...); status != step.want {
			t.Errorf("%v: status %d, want %d", step.headers, status, step.want)
		}
	}

	conn := r.dial(r.canister("open"))
	defer func() { _ = conn.Close() }()
	_, err := client.Dial(t.Context(), client.Options{URL: "ws" + strings.TrimPrefix(r.url, "http"), Canister: r.canister("closed"), Identity: testnet.Identity(t), Verifier: r.verifier})
	var closed *client.CloseError
	if !errors.As(err, &closed) || closed.Code != bridge.CloseNotRouted {
		t.Errorf("a denied canister: %v", err)
	}

	deadline := time.Now().Add(20 * time.Second)
	status, body := r.status(r.url + "/ready")
	for status != http.StatusOK && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		status, body = r.status(r.url + "/ready")
	}
	if status != http.StatusOK || !strings.Contains(body, `"ready"`) {
		t.Errorf("ready: %d %s", status, body)
	}
	_, metrics := r.status(r.url + "/metrics")
	for _, line := range []string{
		`relay_refusals_total{reason="connections_per_address"} 1`,
		`relay_refusals_total{reason="origin"} 1`,
		`relay_refusals_total{reason="canister_denied"} 1`,
		`relay_sessions{state="open"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// Metrics are where the configuration wants them, and nowhere else.
func TestMetricsListen(t *testing.T) {
	t.Run("of their own", func(t *testing.T) {
		r, printed := startEchos(t, `metrics_listen = "127.0.0.1:0"`, "metrics")
		if status, body := r.status(printed["metrics"]); status != http.StatusOK || !strings.Contains(body, "relay_connections 0\n") {
			t.Errorf("%d %.100s", status, body)
		}
		if status, _ := r.status(r.url + "/metrics"); status != http.StatusNotFound {
			t.Errorf("at the clients' address: %d", status)
		}
		if status, _ := r.status(strings.TrimSuffix(printed["metrics"], "/metrics") + "/info"); status != http.StatusNotFound {
			t.Errorf("the metrics' listener serves other things: %d", status)
		}
	})
	t.Run("with profiles", func(t *testing.T) {
		for _, profiling := range []bool{true, false} {
			r, printed := startEchos(t, fmt.Sprintf("metrics_listen = \"127.0.0.1:0\"\nprofiling = %t", profiling), "metrics")
			base := strings.TrimSuffix(printed["metrics"], "/metrics")
			want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[profiling]
			if status, body := r.status(base + "/debug/pprof/heap"); status != want || profiling && len(body) == 0 {
				t.Errorf("profiling = %t: %d %.100s", profiling, status, body)
			}
			if status, _ := r.status(r.url + "/debug/pprof/"); status != http.StatusNotFound {
				t.Errorf("profiling = %t: the clients' address answers %d", profiling, status)
			}
		}
	})
	t.Run("off", func(t *testing.T) {
		r, printed := startEchos(t, `metrics_listen = "off"`, "canister closed")
		if status, _ := r.status(r.url + "/metrics"); status != http.StatusNotFound || printed["metrics"] != "" {
			t.Errorf("status %d, printed %q", status, printed["metrics"])
		}
	})
	t.Run("taken", func(t *testing.T) {
		first, printed := startEchos(t, `metrics_listen = "127.0.0.1:0"`, "metrics")
		address := strings.TrimSuffix(strings.TrimPrefix(printed["metrics"], "http://"), "/metrics")
		err := Run(t.Context(), load(t, strings.ReplaceAll(twoEchos, "{gateway}", `metrics_listen = "`+address+`"`)), io.Discard, quiet())
		if err == nil || !strings.Contains(err.Error(), "gateway.metrics_listen: "+address+" is in use") {
			t.Errorf("err = %v", err)
		}
		if err := first.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A network that has become another one is not the one that clients were promised.
func TestReachable(t *testing.T) {
	test := testnet.Start(t)
	n := &network{url: test.URL(), client: test.Client, rootKey: test.Verifier.RootKey()}
	if err := n.reachable(t.Context()); err != nil {
		t.Error(err)
	}
	n.rootKey = []byte("another")
	if err := n.reachable(t.Context()); err == nil || !strings.Contains(err.Error(), "another network") {
		t.Errorf("err = %v", err)
	}
	n.client = test.DeadClient()
	if err := n.reachable(t.Context()); err == nil {
		t.Error("a dead network answers")
	}
}
