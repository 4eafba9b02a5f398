package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/internal/tlsconf/acmetest"
	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

const echoNetwork = `
[network]
listen = "127.0.0.1:0"
[[network.canister]]
name = "relay"
wasm = "builtin:echo"
[[route]]
canister = "relay"
adapter = "cdk"
`

// withTLS is a gateway with TLS settings, and the echo canister.
func withTLS(settings string) string {
	return "[gateway]\nlisten = \"127.0.0.1:0\"\n[gateway.tls]\n" + settings + echoNetwork
}

// trust makes the clients trust a CA and find every name on this machine.
func (r *running) trust(roots *x509.CertPool) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	// As browsers do: HTTP/2 if the server has it.
	config := func() *tls.Config { return &tls.Config{RootCAs: roots} }
	r.http = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config(), ForceAttemptHTTP2: true, DisableKeepAlives: true, DialContext: dial}}
	r.dialer = &websocket.Dialer{TLSClientConfig: config(), NetDialContext: dial, HandshakeTimeout: 20 * time.Second}
}

func (r *running) port() int {
	r.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		r.Fatal(err)
	}
	return port
}

func TestTLSFiles(t *testing.T) {
	pair, next := pairtest.New(t, time.Hour, "localhost", "127.0.0.1"), pairtest.New(t, time.Hour, "localhost", "127.0.0.1")
	folder := t.TempDir()
	cert, key := pair.Write(t, folder)
	text := withTLS(fmt.Sprintf("cert = %q\nkey = %q\nhttp_listen = \"127.0.0.1:0\"", cert, key))
	r := launchReloadable(t, text, "canister relay")
	r.trust(pair.Roots())
	r.meet(r.printed)
	if !strings.HasPrefix(r.url, "https://127.0.0.1:") || r.printed["websocket"] != strings.Replace(r.url, "https", "wss", 1)+"/" {
		t.Errorf("printed %v", r.printed)
	}
	conn := r.dial(r.canister("relay"))
	echo := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := conn.Send(ctx, entry(t, "a", "b")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Receive(ctx); err != nil {
			t.Fatal(err)
		}
	}
	echo()

	// A client that asks for HTTP/2 and would break without it is told so by the handshake.
	_, err := tls.Dial("tcp", "127.0.0.1:"+strconv.Itoa(r.port()), &tls.Config{RootCAs: pair.Roots(), ServerName: "localhost", NextProtos: []string{"h2"}})
	if err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("a client with HTTP/2 only: %v", err)
	}

	// New files: new clients get the new certificate, old ones stay.
	next.Write(t, folder)
	r.reload(text, inForce)
	echo()
	if _, err := r.tryDial(r.canister("relay")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("err = %v, want another certificate", err)
	}
	r.trust(next.Roots())
	r.dial(r.canister("relay"))

	// Broken files: nothing changes.
	pairtest.Replace(t, key, pair.Key)
	r.reload(text, nothingChanged)
	if r.log.count("key=gateway.tls.key") != 1 || r.log.count("is not the key of the certificate in "+cert) == 0 {
		t.Errorf("the file was not named:\n%s", r.log)
	}
	r.dial(r.canister("relay"))

	// Without TLS: that takes a restart.
	r.reload("[gateway]\nlisten = \"127.0.0.1:0\"\n"+echoNetwork, inForce)
	if r.log.count("keys=[gateway.tls]") != 1 {
		t.Errorf("that TLS goes on was not said:\n%s", r.log)
	}
	r.dial(r.canister("relay"))
	echo()
}

func TestRedirectListener(t *testing.T) {
	pair := pairtest.New(t, time.Hour, "ws.example.org")
	cert, key := pair.Write(t, t.TempDir())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	text := withTLS(fmt.Sprintf("cert = %q\nkey = %q\nhttp_listen = %q", cert, key, address))
	if err := Run(t.Context(), load(t, text), io.Discard, quiet()); err == nil || !strings.HasPrefix(err.Error(), "gateway.tls.http_listen: "+address+" is in use") {
		t.Errorf("err = %v", err)
	}
	_ = taken.Close()

	printed, _ := launch(t, load(t, text), Run, "canister relay")
	client := &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/page?a=b", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	request.Host = "ws.example.org:" + port
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if want := printed["page"] + "page?a=b"; response.Header.Get("Location") != want || !strings.HasPrefix(want, "https://ws.example.org:") {
		t.Errorf("%s to %s, want %s", response.Status, response.Header.Get("Location"), want)
	}
}

