package localnet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMachine answers calls as a test wants. Methods of its one canister:
// "reply" answers with its argument, "reject" rejects, "hang" waits for release,
// "refuse" is not accepted, "full" finds the queue full.
type fakeMachine struct {
	mu       sync.Mutex
	version  uint64
	infos    map[candid.Principal]execution.CanisterInfo
	hanging  []func(execution.Result)
	executed map[[32]byte]int
	last     execution.Ingress
	queries  int
	data     func(candid.Principal) (certificate, certified []byte)
}

var (
	testCanister   = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")
	otherCanister  = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01")
	absentCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x63\x01\x01")
)

func (f *fakeMachine) Submit(in execution.Ingress, done func(execution.Result)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = in
	switch _, exists := f.infos[in.Canister]; {
	case !exists && in.Canister != candid.ManagementCanister:
		return &execution.Reject{Code: 3, Text: "Canister " + in.Canister.String() + " not found", ErrorCode: "IC0301"}
	case in.Method == "refuse":
		return &execution.Reject{Code: 4, Text: "inspected and refused", ErrorCode: "IC0406"}
	case in.Method == "full":
		return fmt.Errorf("%w: %w", execution.ErrBusy, &execution.Reject{Code: 2, Text: "the queue is full", ErrorCode: "IC0201"})
	}
	f.executed[in.ID]++
	switch in.Method {
	case "reject":
		go done(execution.Result{Reject: &execution.Reject{Code: 4, Text: "no, thank you"}})
	case "trap":
		go done(execution.Result{Reject: &execution.Reject{Code: 5, Text: "it trapped", ErrorCode: "IC0503"}})
	case "hang":
		f.hanging = append(f.hanging, done)
	case "at once":
		done(execution.Result{Reply: in.Arg})
	default:
		go done(execution.Result{Reply: in.Arg})
	}
	return nil
}

func (f *fakeMachine) release(result execution.Result) {
	f.mu.Lock()
	hanging := f.hanging
	f.hanging = nil
	f.mu.Unlock()
	for _, done := range hanging {
		done(result)
	}
}

func (f *fakeMachine) Query(_ context.Context, _, canister candid.Principal, method string, arg []byte) execution.Result {
	f.mu.Lock()
	f.queries++
	_, exists := f.infos[canister]
	f.mu.Unlock()
	switch {
	case !exists && canister != candid.ManagementCanister:
		return execution.Result{Reject: &execution.Reject{Code: 3, Text: "Canister " + canister.String() + " not found", ErrorCode: "IC0301"}}
	case method == "reject":
		return execution.Result{Reject: &execution.Reject{Code: 4, Text: "no \xff thank you"}}
	case method == "certificate":
		certificate, _ := f.data(canister)
		return execution.Result{Reply: certificate}
	}
	return execution.Result{Reply: arg}
}

func (f *fakeMachine) Info(id candid.Principal) (execution.CanisterInfo, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.infos[id]
	return info, ok
}

func (f *fakeMachine) Canisters() []candid.Principal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.infos))
}

func (f *fakeMachine) Version() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

func (f *fakeMachine) set(info execution.CanisterInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.infos[info.ID] = info
	f.version++
}

func (f *fakeMachine) remove(id candid.Principal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.infos, id)
	f.version++
}

func (f *fakeMachine) times(id [32]byte) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.executed[id]
}

// clock is a settable clock that starts at the real time.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

// testNet is a network on a fake machine, and somebody who uses it.
type testNet struct {
	*Network
	t          *testing.T
	fake       *fakeMachine
	clock      *clock
	user       ic.Identity
	stranger   ic.Identity
	controller ic.Identity
	verifier   *ic.Verifier
}

