package localnet

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// FuzzHTTP gives every endpoint mutated request bodies. Whatever comes, the
// answer is one that the interface knows, and what is 200 is well-formed CBOR.
func FuzzHTTP(f *testing.F) {
	n, err := newNetwork(Options{Now: time.Now}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	fake := &fakeMachine{
		infos:    map[candid.Principal]execution.CanisterInfo{testCanister: {ID: testCanister, ModuleHash: make([]byte, 32)}},
		executed: map[[32]byte]int{},
		data:     n.certifier.dataCertificate,
	}
	f.Cleanup(func() {
		if err := n.canisters.Close(); err != nil {
			f.Error(err)
		}
	})
	n.setMachine(fake)
	n.syncTimeout = time.Millisecond
	// Anything that is mutated has a wrong signature, so the anonymous seeds are what gets further.
	user, err := ic.NewEd25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	expiry := nanoseconds(time.Now().Add(4 * time.Minute))
	seeds := []*candid.Envelope{
		{RequestType: candid.RequestCall, Canister: testCanister, Method: "reply", Arg: []byte("DIDL\x00\x00"), Sender: candid.Anonymous, IngressExpiry: expiry},
		{RequestType: candid.RequestCall, Canister: "", Method: "canister_status", Arg: []byte("DIDL\x01\x6c\x01\xb3\xc4\xb1\xf2\x04\x68\x01\x00\x01\x00"), Sender: candid.Anonymous, IngressExpiry: expiry},
		{RequestType: candid.RequestQuery, Canister: testCanister, Method: "certificate", Arg: []byte{}, Sender: candid.Anonymous, IngressExpiry: expiry},
		{RequestType: candid.RequestReadState, Sender: candid.Anonymous, IngressExpiry: expiry, Paths: [][][]byte{
			labels("subnet"), labels("canister", testCanister, "module_hash"), labels("request_status", [32]byte{1}), labels("canister_ranges", n.subnet)}},
	}
	for i, e := range seeds {
		f.Add(uint8(i), e.Encode())
		signed := *e
		if err := ic.Sign(&signed, user); err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), signed.Encode())
	}
	f.Add(uint8(0), []byte{0xd9, 0xd9, 0xf7, 0xbf, 0xff})
	var urls []string
	for _, v := range []string{"v2", "v3", "v4"} {
		urls = append(urls, callURL(v, testCanister), callURL(v, ""), queryURL(v, testCanister), readStateURL(v, testCanister),
			"/api/"+v+"/subnet/"+n.subnet.String()+"/read_state", "/api/"+v+"/subnet/"+n.subnet.String()+"/call",
			"/api/"+v+"/subnet/"+n.subnet.String()+"/query")
	}
	handler := n.handler()
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		for _, url := range []string{urls[int(which)%len(urls)], urls[0], urls[2], urls[3], urls[4]} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
			req.Header.Set("Content-Type", cborType)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			switch w.Code {
			case http.StatusOK:
				r := cbor.NewReader(w.Body.Bytes())
				if !r.SkipSelfDescribe() {
					t.Fatalf("%s: not self-described: %x", url, w.Body.Bytes())
				}
				if err := r.Skip(); err != nil || r.End() != nil {
					t.Fatalf("%s: %v: %x", url, err, w.Body.Bytes())
				}
			case http.StatusAccepted, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound,
				http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable:
			default:
				t.Fatalf("%s: %d %q", url, w.Code, w.Body.Bytes())
			}
		}
		n.requests.sweep()
	})
}