// The relay starts without a certificate and without a CA, obtains one, and has
// it at the next start.
func TestAutomaticTLS(t *testing.T) {
	ca := acmetest.New(t)
	storage := filepath.Join(t.TempDir(), "certificates")
	text := withTLS(fmt.Sprintf("domains = [\"ws.example.org\"]\naccept_terms = true\nemail = \"ops@example.org\"\nca = %q\nca_root = %q\nstorage = %q", ca.URL, ca.RootFile, storage))
	r := launchReloadable(t, text, "canister relay")
	r.url = strings.TrimSuffix(r.printed["page"], "/")
	if !strings.HasPrefix(r.url, "https://ws.example.org:") || !strings.HasPrefix(r.printed["websocket"], "wss://ws.example.org:") {
		t.Errorf("printed %v", r.printed)
	}
	r.trust(nil)
	if _, err := r.http.Get(r.url + "/info"); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("err = %v, want a refused handshake", err)
	}
	if r.log.count("the CA connects to port 443 of each domain: it has to lead here") != 1 {
		t.Errorf("nothing was said of the ports:\n%s", r.log)
	}

	ca.Open(r.port(), 0, 90*24*time.Hour)
	r.reload(text, inForce) // asks the CA again
	r.trust(ca.Roots)
	r.eventually("there is a certificate", func() bool {
		response, err := r.http.Get(r.url + "/health")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	r.meet(r.printed)
	conn := r.dial(r.canister("relay"))
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	r.eventually("it is ready", func() bool {
		response, err := r.http.Get(r.url + "/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	asked := ca.Requests()
	again := &running{T: t}
	printed, _ := launch(t, load(t, text), Run, "canister relay")
	again.trust(ca.Roots)
	again.meet(printed)
	again.dial(again.canister("relay"))
	if n := ca.Requests() - asked; n != 0 {
		t.Errorf("the CA was asked %d times at the second start", n)
	}
}

// /ready says that a name has no certificate.
func TestReadyWithoutCertificate(t *testing.T) {
	ca := acmetest.New(t)
	const domains = "domains = [\"ws.example.org\"%s]\naccept_terms = true\nca = %q\nca_root = %q\nstorage = %q"
	storage := t.TempDir()
	r := launchReloadable(t, withTLS(fmt.Sprintf(domains, "", ca.URL, ca.RootFile, storage)), "canister relay")
	r.url = strings.TrimSuffix(r.printed["page"], "/")
	ca.Open(r.port(), 0, 90*24*time.Hour)
	r.trust(ca.Roots)
	r.signals <- nil
	ready := func() (status int, text string) {
		response, err := r.http.Get(r.url + "/ready")
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	r.eventually("it is ready", func() bool { status, _ := ready(); return status == http.StatusOK })

	ca.Shut()
	r.reload(withTLS(fmt.Sprintf(domains, `, "two.example.org"`, ca.URL, ca.RootFile, storage)), inForce)
	if status, text := ready(); status != http.StatusServiceUnavailable || !strings.Contains(text, "a name has no valid certificate") {
		t.Errorf("%d, %s", status, text)
	}
}

func TestURLOfDoor(t *testing.T) {
	for _, test := range []struct {
		name    string
		names   []string // of the certificate; nil for no TLS
		address string
		want    string
	}{
		{"no TLS", nil, "127.0.0.1:8080", "ws://127.0.0.1:8080/"},
		{"no TLS, all addresses", nil, "0.0.0.0:8080", "ws://127.0.0.1:8080/"},
		{"a name", []string{"a.example"}, "0.0.0.0:8443", "wss://a.example:8443/"},
		{"a name at the usual port", []string{"a.example"}, "0.0.0.0:443", "wss://a.example/"},
		{"an address", []string{"::1"}, "[::1]:443", "wss://[::1]/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			address, err := net.ResolveTCPAddr("tcp", test.address)
			if err != nil {
				t.Fatal(err)
			}
			var tlsTable string
			if test.names != nil {
				cert, key := pairtest.New(t, time.Hour, test.names...).Write(t, t.TempDir())
				tlsTable = fmt.Sprintf("[gateway.tls]\ncert = %q\nkey = %q\n", cert, key)
			}
			d, err := openDoor(load(t, tlsTable+echoNetwork), listenerAt{addr: address}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer d.close()
			if got := d.url("ws"); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// listenerAt is a listener with an address of the test's choice.
type listenerAt struct {
	net.Listener
	addr net.Addr
}

func (l listenerAt) Addr() net.Addr { return l.addr }
