package execution

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

func TestCounter(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 5))
	wantValue(t, ask(t, m, id, "get", args(t)), "5")
	wantValue(t, submit(t, m, id, "inc", args(t)), "6")
	wantValue(t, ask(t, m, id, "get", args(t)), "6")
	wantValue(t, ask(t, m, id, "me", args(t)), fmt.Sprintf("principal %q", id))
	wantValue(t, ask(t, m, id, "whoami", args(t)), fmt.Sprintf("principal %q", user))
	wantValue(t, submit(t, m, id, "whoamiUpdate", args(t)), fmt.Sprintf("principal %q", user))
}

func TestQueryIsRolledBack(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 5))
	for range 3 {
		wantValue(t, ask(t, m, id, "sneaky", args(t)), "6")
	}
	// As an update, too (interface specification, "Replicated query calls").
	wantValue(t, submit(t, m, id, "sneaky", args(t)), "6")
	wantValue(t, submit(t, m, id, "get", args(t)), "5")
	wantValue(t, ask(t, m, id, "get", args(t)), "5")
}

func TestTrapsRollBack(t *testing.T) {
	m := newMachine(t, Options{Limits: Limits{MessageTime: 300 * time.Millisecond, QueryTime: 300 * time.Millisecond}})
	id := installFile(t, m, "counter", args(t, 5))
	for _, c := range []struct {
		method    string
		code      int
		errorCode string
		text      string
	}{
		{"trapAfterWrite", 5, "IC0503", "Error from Canister " + id.String() + ": Canister called `ic0.trap` with message: 'on purpose'"},
		{"outOfBounds", 5, "IC0503", "Canister called `ic0.trap` with message: 'Array index out of bounds'"},
		{"forever", 5, "IC0522", "Canister exceeded the "},
		{"trapQuery", 5, "IC0503", "'query trap'"},
		{"nosuch", 5, "IC0536", "Error from Canister " + id.String() + ": Canister has no update method 'nosuch'.."},
	} {
		t.Run(c.method, func(t *testing.T) {
			wantReject(t, submit(t, m, id, c.method, args(t)), c.code, c.errorCode, c.text)
			wantValue(t, ask(t, m, id, "get", args(t)), "5")
			wantValue(t, submit(t, m, id, "get", args(t)), "5")
		})
	}
	t.Run("queries", func(t *testing.T) {
		wantReject(t, ask(t, m, id, "trapQuery", args(t)), 5, "IC0503", "'query trap'")
		wantReject(t, ask(t, m, id, "foreverQuery", args(t)), 5, "IC0522", "Canister exceeded the ")
		wantReject(t, ask(t, m, id, "inc", args(t)), 5, "IC0536", "Canister has no query method 'inc'")
		wantReject(t, ask(t, m, id, "nosuch", args(t)), 5, "IC0536", "Canister has no query method 'nosuch'")
		wantReject(t, ask(t, m, candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x63\x01\x01"), "get", args(t)), 3, "IC0301", "not found")
		wantReject(t, ask(t, m, id, "echo", []byte("not candid")), 5, "IC0503", "IDL error")
	})
	t.Run("a reject keeps the state", func(t *testing.T) {
		wantReject(t, submit(t, m, id, "rejects", args(t)), 4, "IC0406", "no thanks")
		wantValue(t, ask(t, m, id, "get", args(t)), "12")
	})
}

func TestInstructionLimit(t *testing.T) {
	m := newMachine(t, Options{Limits: Limits{MessageInstructions: 5_000_000, QueryInstructions: 5_000_000}})
	id := installFile(t, m, "counter", args(t, 5))
	for range 3 {
		wantReject(t, submit(t, m, id, "forever", args(t)), 5, "IC0522", "Canister exceeded the limit of 5000000 instructions for single message execution.")
		wantReject(t, ask(t, m, id, "foreverQuery", args(t)), 5, "IC0522", "Canister exceeded the limit of 5000000 instructions for single message execution.")
	}
	wantValue(t, submit(t, m, id, "inc", args(t)), "6")
}

// Each await is a commit point: what stood before it stays, what came behind it goes.
func TestAwaitsCommit(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 5))
	wantReject(t, submit(t, m, id, "selfCallThenTrap", args(t)), 5, "IC0503", "'after await'")
	wantValue(t, ask(t, m, id, "get", args(t)), "6")

	want := fmt.Sprintf("%q", "IC0503: Error from Canister "+id.String()+": Canister called `ic0.trap` with message: 'on purpose'")
	if got := value(t, submit(t, m, id, "caught", args(t))); !strings.HasPrefix(got, want[:len(want)-1]) {
		t.Errorf("caught %s\nexpected %s", got, want)
	}
	wantValue(t, ask(t, m, id, "get", args(t)), "6")
	wantValue(t, submit(t, m, id, "caughtCode", args(t)), `"#canister_reject no thanks"`)
	wantValue(t, ask(t, m, id, "get", args(t)), "13")
}

