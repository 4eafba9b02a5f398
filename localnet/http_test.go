package localnet

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

func TestRefusals(t *testing.T) {
	n := startFake(t)
	signed := func(kind string, changes ...func(*candid.Envelope)) []byte {
		return n.envelope(kind, n.user, changes...).Encode()
	}
	tampered := func(change func(*candid.Envelope)) []byte {
		e := n.envelope("call", n.user)
		change(e)
		return e.Encode()
	}
	in := func(d time.Duration) func(*candid.Envelope) {
		return func(e *candid.Envelope) { e.IngressExpiry = nanoseconds(n.clock.now().Add(d)) }
	}
	call, query, read := callURL("v3", testCanister), queryURL("v3", testCanister), readStateURL("v3", testCanister)
	valid := signed("call")
	cases := []struct {
		name   string
		url    string
		body   []byte
		status int
		text   string
	}{
		{"empty body", call, nil, 400, "Failed to deserialize cbor request"},
		{"not CBOR", call, []byte("hello there"), 400, "Failed to deserialize cbor request"},
		{"cut short", call, valid[:len(valid)-3], 400, "Failed to deserialize cbor request"},
		{"bytes after the end", call, append(bytes.Clone(valid), 0), 400, "Failed to deserialize cbor request"},
		{"nested without end", call, bytes.Repeat([]byte{0x81}, 100_000), 400, "Failed to deserialize cbor request"},
		{"a query as a call", call, signed("query"), 400, "unknown variant `query`, expected `call`"},
		{"a call as a query", query, signed("call"), 400, "unknown variant `call`, expected `query`"},
		{"a call as a read", read, signed("call"), 400, "unknown variant `call`, expected `read_state`"},
		{"a long nonce", call, signed("call", func(e *candid.Envelope) { e.Nonce = make([]byte, 33) }), 400, "nonce"},

		{"changed after signing", call, tampered(func(e *candid.Envelope) { e.Arg = []byte("other") }), 400, "Invalid signature"},
		{"signature of nothing", call, tampered(func(e *candid.Envelope) { e.SenderSig = make([]byte, 64) }), 400, "Invalid signature"},
		{"no signature", call, tampered(func(e *candid.Envelope) { e.SenderSig, e.SenderPubkey = nil, nil }), 400, "Missing signature from user"},
		{"somebody else's key", call, tampered(func(e *candid.Envelope) { e.SenderPubkey = n.stranger.PublicKeyDER() }), 400, "does not match the public key"},
		{"key that is none", call, tampered(func(e *candid.Envelope) { e.SenderPubkey = []byte("key") }), 400, "does not match the public key"},
		{"signed but anonymous", call, func() []byte {
			e := n.envelope("call", n.user)
			e.Sender = candid.Anonymous
			return e.Encode()
		}(), 400, "Signature is not allowed for the anonymous user"},

		{"expired", call, signed("call", in(-time.Second)), 400, "Invalid request expiry: Specified ingress_expiry not within expected range"},
		{"expired query", query, signed("query", in(-time.Second)), 400, "Invalid request expiry"},
		{"expired read", read, signed("read_state", in(-time.Second)), 400, "Invalid request expiry"},
		{"anonymous and expired call", call, n.envelope("call", nil, in(-time.Second)).Encode(), 400, "Invalid request expiry"},
		{"far future", call, signed("call", in(6*time.Minute)), 400, "Invalid request expiry"},
		{"end of time", call, signed("call", func(e *candid.Envelope) { e.IngressExpiry = 1<<64 - 1 }), 400, "Invalid request expiry"},
		{"beginning of time", call, signed("call", func(e *candid.Envelope) { e.IngressExpiry = 0 }), 400, "Invalid request expiry"},

		{"another canister in the URL", callURL("v3", otherCanister), valid, 400,
			"Specified CanisterId " + testCanister.String() + " does not match effective canister id in URL " + otherCanister.String()},
		{"another canister in a query's URL", queryURL("v2", otherCanister), signed("query"), 400, "does not match effective canister id in URL"},
		{"principal that is none", "/api/v3/canister/nonsense/call", valid, 400, "Invalid URL"},
		{"principal with a wrong checksum", "/api/v3/canister/aaaaa-ba/call", valid, 400, "Invalid URL"},
		{"no such endpoint", "/api/v3/canister/" + testCanister.String() + "/destroy", valid, 404, ""},
		{"version that there is not", callURL("v9", testCanister), valid, 404, ""},

		{"message above 2 MiB", call, signed("call", func(e *candid.Envelope) { e.Arg = make([]byte, maxIngressBytes) }), 413, "is larger than the max allowed 2097152."},
		{"body above 5 MiB", call, make([]byte, maxBodyBytes+1), 413, "too large"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := n.post(c.url, c.body)
			if r.status != c.status || !strings.Contains(string(r.body), c.text) {
				t.Errorf("%d %q, expected %d with %q", r.status, r.body, c.status, c.text)
			}
			if got := r.header.Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("Access-Control-Allow-Origin %q", got)
			}
			if r.status == 200 || len(n.fake.executed) > 0 {
				t.Error("something was executed")
			}
		})
	}
}