func startFake(t *testing.T) *testNet {
	t.Helper()
	c := &clock{}
	n, err := Start(t.Context(), Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	tn := &testNet{Network: n, t: t, clock: c, user: newIdentity(t), stranger: newIdentity(t), controller: newIdentity(t)}
	tn.fake = &fakeMachine{
		infos:    map[candid.Principal]execution.CanisterInfo{},
		executed: map[[32]byte]int{},
		data:     n.certifier.dataCertificate,
	}
	tn.fake.set(execution.CanisterInfo{
		ID:            testCanister,
		ModuleHash:    bytes.Repeat([]byte{7}, 32),
		Controllers:   []candid.Principal{tn.controller.Principal()},
		CertifiedData: []byte("certified"),
		Metadata: map[string]execution.Section{
			"candid:service": {Public: true, Content: []byte("service : {}")},
			"secret":         {Content: []byte("private words")},
		},
	})
	tn.fake.set(execution.CanisterInfo{ID: otherCanister, Controllers: []candid.Principal{tn.controller.Principal()}})
	n.setMachine(tn.fake)
	v, err := ic.NewVerifier(n.RootKey())
	if err != nil {
		t.Fatal(err)
	}
	tn.verifier = v
	t.Cleanup(func() {
		tn.fake.release(execution.Result{})
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return tn
}

func newIdentity(t *testing.T) ic.Identity {
	t.Helper()
	id, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// envelope returns a signed request that changes have been made to before signing.
func (n *testNet) envelope(kind string, id ic.Identity, changes ...func(*candid.Envelope)) *candid.Envelope {
	n.t.Helper()
	e := &candid.Envelope{
		RequestType:   kind,
		Sender:        candid.Anonymous,
		IngressExpiry: nanoseconds(n.clock.now().Add(4 * time.Minute)),
	}
	if kind != candid.RequestReadState {
		e.Canister, e.Method, e.Arg = testCanister, "reply", []byte("DIDL\x00\x00")
	} else {
		e.Paths = [][][]byte{{[]byte("time")}}
	}
	if id != nil {
		e.Sender = id.Principal()
	}
	for _, change := range changes {
		change(e)
	}
	if id != nil {
		if err := ic.Sign(e, id); err != nil {
			n.t.Fatal(err)
		}
	}
	return e
}

// delegate returns a new session key to which the user has delegated with d.
func (n *testNet) delegate(d candid.Delegation) ic.Identity {
	n.t.Helper()
	session := newIdentity(n.t)
	d.Pubkey = session.PublicKeyDER()
	hash := d.Hash()
	var err error
	if d.Signature, err = n.user.Sign(append([]byte("\x1Aic-request-auth-delegation"), hash[:]...)); err != nil {
		n.t.Fatal(err)
	}
	return ic.NewDelegatedIdentity(n.user.PublicKeyDER(), []candid.Delegation{d}, session)
}

// response is an HTTP answer, read to its end.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (n *testNet) post(url string, body []byte) response {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.URL()+url, bytes.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/cbor")
	return n.do(req)
}

func (n *testNet) do(req *http.Request) response {
	n.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, body}
}

func callURL(version string, id candid.Principal) string {
	return "/api/" + version + "/canister/" + id.String() + "/call"
}

func queryURL(version string, id candid.Principal) string {
	return "/api/" + version + "/canister/" + id.String() + "/query"
}

func readStateURL(version string, id candid.Principal) string {
	return "/api/" + version + "/canister/" + id.String() + "/read_state"
}

// fields decodes a self-described CBOR map with text keys; nested items stay raw.
func fields(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	r := cbor.NewReader(b)
	r.SkipSelfDescribe()
	m, err := r.Map()
	if err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	out := map[string][]byte{}
	for {
		more, err := r.Next(&m)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		key, err := r.Text()
		if err != nil {
			t.Fatal(err)
		}
		if out[key], err = r.Raw(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	return out
}

func textOf(t *testing.T, raw []byte) string {
	t.Helper()
	r := cbor.NewReader(raw)
	s, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bytesOf(t *testing.T, raw []byte) []byte {
	t.Helper()
	r := cbor.NewReader(raw)
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func uintOf(t *testing.T, raw []byte) uint64 {
	t.Helper()
	r := cbor.NewReader(raw)
	v, err := r.Uint()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// certificate verifies the certificate in a response.
func (n *testNet) certificate(r response) *ic.Certificate {
	n.t.Helper()
	if r.status != http.StatusOK {
		n.t.Fatalf("status %d: %s", r.status, r.body)
	}
	cert, err := n.verifier.Verify(bytesOf(n.t, fields(n.t, r.body)["certificate"]), testCanister, n.clock.now(), 5*time.Minute)
	if err != nil {
		n.t.Fatalf("certificate: %v", err)
	}
	return cert
}

// lookup finds a value in a certificate; ok tells Found from Absent.
func lookup(t *testing.T, cert *ic.Certificate, labels ...any) (value []byte, ok bool) {
	t.Helper()
	var p path
	for _, l := range labels {
		switch l := l.(type) {
		case string:
			p = append(p, []byte(l))
		case candid.Principal:
			p = append(p, l.Bytes())
		case [32]byte:
			p = append(p, l[:])
		case []byte:
			p = append(p, l)
		default:
			t.Fatalf("label of type %T", l)
		}
	}
	value, result := cert.Tree.Lookup(p...)
	switch result {
	case ic.Found:
		return value, true
	case ic.Absent:
		return nil, false
	}
	t.Fatalf("lookup of %q: %v", p, result)
	return nil, false
}