func TestCalls(t *testing.T) {
	m := newMachine(t, Options{})
	counter := installFile(t, m, "counter", args(t, 5))
	caller := installFile(t, m, "caller", args(t))
	absent := candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x63\x01\x01")
	none := args(t)

	wantValue(t, submit(t, m, caller, "callInc", args(t, counter)), "6")
	wantValue(t, submit(t, m, caller, "callGet", args(t, counter)), "6")
	wantReject(t, submit(t, m, caller, "callInc", args(t, absent)), 4, "IC0406", "IC0301: Canister "+absent.String()+" not found")

	for _, c := range []struct{ name, method, want string }{
		{"reply", "inc", `"replied"`},
		{"query", "get", `"replied"`},
		{"reject", "rejects", `"#canister_reject: no thanks"`},
		{"trap", "trapAfterWrite", "\"#canister_reject: IC0503: Error from Canister " + counter.String() + ": Canister called `ic0.trap` with message: 'on purpose'"},
		{"no method", "nosuch", `"#canister_reject: IC0536: Error from Canister ` + counter.String() + `: Canister has no update method 'nosuch'..`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := value(t, submit(t, m, caller, "rawText", args(t, counter, c.method, none)))
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s\nexpected %s", got, c.want)
			}
		})
	}
	t.Run("codes", func(t *testing.T) {
		for method, want := range map[string]string{"inc": `"replied"`, "trap": `"#canister_error: IC0503: `, "reject": `"#canister_reject: no thanks"`} {
			if got := value(t, submit(t, m, caller, "code", args(t, counter, method))); !strings.HasPrefix(got, want) {
				t.Errorf("%s\nexpected %s", got, want)
			}
		}
		if got := value(t, submit(t, m, caller, "code", args(t, absent, "inc"))); !strings.HasPrefix(got, `"#destination_invalid: IC0301: `) {
			t.Error(got)
		}
	})
	t.Run("raw", func(t *testing.T) {
		wantValue(t, submit(t, m, caller, "raw", args(t, counter, "add", args(t, 100-22))), `blob "4449444c00017d64"`)
	})
	t.Run("composite as update", func(t *testing.T) {
		wantValue(t, submit(t, m, caller, "rawText", args(t, caller, "compositeGet", args(t, counter))),
			`"#canister_reject: IC0527: Composite query cannot be called in replicated mode"`)
	})
	t.Run("one way", func(t *testing.T) {
		wantValue(t, submit(t, m, caller, "oneway", args(t, caller)), "")
		for value(t, submit(t, m, caller, "pings", none)) != "1" {
		}
	})
	t.Run("in order", func(t *testing.T) {
		before := value(t, submit(t, m, counter, "get", none))
		var first int
		if _, err := fmt.Sscan(before, &first); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprint(first+1+i))
		}
		wantValue(t, submit(t, m, caller, "inOrder", args(t, counter, 50)), "vec { "+strings.Join(want, "; ")+" }")
	})
}

func TestCallbackTraps(t *testing.T) {
	m := newMachine(t, Options{})
	counter := installFile(t, m, "counter", args(t, 5))
	caller := installFile(t, m, "caller", args(t))
	wantReject(t, submit(t, m, caller, "writeAwaitTrap", args(t, counter)), 5, "IC0503", "'in the callback'")
	wantValue(t, ask(t, m, caller, "getLog", args(t)), `vec { "before" }`)
	wantReject(t, submit(t, m, caller, "writeAwaitFinally", args(t, counter)), 5, "IC0503", "'in the callback'")
	wantValue(t, ask(t, m, caller, "getLog", args(t)), `vec { "before"; "cleanup" }`)
	wantValue(t, ask(t, m, counter, "get", args(t)), "7")
}

func TestQueueBounds(t *testing.T) {
	m := newMachine(t, Options{})
	counter := installFile(t, m, "counter", args(t, 0))
	caller := installFile(t, m, "caller", args(t))
	wantValue(t, submit(t, m, caller, "flood", args(t, counter, 500)), `"all"`)
	wantValue(t, ask(t, m, counter, "get", args(t)), "500")
	got := value(t, submit(t, m, caller, "flood", args(t, counter, 501)))
	if !strings.Contains(got, "call_error") && !strings.Contains(got, "system_transient") {
		t.Errorf("%s", got)
	}
}

