package localnet

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// benchNet is a network without HTTP server and canisters, for benchmarks of what is left.
func benchNet(b *testing.B) (*Network, ic.Identity) {
	b.Helper()
	n, err := newNetwork(Options{}.withDefaults())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.canisters.Close() })
	n.setMachine(&fakeMachine{
		infos: map[candid.Principal]execution.CanisterInfo{
			testCanister: {ID: testCanister, ModuleHash: make([]byte, 32), CertifiedData: make([]byte, 32)}},
		executed: map[[32]byte]int{},
		data:     n.certifier.dataCertificate,
	})
	user, err := ic.NewEd25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	return n, user
}

func serveOnce(b *testing.B, h http.Handler, url string, body []byte) {
	req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
	req.Header.Set("Content-Type", cborType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
}

func signedFor(b *testing.B, kind, method string, id ic.Identity) []byte {
	e := &candid.Envelope{
		RequestType: kind, Canister: testCanister, Method: method, Arg: []byte("DIDL\x00\x00"),
		IngressExpiry: nanoseconds(time.Now().Add(4 * time.Minute)), Nonce: ic.NewNonce(),
	}
	if err := ic.Sign(e, id); err != nil {
		b.Fatal(err)
	}
	return e.Encode()
}

// BenchmarkQuery is a signed query with its data certificate, all but the
// canister's execution and the socket.
func BenchmarkQuery(b *testing.B) {
	n, user := benchNet(b)
	h := n.handler()
	body := signedFor(b, candid.RequestQuery, "certificate", user)
	b.ReportAllocs()
	for b.Loop() {
		serveOnce(b, h, queryURL("v3", testCanister), body)
	}
}

// BenchmarkCall is a synchronous call with its certificate, all but the
// canister's execution and the socket. Parallel calls share signatures.
func BenchmarkCall(b *testing.B) {
	n, user := benchNet(b)
	h := n.handler()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			serveOnce(b, h, callURL("v4", testCanister), signedFor(b, candid.RequestCall, "reply", user))
		}
	})
	b.ReportMetric(float64(n.certifier.height.Load())/float64(b.N), "signatures/op")
}
