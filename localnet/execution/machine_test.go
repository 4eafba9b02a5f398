package execution

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

func TestQueriesBesideUpdates(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 0))
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			last := 0
			for range 50 {
				var n int
				r := m.Query(context.Background(), user, id, "get", candid.EncodeEmpty())
				if r.Reject != nil {
					t.Error(r.Reject)
					return
				}
				if x, err := candid.DecodeNat(r.Reply); err != nil {
					t.Error(err)
				} else {
					n = int(x)
				}
				if n < last {
					t.Errorf("the counter fell from %d to %d", last, n)
				}
				last = n
			}
		}()
	}
	for n := range 100 {
		wantValue(t, submit(t, m, id, "inc", args(t)), fmt.Sprint(n+1))
	}
	wg.Wait()
}

// What comes in over a queue's bound is refused at once and harms nobody.
func TestIngressQueueBound(t *testing.T) {
	m := newMachine(t, Options{Limits: Limits{IngressQueue: 10}})
	id := installFile(t, m, "counter", args(t, 0))
	release := make(chan struct{})
	entered := make(chan struct{})
	go func() {
		_ = m.do(context.Background(), func() { m.mu.Unlock(); close(entered); <-release; m.mu.Lock() })
	}()
	<-entered // the machine is busy
	var wg sync.WaitGroup
	refused := 0
	for range 15 {
		wg.Add(1)
		err := m.Submit(Ingress{Sender: user, Canister: id, Method: "inc", Arg: args(t)}, func(Result) { wg.Done() })
		if err != nil {
			wg.Done()
			var rej *Reject
			if !errors.Is(err, ErrBusy) || !errors.As(err, &rej) || rej.ErrorCode != "IC0201" {
				t.Errorf("%v", err)
			}
			refused++
		}
	}
	close(release)
	wg.Wait()
	if refused != 5 {
		t.Errorf("%d refused, expected 5", refused)
	}
	wantValue(t, ask(t, m, id, "get", args(t)), "10")
}

func TestClose(t *testing.T) {
	m := New(Options{})
	id, err := m.CreateCanister(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Install(context.Background(), id, ModeInstall, moduleFile(t, "counter"), args(t, 1), user); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 1)
	if err := m.Submit(Ingress{Sender: user, Canister: id, Method: "forever", Arg: args(t)}, func(Result) { done <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	asked := make(chan Result, 1)
	go func() { asked <- m.Query(context.Background(), user, id, "foreverQuery", args(t)) }()
	start := time.Now()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("closing took %v", took)
	}
	if r := <-asked; r.Reject == nil {
		t.Error("an endless query replied")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.CreateCanister(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("create: %v", err)
	}
	if err := m.Submit(Ingress{Canister: id, Method: "inc"}, func(Result) {}); err == nil {
		t.Error("a closed machine takes messages")
	}
	if r := m.Query(context.Background(), user, id, "get", nil); r.Reject == nil {
		t.Error("a closed machine answers queries")
	}
}

// A canister stops only when it has answered everybody.
func TestStopWaitsForCalls(t *testing.T) {
	m := newMachine(t, Options{})
	a := installFile(t, m, "caller", args(t))
	b := installFile(t, m, "caller", args(t))
	answered := make(chan Result, 1)
	// a waits for b, which answers only once released.
	if err := m.Submit(Ingress{Sender: user, Canister: a, Method: "bounded", Arg: args(t, b)}, func(r Result) { answered <- r }); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, b, "pings", args(t)), "0")
	stopped := make(chan error, 1)
	go func() { stopped <- m.Stop(context.Background(), a) }()
	waitFor(t, func() bool { info, _ := m.Info(a); return info.Status == StatusStopping })
	wantReject(t, submit(t, m, a, "pings", args(t)), 5, "IC0509", "is stopping")
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a call under way: %v", err)
	default:
	}
	wantValue(t, submit(t, m, b, "release", args(t)), "")
	wantValue(t, <-answered, `"replied"`)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if info, _ := m.Info(a); info.Status != StatusStopped {
		t.Errorf("status %v", info.Status)
	}
	if err := m.Start(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, a, "pings", args(t)), "0")
}

// Callers of an uninstalled canister get a reject, and its own callbacks do not run.
func TestUninstallWithCallsUnderWay(t *testing.T) {
	m := newMachine(t, Options{})
	a := installFile(t, m, "caller", args(t))
	b := installFile(t, m, "caller", args(t))
	answered := make(chan Result, 1)
	if err := m.Submit(Ingress{Sender: user, Canister: a, Method: "bounded", Arg: args(t, b)}, func(r Result) { answered <- r }); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, b, "pings", args(t)), "0")
	if err := m.Uninstall(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	wantReject(t, <-answered, 4, "IC0406", "Canister has been uninstalled.")
	if err := m.Install(context.Background(), a, ModeInstall, moduleFile(t, "caller"), args(t), user); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, b, "release", args(t)), "")
	wantValue(t, submit(t, m, a, "pings", args(t)), "0")
	if err := m.Stop(context.Background(), a); err != nil { // it waits for nothing any more
		t.Fatal(err)
	}
}

