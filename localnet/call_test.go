package localnet

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestSynchronousCall(t *testing.T) {
	n := startFake(t)
	for _, version := range []string{"v3", "v4"} {
		t.Run(version+" reply", func(t *testing.T) {
			e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Arg = []byte("DIDL\x00\x00" + version) })
			r := n.post(callURL(version, testCanister), e.Encode())
			cert := n.certificate(r)
			if got := textOf(t, fields(t, r.body)["status"]); got != "replied" {
				t.Errorf("status %q", got)
			}
			id := e.RequestID()
			if got, _ := lookup(t, cert, "request_status", id, "status"); string(got) != "replied" {
				t.Errorf("certified status %q", got)
			}
			if got, _ := lookup(t, cert, "request_status", id, "reply"); string(got) != string(e.Arg) {
				t.Errorf("certified reply %q", got)
			}
			if _, ok := lookup(t, cert, "request_status", id, "reject_code"); ok {
				t.Error("a reply with a reject code")
			}
			if _, ok := lookup(t, cert, "time"); !ok {
				t.Error("no time")
			}
		})
	}
	for name, want := range map[string]struct{ code, text, errorCode string }{
		"reject": {"\x04", "no, thank you", "IC0406"},
		"trap":   {"\x05", "it trapped", "IC0503"},
	} {
		t.Run(name, func(t *testing.T) {
			e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Method = name })
			cert := n.certificate(n.post(callURL("v3", testCanister), e.Encode()))
			id := e.RequestID()
			for label, value := range map[string]string{
				"status": "rejected", "reject_code": want.code, "reject_message": want.text, "error_code": want.errorCode,
			} {
				if got, _ := lookup(t, cert, "request_status", id, label); string(got) != value {
					t.Errorf("%s is %q, not %q", label, got, value)
				}
			}
			if _, ok := lookup(t, cert, "request_status", id, "reply"); ok {
				t.Error("a reject with a reply")
			}
		})
	}
	t.Run("the machine learns who calls what", func(t *testing.T) {
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Nonce = []byte("one") })
		n.certificate(n.post(callURL("v3", testCanister), e.Encode()))
		n.fake.mu.Lock()
		defer n.fake.mu.Unlock()
		in := n.fake.last
		if in.ID != e.RequestID() || in.Sender != n.user.Principal() || in.Canister != testCanister || in.Effective != testCanister ||
			in.Method != "reply" || string(in.Arg) != string(e.Arg) || nanoseconds(in.Expiry) != e.IngressExpiry {
			t.Errorf("%+v", in)
		}
	})
	t.Run("anonymous", func(t *testing.T) {
		n.certificate(n.post(callURL("v3", testCanister), n.envelope("call", nil).Encode()))
	})
	t.Run("answered before Submit returns", func(t *testing.T) {
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Method = "at once" })
		cert := n.certificate(n.post(callURL("v3", testCanister), e.Encode()))
		if got, _ := lookup(t, cert, "request_status", e.RequestID(), "status"); string(got) != "replied" {
			t.Errorf("status %q", got)
		}
	})
}

func TestCallThatTakesLong(t *testing.T) {
	n := startFake(t)
	n.syncTimeout = 20 * time.Millisecond
	e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Method = "hang" })
	r := n.post(callURL("v3", testCanister), e.Encode())
	if r.status != http.StatusAccepted || !strings.Contains(string(r.body), "timeout") {
		t.Fatalf("%d %q", r.status, r.body)
	}
	read := n.envelope("read_state", n.user, func(e2 *candid.Envelope) {
		id := e.RequestID()
		e2.Paths = [][][]byte{{[]byte("request_status"), id[:]}}
	}).Encode()
	cert := n.certificate(n.post(readStateURL("v3", testCanister), read))
	if got, _ := lookup(t, cert, "request_status", e.RequestID(), "status"); string(got) != "received" {
		t.Errorf("status %q", got)
	}
	if _, ok := lookup(t, cert, "request_status", e.RequestID(), "reply"); ok {
		t.Error("a reply already")
	}
	n.fake.release(execution.Result{Reply: []byte("late")})
	cert = n.certificate(n.post(readStateURL("v3", testCanister), read))
	if got, _ := lookup(t, cert, "request_status", e.RequestID(), "reply"); string(got) != "late" {
		t.Errorf("reply %q", got)
	}
}

