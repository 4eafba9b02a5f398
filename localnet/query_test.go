package localnet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// nodeKeys reads the nodes' public keys from the state tree, as agents do.
func (n *testNet) nodeKeys() map[candid.Principal]ed25519.PublicKey {
	n.t.Helper()
	cert := n.certificate(n.post(readStateURL("v3", testCanister), n.envelope("read_state", nil, func(e *candid.Envelope) {
		e.Paths = [][][]byte{{[]byte("subnet")}}
	}).Encode()))
	der, ok := lookup(n.t, cert, "subnet", n.Subnet(), "node", n.node.id, "public_key")
	if !ok {
		n.t.Fatal("no node key in the state tree")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		n.t.Fatal(err)
	}
	return map[candid.Principal]ed25519.PublicKey{n.node.id: key.(ed25519.PublicKey)}
}

func TestQuery(t *testing.T) {
	n := startFake(t)
	keys := n.nodeKeys()
	for _, version := range []string{"v2", "v3"} {
		for _, method := range []string{"reply", "reject", "missing"} {
			t.Run(version+" "+method, func(t *testing.T) {
				canister := testCanister
				if method == "missing" {
					canister = absentCanister
				}
				before := nanoseconds(time.Now())
				e := n.envelope("query", n.user, func(e *candid.Envelope) { e.Canister, e.Method = canister, method })
				r := n.post(queryURL(version, canister), e.Encode())
				if r.status != http.StatusOK {
					t.Fatalf("%d %q", r.status, r.body)
				}
				f := fields(t, r.body)
				signatures := cbor.NewReader(f["signatures"])
				if _, err := signatures.Array(); err != nil {
					t.Fatal(err)
				}
				raw, err := signatures.Raw()
				if err != nil {
					t.Fatal(err)
				}
				sig := fields(t, raw)
				at := uintOf(t, sig["timestamp"])
				if now := nanoseconds(time.Now().Add(signatureLead)); at < before+uint64(signatureLead) || at > now {
					t.Errorf("signed at %d, outside of %d to %d", at, before, now)
				}
				id := e.RequestID()
				common := []candid.HashField{candid.NatField("timestamp", at), candid.BytesField("request_id", id[:])}
				var hash [32]byte
				switch status := textOf(t, f["status"]); {
				case status == "replied" && method == "reply":
					arg := bytesOf(t, fields(t, f["reply"])["arg"])
					if !bytes.Equal(arg, e.Arg) {
						t.Errorf("reply %q", arg)
					}
					hash = candid.HashOfMap(append(common, candid.TextField("status", status),
						candid.MapField("reply", candid.BytesField("arg", arg)))...)
				case status == "rejected" && method != "reply":
					code, text, errorCode := uintOf(t, f["reject_code"]), textOf(t, f["reject_message"]), textOf(t, f["error_code"])
					want := map[string]string{"reject": "no \uFFFD thank you", "missing": "Canister " + absentCanister.String() + " not found"}
					if text != want[method] || errorCode != map[string]string{"reject": "IC0406", "missing": "IC0301"}[method] {
						t.Errorf("%d %q %s", code, text, errorCode)
					}
					hash = candid.HashOfMap(append(common, candid.TextField("status", status), candid.NatField("reject_code", code),
						candid.TextField("reject_message", text), candid.TextField("error_code", errorCode))...)
				default:
					t.Fatalf("status %q", status)
				}
				key := keys[candid.Principal(bytesOf(t, sig["identity"]))]
				if key == nil || !ed25519.Verify(key, append([]byte("\x0Bic-response"), hash[:]...), bytesOf(t, sig["signature"])) {
					t.Error("the signature does not verify")
				}
			})
		}
	}
	t.Run("list_canisters at the subnet", func(t *testing.T) {
		url := "/api/v3/subnet/" + n.Subnet().String() + "/query"
		e := n.envelope("query", n.user, func(e *candid.Envelope) { e.Canister, e.Method = candid.ManagementCanister, "list_canisters" })
		if r := n.post(url, e.Encode()); r.status != http.StatusOK {
			t.Errorf("%d %q", r.status, r.body)
		}
		if r := n.post(url, n.envelope("query", n.user).Encode()); r.status != http.StatusBadRequest {
			t.Errorf("an ordinary query: %d %q", r.status, r.body)
		}
	})
}

func TestDataCertificate(t *testing.T) {
	n := startFake(t)
	ask := func() (encoded []byte, cert *ic.Certificate) {
		t.Helper()
		e := n.envelope("query", nil, func(e *candid.Envelope) { e.Method = "certificate" })
		r := n.post(queryURL("v2", testCanister), e.Encode())
		encoded = bytesOf(t, fields(t, fields(t, r.body)["reply"])["arg"])
		cert, err := n.verifier.Verify(encoded, testCanister, n.clock.now(), 5*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return encoded, cert
	}
	certified := func(cert *ic.Certificate) string {
		v, _ := lookup(t, cert, "canister", testCanister, "certified_data")
		return string(v)
	}
	first, cert := ask()
	if certified(cert) != "certified" {
		t.Errorf("certified data %q", certified(cert))
	}
	if _, result := cert.Tree.Lookup([]byte("canister"), testCanister.Bytes(), []byte("module_hash")); result != ic.Unknown {
		t.Errorf("module_hash is %v", result)
	}
	signed := n.certifier.height.Load()
	for range 100 {
		if again, _ := ask(); !bytes.Equal(first, again) {
			t.Fatal("another certificate for the same data at once")
		}
	}
	if got := n.certifier.height.Load(); got != signed {
		t.Errorf("%d signatures for polls", got-signed)
	}
	n.clock.advance(2 * time.Second)
	later, cert := ask()
	if bytes.Equal(first, later) || cert.Time.Sub(n.clock.now()).Abs() > time.Second {
		t.Errorf("an old certificate: %v", cert.Time)
	}
	info, _ := n.fake.Info(testCanister)
	info.CertifiedData = []byte("changed")
	n.fake.set(info)
	if _, cert = ask(); certified(cert) != "changed" {
		t.Errorf("certified data %q", certified(cert))
	}
	if encoded, data := n.certifier.dataCertificate(absentCanister); encoded != nil || data != nil {
		t.Error("a certificate for a canister that does not exist")
	}
	for i := range maxDataCertificates + 10 {
		id := candid.Principal([]byte{1, 0, 0, 0, 0, 0, byte(i >> 8), byte(i), 1, 1})
		n.fake.mu.Lock()
		n.fake.infos[id] = execution.CanisterInfo{ID: id, ModuleHash: []byte{1}}
		n.fake.mu.Unlock()
		n.certifier.dataMu.Lock()
		n.certifier.data[id] = dataCertificate{}
		n.certifier.dataMu.Unlock()
	}
	ask()
	n.certifier.dataCertificate("\x01\x00\x00\x00\x00\x00\x00\x01\x01\x01")
	n.certifier.dataMu.RLock()
	defer n.certifier.dataMu.RUnlock()
	if len(n.certifier.data) > maxDataCertificates {
		t.Errorf("%d certificates are kept", len(n.certifier.data))
	}
}