func TestCompositeQueries(t *testing.T) {
	m := newMachine(t, Options{})
	a := installFile(t, m, "counter", args(t, 5))
	b := installFile(t, m, "counter", args(t, 7))
	caller := installFile(t, m, "caller", args(t))
	wantValue(t, ask(t, m, caller, "compositeGet", args(t, a)), "6")
	wantValue(t, ask(t, m, caller, "compositeTwo", args(t, a, b)), "5007")
	wantValue(t, ask(t, m, caller, "compositeDeep", args(t, a, 3)), "8")
	wantReject(t, ask(t, m, caller, "compositeDeep", args(t, a, 30)), 4, "IC0406", "depth")
	wantReject(t, ask(t, m, caller, "compositeGet", args(t, candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x63\x01\x01"))), 4, "IC0406", "not found")
}

func TestInspectMessage(t *testing.T) {
	m := newMachine(t, Options{})
	caller := installFile(t, m, "caller", args(t))
	wantReject(t, submit(t, m, caller, "pings", make([]byte, 1000)), 5, "IC0503", "canister_inspect_message explicitly refused message")
	wantValue(t, submit(t, m, caller, "pings", args(t)), "0")
	wantReject(t, submit(t, m, caller, "nosuch", args(t)), 5, "IC0503", "implicitly refused")
}

func TestBestEffortCall(t *testing.T) {
	clock := newClock()
	m := newMachine(t, Options{Now: clock.now})
	caller := installFile(t, m, "caller", args(t))
	callee := installFile(t, m, "caller", args(t))
	ch := make(chan Result, 1)
	if err := m.Submit(Ingress{Sender: user, Canister: caller, Method: "bounded", Arg: args(t, callee)}, func(r Result) { ch <- r }); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, callee, "pings", args(t)), "0") // the call is under way
	clock.advance(2 * time.Second)
	m.Tick()
	wantValue(t, <-ch, `"#system_unknown: IC0601: Call has timed out."`)
	// The response that comes too late is dropped.
	wantValue(t, submit(t, m, callee, "release", args(t)), "")
	wantValue(t, submit(t, m, caller, "pings", args(t)), "0")
}

type fakeClock struct{ nanos atomic.Int64 }

func newClock() *fakeClock {
	c := &fakeClock{}
	c.nanos.Store(1_700_000_000_000_000_000)
	return c
}

func (c *fakeClock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *fakeClock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

func TestTimers(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 5))
	wantValue(t, submit(t, m, id, "startTimer", args(t, 5)), "")
	waitFor(t, func() bool { return value(t, ask(t, m, id, "getTicks", args(t))) == "1" })
	wantValue(t, submit(t, m, id, "startRecurring", args(t, 2)), "")
	waitFor(t, func() bool { return value(t, ask(t, m, id, "getTicks", args(t))) > "5" })
}

// waitFor polls a condition that nothing announces.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCertifiedData(t *testing.T) {
	var m *Machine
	m = newMachine(t, Options{DataCertificate: func(id candid.Principal) (certificate, certified []byte) {
		info, _ := m.Info(id)
		return append([]byte("cert:"), info.CertifiedData...), info.CertifiedData
	}})
	id := installFile(t, m, "counter", args(t, 5))
	wantValue(t, ask(t, m, id, "certificate", args(t)), `opt blob "636572743a"`)
	v, changed := m.Version(), m.Changed()
	wantValue(t, submit(t, m, id, "certify", args(t, []byte("data"))), "")
	if m.Version() == v {
		t.Error("the version did not change")
	}
	<-changed
	if info, ok := m.Info(id); !ok || string(info.CertifiedData) != "data" {
		t.Errorf("info %+v", info)
	}
	wantValue(t, ask(t, m, id, "certificate", args(t)), `opt blob "636572743a64617461"`)
	wantValue(t, submit(t, m, id, "certificateInUpdate", args(t)), "null")
	wantValue(t, submit(t, m, id, "certificate", args(t)), "null")
	wantReject(t, submit(t, m, id, "certify", args(t, bytes.Repeat([]byte("x"), 33))), 5, "IC0504", "must be no larger than 32 bytes. Found 33 bytes")
	wantValue(t, ask(t, m, id, "certificate", args(t)), `opt blob "636572743a64617461"`)
}

// A query must never see a certificate of another state than the one it runs on.
func TestCertificateMatchesState(t *testing.T) {
	var m *Machine
	var calls atomic.Int64
	var id candid.Principal
	m = newMachine(t, Options{DataCertificate: func(c candid.Principal) (certificate, certified []byte) {
		if n := calls.Add(1); n < 6 { // the state changes while the query runs
			done := make(chan struct{})
			arg := args(t, []byte{byte(n)})
			if err := m.Submit(Ingress{Sender: user, Canister: id, Method: "certify", Arg: arg}, func(Result) { close(done) }); err != nil {
				t.Error(err)
			}
			if n <= maxQueryRetries {
				<-done
			}
		}
		info, _ := m.Info(c)
		return append([]byte("cert:"), info.CertifiedData...), info.CertifiedData
	}})
	id = installFile(t, m, "counter", args(t, 5))
	wantValue(t, ask(t, m, id, "certificate", args(t)), `opt blob "636572743a03"`)
	if n := calls.Load(); n != maxQueryRetries+1 {
		t.Errorf("%d certificates were fetched", n)
	}
}