func TestAsynchronousCall(t *testing.T) {
	n := startFake(t)
	e := n.envelope("call", n.user)
	r := n.post(callURL("v2", testCanister), e.Encode())
	if r.status != http.StatusAccepted || len(r.body) != 0 {
		t.Fatalf("%d %q", r.status, r.body)
	}
	known := n.requests.lookup(e.RequestID())
	if known == nil {
		t.Fatal("the call is not known")
	}
	<-known.settled
	cert := n.certificate(n.post(readStateURL("v2", testCanister), n.envelope("read_state", n.user, func(e2 *candid.Envelope) {
		id := e.RequestID()
		e2.Paths = [][][]byte{{[]byte("request_status"), id[:], []byte("reply")}, {[]byte("request_status"), id[:], []byte("status")}}
	}).Encode()))
	if got, _ := lookup(t, cert, "request_status", e.RequestID(), "reply"); string(got) != string(e.Arg) {
		t.Errorf("reply %q", got)
	}
}

func TestCallThatIsNotAccepted(t *testing.T) {
	n := startFake(t)
	cases := []struct {
		name, method string
		canister     candid.Principal
		code         uint64
		errorCode    string
		text         string
	}{
		{"no such canister", "reply", absentCanister, 3, "IC0301", "Canister " + absentCanister.String() + " not found"},
		{"inspect_message refused", "refuse", testCanister, 4, "IC0406", "inspected and refused"},
	}
	for _, c := range cases {
		for _, version := range []string{"v2", "v3", "v4"} {
			t.Run(c.name+" "+version, func(t *testing.T) {
				e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Canister, e.Method, e.Nonce = c.canister, c.method, []byte(version) })
				r := n.post(callURL(version, c.canister), e.Encode())
				if r.status != http.StatusOK {
					t.Fatalf("%d %q", r.status, r.body)
				}
				f := fields(t, r.body)
				if status, ok := f["status"]; ok != (version != "v2") || ok && textOf(t, status) != "non_replicated_rejection" {
					t.Errorf("status %q", status)
				}
				if uintOf(t, f["reject_code"]) != c.code || textOf(t, f["error_code"]) != c.errorCode || textOf(t, f["reject_message"]) != c.text {
					t.Errorf("%q", f)
				}
				if n.requests.lookup(e.RequestID()) != nil {
					t.Error("a call that was not accepted is remembered")
				}
			})
		}
	}
	t.Run("queue full", func(t *testing.T) {
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Method = "full" })
		r := n.post(callURL("v3", testCanister), e.Encode())
		if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" ||
			string(r.body) != "Service is overloaded, try again later." {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
	t.Run("too many calls remembered", func(t *testing.T) {
		n.requests.mu.Lock()
		n.requests.limit = 0
		n.requests.mu.Unlock()
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Nonce = []byte("over the limit") })
		if r := n.post(callURL("v3", testCanister), e.Encode()); r.status != http.StatusServiceUnavailable {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
}

func TestReplay(t *testing.T) {
	n := startFake(t)
	t.Run("answered", func(t *testing.T) {
		e := n.envelope("call", n.user)
		body := e.Encode()
		first := n.certificate(n.post(callURL("v3", testCanister), body))
		again := n.certificate(n.post(callURL("v4", testCanister), body))
		if r := n.post(callURL("v2", testCanister), body); r.status != http.StatusAccepted {
			t.Errorf("v2: %d %q", r.status, r.body)
		}
		a, _ := lookup(t, first, "request_status", e.RequestID(), "reply")
		b, _ := lookup(t, again, "request_status", e.RequestID(), "reply")
		if string(a) != string(b) {
			t.Errorf("%q, then %q", a, b)
		}
		if times := n.fake.times(e.RequestID()); times != 1 {
			t.Errorf("executed %d times", times)
		}
	})
	t.Run("while the first is running", func(t *testing.T) {
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Method = "hang" })
		body := e.Encode()
		var wg sync.WaitGroup
		results := make([]response, 4)
		for i := range results {
			wg.Go(func() { results[i] = n.post(callURL("v3", testCanister), body) })
		}
		for n.fake.times(e.RequestID()) == 0 {
			time.Sleep(time.Millisecond)
		}
		n.fake.release(execution.Result{Reply: []byte("once")})
		wg.Wait()
		for _, r := range results {
			if got, _ := lookup(t, n.certificate(r), "request_status", e.RequestID(), "reply"); string(got) != "once" {
				t.Errorf("reply %q", got)
			}
		}
		if times := n.fake.times(e.RequestID()); times != 1 {
			t.Errorf("executed %d times", times)
		}
	})
	t.Run("after its expiry", func(t *testing.T) {
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Nonce = []byte("later") })
		body := e.Encode()
		n.certificate(n.post(callURL("v3", testCanister), body))
		n.clock.advance(6 * time.Minute)
		if r := n.post(callURL("v3", testCanister), body); r.status != http.StatusBadRequest {
			t.Errorf("%d %q", r.status, r.body)
		}
		n.requests.sweep()
		if n.requests.lookup(e.RequestID()) != nil {
			t.Error("still remembered")
		}
	})
}