func TestAcceptedExpiries(t *testing.T) {
	n := startFake(t)
	in := func(d time.Duration) func(*candid.Envelope) {
		return func(e *candid.Envelope) { e.IngressExpiry = nanoseconds(n.clock.now().Add(d)) }
	}
	cases := []struct {
		name string
		url  string
		e    *candid.Envelope
	}{
		{"just before its end", callURL("v3", testCanister), n.envelope("call", n.user, in(5*time.Second))},
		{"within the permitted drift", callURL("v3", testCanister), n.envelope("call", n.user, in(5*time.Minute+20*time.Second))},
		{"anonymous query of any age", queryURL("v3", testCanister), n.envelope("query", nil, in(-time.Hour))},
		{"anonymous read of any age", readStateURL("v3", testCanister), n.envelope("read_state", nil, in(time.Hour))},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if r := n.post(c.url, c.e.Encode()); r.status != 200 {
				t.Errorf("%d %q", r.status, r.body)
			}
		})
	}
}

func TestDelegations(t *testing.T) {
	n := startFake(t)
	delegated := func(d candid.Delegation) []byte {
		return n.envelope("call", n.delegate(d), func(e *candid.Envelope) { e.Nonce = ic.NewNonce() }).Encode()
	}
	soon := nanoseconds(time.Now().Add(time.Hour))
	cases := []struct {
		name   string
		d      candid.Delegation
		status int
		text   string
	}{
		{"valid", candid.Delegation{Expiration: soon}, 200, ""},
		{"for this canister", candid.Delegation{Expiration: soon, Targets: []candid.Principal{testCanister}}, 200, ""},
		{"for another canister", candid.Delegation{Expiration: soon, Targets: []candid.Principal{otherCanister, absentCanister}}, 400, "Canister " + testCanister.String() + " is not one of the delegation targets"},
		{"for no canister", candid.Delegation{Expiration: soon, Targets: []candid.Principal{}}, 400, "Canister " + testCanister.String() + " is not one of the delegation targets"},
		{"expired", candid.Delegation{Expiration: nanoseconds(time.Now().Add(-time.Minute))}, 400,
			"Invalid delegation expiry: Specified sender delegation has expired"},
		{"for queries only", candid.Delegation{Expiration: soon, Permissions: "queries"}, 400, "Invalid delegation"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if r := n.post(callURL("v3", testCanister), delegated(c.d)); r.status != c.status || !strings.Contains(string(r.body), c.text) {
				t.Errorf("%d %q", r.status, r.body)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	n := startFake(t)
	request := func(method, url string, body io.Reader, header ...string) response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, n.URL()+url, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return n.do(req)
	}
	call := callURL("v3", testCanister)
	t.Run("preflight", func(t *testing.T) {
		r := request(http.MethodOptions, call, nil, "Origin", "http://example.com",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(r.header.Get("Access-Control-Allow-Methods"), "POST") ||
			!strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "content-type") {
			t.Errorf("%d %v", r.status, r.header)
		}
	})
	t.Run("GET of a POST endpoint", func(t *testing.T) {
		if r := request(http.MethodGet, call, nil); r.status != http.StatusMethodNotAllowed {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("not application/cbor", func(t *testing.T) {
		r := request(http.MethodPost, call, strings.NewReader("{}"), "Content-Type", "application/json")
		if r.status != 400 || !strings.Contains(string(r.body), "Unexpected content-type") {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("body of unknown length", func(t *testing.T) {
		body := n.envelope("call", n.user).Encode()
		r := request(http.MethodPost, call, io.MultiReader(bytes.NewReader(body)), "Content-Type", "application/cbor")
		if r.status != 200 {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("endless body of unknown length", func(t *testing.T) {
		r := request(http.MethodPost, call, io.LimitReader(zeros{}, maxBodyBytes+1), "Content-Type", "application/cbor")
		if r.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("status", func(t *testing.T) {
		r := request(http.MethodGet, "/api/v2/status", nil)
		f := fields(t, r.body)
		if r.status != 200 || r.header.Get("Content-Type") != "application/cbor" ||
			!bytes.Equal(bytesOf(t, f["root_key"]), n.RootKey()) ||
			textOf(t, f["replica_health_status"]) != "healthy" || textOf(t, f["impl_version"]) == "" {
			t.Errorf("%d %v %q", r.status, r.header, f)
		}
	})
	t.Run("welcome", func(t *testing.T) {
		if r := request(http.MethodGet, "/", nil); r.status != 200 || !strings.Contains(string(r.body), n.Subnet().String()) {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("overloaded", func(t *testing.T) {
		n.inFlight.Add(maxInFlightBytes)
		defer n.inFlight.Add(-maxInFlightBytes)
		r := n.post(call, n.envelope("call", n.user).Encode())
		if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	if got := n.inFlight.Load(); got != 0 {
		t.Errorf("%d bytes in flight after the last request", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestTakenPort(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	n, err := Start(t.Context(), Options{Listen: l.Addr().String()})
	if err == nil {
		_ = n.Close()
		t.Fatal("started on a taken port")
	}
	if !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error does not tell: %v", err)
	}
}

func TestListenOnAllInterfaces(t *testing.T) {
	n, err := Start(t.Context(), Options{Listen: ":0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if !strings.HasPrefix(n.URL(), "http://127.0.0.1:") || strings.HasSuffix(n.URL(), ":0") {
		t.Errorf("URL %s", n.URL())
	}
}

// TestCloseWithIdleConnections opens connections as browsers do in advance. Close does not wait for them.
func TestCloseWithIdleConnections(t *testing.T) {
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(n.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	start := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > closeTimeout/2 {
		t.Errorf("Close took %v", took)
	}
}