// The same for a composite query that comes back to its own canister while
// commits wait for it.
func TestCertificateInCompositeQuery(t *testing.T) {
	var m *Machine
	var calls atomic.Int64
	var id candid.Principal
	m = newMachine(t, Options{DataCertificate: func(c candid.Principal) (certificate, certified []byte) {
		n := calls.Add(1)
		done := make(chan struct{})
		if err := m.Submit(Ingress{Sender: user, Canister: id, Method: "certify", Arg: args(t, []byte{byte(n)})}, func(Result) { close(done) }); err != nil {
			t.Error(err)
		}
		if n <= maxQueryRetries {
			<-done
		}
		info, _ := m.Info(c)
		return info.CertifiedData, info.CertifiedData
	}})
	id = installFile(t, m, "caller", args(t))
	counter := installFile(t, m, "counter", args(t, 5))
	wantValue(t, ask(t, m, id, "certifiedDeep", args(t, counter)), `opt blob "03", 6`)
	waitFor(t, func() bool { info, _ := m.Info(id); return string(info.CertifiedData) == "\x04" })
}

func TestUpgrade(t *testing.T) {
	m := newMachine(t, Options{})
	wasm := moduleFile(t, "counter")
	id := install(t, m, wasm, args(t, 5))
	ctx := context.Background()
	wantValue(t, submit(t, m, id, "add", args(t, 10)), "15")
	wantValue(t, submit(t, m, id, "certify", args(t, []byte("data"))), "")
	for n := range 3 {
		if err := m.Install(ctx, id, ModeUpgrade, wasm, args(t, 1), user); err != nil {
			t.Fatal(err)
		}
		wantValue(t, ask(t, m, id, "get", args(t)), "15")
		wantValue(t, ask(t, m, id, "getUpgrades", args(t)), fmt.Sprint(n+1))
	}
	if info, _ := m.Info(id); string(info.CertifiedData) != "data" {
		t.Errorf("certified data %q after an upgrade", info.CertifiedData)
	}
	if err := m.Install(ctx, id, ModeInstall, wasm, args(t, 1), user); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("install over a canister: %v", err)
	}
	if err := m.Install(ctx, id, ModeUpgrade, wasm, []byte("junk"), user); err == nil || !strings.Contains(err.Error(), "IC0503") {
		t.Errorf("upgrade with a bad argument: %v", err)
	}
	wantValue(t, submit(t, m, id, "inc", args(t)), "16")
	if err := m.Install(ctx, id, ModeReinstall, wasm, args(t, 1), user); err != nil {
		t.Fatal(err)
	}
	wantValue(t, ask(t, m, id, "get", args(t)), "1")
	if info, _ := m.Info(id); len(info.CertifiedData) != 0 {
		t.Errorf("certified data %q after a reinstallation", info.CertifiedData)
	}
}

func TestMemoryGrowthIsKept(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 5))
	for range 3 {
		wantValue(t, submit(t, m, id, "grow", args(t, 1000)), "1024000")
	}
	wantValue(t, submit(t, m, id, "inc", args(t)), "6")
	wantValue(t, ask(t, m, id, "get", args(t)), "6")
}

func TestCyclesBetweenCanisters(t *testing.T) {
	m := newMachine(t, Options{})
	a := installFile(t, m, "caller", args(t))
	b := installFile(t, m, "caller", args(t))
	wantValue(t, submit(t, m, a, "pass", args(t, b, 300, 1000)), "300, 700")
	wantValue(t, submit(t, m, a, "pass", args(t, b, 0, 1000)), "0, 1000")
	wantValue(t, submit(t, m, a, "pass", args(t, b, 5000, 1000)), "1000, 0")
	wantReject(t, submit(t, m, a, "pass", args(t, b, 1, 1_000_000_000_000_000_000)), 5, "IC0504", "out of cycles")
	// Nothing is lost but the prices: with the prices, the sum of both balances only falls.
	sum := func() (n int64) {
		for _, id := range []candid.Principal{a, b} {
			var x int64
			if _, err := fmt.Sscan(value(t, ask(t, m, id, "balance", args(t))), &x); err != nil {
				t.Fatal(err)
			}
			n += x
		}
		return n
	}
	before := sum()
	wantValue(t, submit(t, m, a, "pass", args(t, b, 1_000_000_000_000, 1_000_000_000_000)), "1000000000000, 0")
	wantValue(t, submit(t, m, a, "acceptThenTrap", args(t, b, 1_000_000_000_000)), "0") // Motoko does not report refunds of rejects
	if after := sum(); after >= before || before-after > 1_000_000_000 {
		t.Errorf("balances %d before, %d after", before, after)
	}
}