func TestCallOfManagementCanister(t *testing.T) {
	n := startFake(t)
	naming := func(label string) []byte {
		arg, err := candid.NewBuilder().Add(candid.RecordOf(candid.Field{Label: label, Type: candid.PrincipalType}),
			candid.Fields{label: testCanister}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return arg
	}
	withCanister, withTarget := naming("canister_id"), naming("target_canister")
	cases := []struct {
		name, method string
		arg          []byte
		effective    candid.Principal
		status       int
	}{
		{"named in the argument", "canister_status", withCanister, testCanister, http.StatusOK},
		{"another in the URL", "canister_status", withCanister, otherCanister, http.StatusBadRequest},
		{"the management canister in the URL", "canister_status", withCanister, candid.ManagementCanister, http.StatusBadRequest},
		{"creation anywhere", "provisional_create_canister_with_cycles", []byte("DIDL\x00\x00"), candid.ManagementCanister, http.StatusOK},
		{"creation at a canister", "create_canister", []byte("DIDL\x00\x00"), otherCanister, http.StatusOK},
		{"target of a chunked installation", "install_chunked_code", withTarget, testCanister, http.StatusOK},
		{"another than the target", "install_chunked_code", withTarget, otherCanister, http.StatusBadRequest},
		{"no canister in the argument", "raw_rand", []byte("DIDL\x00\x00"), testCanister, http.StatusOK},
		{"argument is not Candid", "canister_status", []byte("nonsense"), testCanister, http.StatusOK},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := n.envelope("call", n.user, func(e *candid.Envelope) {
				e.Canister, e.Method, e.Arg, e.Nonce = candid.ManagementCanister, c.method, c.arg, []byte(c.name)[:min(len(c.name), 32)]
			})
			r := n.post(callURL("v3", c.effective), e.Encode())
			if r.status != c.status {
				t.Fatalf("%d %q", r.status, r.body)
			}
			if c.status != http.StatusOK {
				return
			}
			n.certificate(r)
			n.fake.mu.Lock()
			defer n.fake.mu.Unlock()
			if n.fake.last.Effective != c.effective {
				t.Errorf("effective canister id %s", n.fake.last.Effective)
			}
		})
	}
	t.Run("at the subnet", func(t *testing.T) {
		url := "/api/v4/subnet/" + n.Subnet().String() + "/call"
		create := func(e *candid.Envelope) { e.Canister, e.Method = candid.ManagementCanister, "create_canister" }
		n.certificate(n.post(url, n.envelope("call", n.user, create).Encode()))
		if r := n.post(url, n.envelope("call", n.user).Encode()); r.status != http.StatusBadRequest {
			t.Errorf("an ordinary call: %d %q", r.status, r.body)
		}
		elsewhere := "/api/v4/subnet/" + n.node.id.String() + "/call"
		if r := n.post(elsewhere, n.envelope("call", n.user, create).Encode()); r.status != http.StatusBadRequest {
			t.Errorf("another subnet: %d %q", r.status, r.body)
		}
	})
}

func TestCloseWhileCallsWait(t *testing.T) {
	n := startFake(t)
	e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Method = "hang" })
	answered := make(chan response)
	go func() { answered <- n.post(callURL("v3", testCanister), e.Encode()) }()
	for n.fake.times(e.RequestID()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if r := <-answered; r.status != http.StatusAccepted {
		t.Errorf("%d %q", r.status, r.body)
	}
	if err := n.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestManyCallsShareSignatures(t *testing.T) {
	n := startFake(t)
	before := n.certifier.height.Load()
	const calls = 200
	var wg sync.WaitGroup
	for i := range calls {
		e := n.envelope("call", n.user, func(e *candid.Envelope) { e.Nonce = slices.Concat([]byte("n"), []byte{byte(i)}) })
		wg.Go(func() {
			cert := n.certificate(n.post(callURL("v3", testCanister), e.Encode()))
			if got, _ := lookup(t, cert, "request_status", e.RequestID(), "status"); string(got) != "replied" {
				t.Errorf("status %q", got)
			}
		})
	}
	wg.Wait()
	t.Logf("%d calls, %d signatures", calls, n.certifier.height.Load()-before)
}