// An upgrade between a call and its response: the callback runs in the new code.
func TestUpgradeWithCallsUnderWay(t *testing.T) {
	m := newMachine(t, Options{})
	a := installFile(t, m, "caller", args(t))
	b := installFile(t, m, "caller", args(t))
	answered := make(chan Result, 1)
	if err := m.Submit(Ingress{Sender: user, Canister: a, Method: "bounded", Arg: args(t, b)}, func(r Result) { answered <- r }); err != nil {
		t.Fatal(err)
	}
	wantValue(t, submit(t, m, b, "pings", args(t)), "0")
	// Motoko refuses to be upgraded while it waits, and the canister is as before.
	err := m.Install(context.Background(), a, ModeUpgrade, moduleFile(t, "caller"), args(t), user)
	if err == nil || !strings.Contains(err.Error(), "canister_pre_upgrade attempted with outstanding message callbacks") {
		t.Errorf("upgrade: %v", err)
	}
	wantValue(t, submit(t, m, b, "release", args(t)), "")
	wantValue(t, <-answered, `"replied"`)
}

func TestIdleInstancesAreFreed(t *testing.T) {
	clock := newClock()
	m := newMachine(t, Options{Now: clock.now, Limits: Limits{IdleAfter: time.Minute}})
	id := installFile(t, m, "counter", args(t, 5))
	wantValue(t, submit(t, m, id, "inc", args(t)), "6")
	wantValue(t, ask(t, m, id, "get", args(t)), "6")
	instances := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.canisters[id].code.hasInstances()
	}
	if !instances() {
		t.Fatal("no instance after work")
	}
	clock.advance(2 * time.Minute)
	m.Tick()
	waitFor(t, func() bool { return !instances() })
	wantValue(t, ask(t, m, id, "get", args(t)), "6")
	wantValue(t, submit(t, m, id, "inc", args(t)), "7")
}

// A message that has waited past its expiry is not executed.
func TestExpiry(t *testing.T) {
	clock := newClock()
	m := newMachine(t, Options{Now: clock.now})
	id := installFile(t, m, "counter", args(t, 5))
	for _, in := range []Ingress{
		{Sender: user, Canister: id, Method: "inc", Arg: args(t)},
		{Sender: user, Canister: candid.ManagementCanister, Method: "stop_canister", Arg: encode(t, idArg, candid.Fields{"canister_id": id})},
	} {
		for wait, code := range map[time.Duration]string{-time.Second: "IC0202", time.Second: ""} {
			in.Expiry = clock.now().Add(wait)
			ch := make(chan Result, 1)
			if err := m.Submit(in, func(r Result) { ch <- r }); err != nil {
				t.Fatal(err)
			}
			if r := <-ch; code != "" {
				wantReject(t, r, 2, code, "timed out waiting to start executing")
			} else if r.Reject != nil {
				t.Error(r.Reject)
			}
		}
	}
}

// Time does not go back, and is the same within one message.
func TestTime(t *testing.T) {
	clock := newClock()
	m := newMachine(t, Options{Now: clock.now})
	id := installFile(t, m, "counter", args(t, 5))
	before := value(t, submit(t, m, id, "now", args(t)))
	clock.advance(-time.Hour)
	if after := value(t, submit(t, m, id, "now", args(t))); after != before {
		t.Errorf("time went from %s to %s", before, after)
	}
}

func TestVersionAndList(t *testing.T) {
	m := newMachine(t, Options{})
	v, changed := m.Version(), m.Changed()
	a, err := m.CreateCanister([]candid.Principal{user})
	if err != nil {
		t.Fatal(err)
	}
	<-changed
	if m.Version() == v {
		t.Error("the version did not change")
	}
	b, err := m.CreateCanister(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Canisters(); len(got) != 2 || got[0] != a || got[1] != b {
		t.Errorf("canisters %v", got)
	}
	if a.String() != "rwlgt-iiaaa-aaaaa-aaaaa-cai" || b.String() != "rrkah-fqaaa-aaaaa-aaaaq-cai" {
		t.Errorf("ids %v %v", a, b)
	}
	if info, ok := m.Info(a); !ok || info.ModuleHash != nil || len(info.Controllers) != 1 || info.Status != StatusRunning {
		t.Errorf("info %+v", info)
	}
}
