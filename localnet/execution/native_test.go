package execution

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

const nativeID = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")

// newNative is a canister with the methods that "caller" calls, and a count.
func newNative() *Native {
	count := 0
	number := func(n int) []byte { return mustEncode(candid.NatType, n) }
	return &Native{
		Interface: "service : {}",
		Methods: map[string]NativeMethod{
			"inc": {Run: func(*NativeCall) ([]byte, *Reject) { count++; return number(count), nil }},
			"get": {Query: true, Run: func(*NativeCall) ([]byte, *Reject) { return number(count), nil }},
			"who": {Query: true, Run: func(call *NativeCall) ([]byte, *Reject) { return mustEncode(candid.PrincipalType, call.Caller), nil }},
			"accept": {Run: func(call *NativeCall) ([]byte, *Reject) {
				if n, _ := call.Arg(0).Uint64(); n == 0 {
					return number(0), nil
				}
				return mustEncode(candid.NatType, call.Accept()), nil
			}},
			"takeAndTrap": {Run: func(call *NativeCall) ([]byte, *Reject) { call.Accept(); return nil, call.Trap("with %s", "cycles") }},
			"make": {Run: func(call *NativeCall) ([]byte, *Reject) {
				id, rej := call.CreateCanister(call.Arg(0), big.NewInt(priceCreate+1000))
				if rej != nil {
					return nil, rej
				}
				if !call.Exists(id) || !call.AddCycles(id, big.NewInt(1)) || call.AddCycles("nobody", big.NewInt(1)) || call.AddCycles(id, big.NewInt(-1)) {
					return nil, call.Trap("AddCycles")
				}
				return mustEncode(candid.PrincipalType, id), nil
			}},
		},
	}
}

func TestNative(t *testing.T) {
	m := newMachine(t, Options{Natives: map[candid.Principal]*Native{nativeID: newNative()}})
	caller := installFile(t, m, "caller", args(t))

	t.Run("from outside", func(t *testing.T) {
		wantValue(t, submit(t, m, nativeID, "inc", args(t)), "1")
		wantValue(t, submit(t, m, nativeID, "get", args(t)), "1")
		wantValue(t, ask(t, m, nativeID, "get", args(t)), "1")
		wantValue(t, ask(t, m, nativeID, "who", args(t)), `principal "`+user.String()+`"`)
		wantReject(t, ask(t, m, nativeID, "inc", args(t)), 5, "IC0536", "no query method 'inc'")
		wantReject(t, submit(t, m, nativeID, "fly", args(t)), 5, "IC0536", "no update method 'fly'")
		wantReject(t, submit(t, m, nativeID, "inc", []byte("DIDL")), 5, "IC0503", "failed to decode call arguments")
		wantReject(t, submit(t, m, nativeID, "takeAndTrap", args(t)), 5, "IC0503", "with cycles")
	})
	t.Run("from a canister", func(t *testing.T) {
		wantValue(t, submit(t, m, caller, "callInc", args(t, nativeID)), "2")
		wantValue(t, ask(t, m, caller, "compositeGet", args(t, nativeID)), "3")
		if got := value(t, submit(t, m, caller, "rawText", args(t, nativeID, "fly", args(t)))); !strings.Contains(got, "IC0536") {
			t.Error(got)
		}
	})
	t.Run("cycles", func(t *testing.T) {
		wantValue(t, submit(t, m, caller, "pass", args(t, nativeID, 1, 1000)), "1000, 0")
		wantValue(t, submit(t, m, caller, "pass", args(t, nativeID, 0, 1000)), "0, 1000")
		balance := func() uint64 {
			n, _ := first(t, ask(t, m, caller, "balance", args(t))).Uint64()
			return n
		}
		before := balance()
		wantValue(t, submit(t, m, caller, "acceptThenTrap", args(t, nativeID, 1_000_000_000_000)), "0") // Motoko does not report refunds of rejects
		if spent := before - balance(); spent > 1_000_000_000 {
			t.Errorf("%d cycles gone with a reject", spent)
		}
	})
	t.Run("expiry", func(t *testing.T) {
		ch := make(chan Result, 1)
		in := Ingress{Sender: user, Canister: nativeID, Method: "inc", Arg: args(t), Expiry: time.Now().Add(-time.Second)}
		if err := m.Submit(in, func(r Result) { ch <- r }); err != nil {
			t.Fatal(err)
		}
		wantReject(t, <-ch, 2, "IC0202", "timed out waiting to start executing")
		wantValue(t, ask(t, m, nativeID, "get", args(t)), "2")
	})
	t.Run("creates canisters", func(t *testing.T) {
		settings := candid.RecordOf(field("settings", candid.OptOf(candid.RecordOf(field("freezing_threshold", candid.OptOf(candid.NatType))))))
		id, ok := first(t, submit(t, m, nativeID, "make", encode(t, settings, candid.Fields{"settings": candid.Fields{"freezing_threshold": 77}}))).Principal()
		if !ok {
			t.Fatal("no id")
		}
		status := first(t, manage(t, m, user, "canister_status", idArg, candid.Fields{"canister_id": id}))
		threshold, _ := status.Field("settings").Field("freezing_threshold").Uint64()
		balance, _ := status.Field("cycles").Uint64()
		if threshold != 77 || balance != 1001 {
			t.Errorf("freezing threshold %d, %d cycles", threshold, balance)
		}
	})
	t.Run("in the state tree and in lists", func(t *testing.T) {
		info, ok := m.Info(nativeID)
		if !ok || info.Status != StatusRunning || len(info.Controllers) != 0 || len(info.ModuleHash) != 32 ||
			!bytes.Equal(info.Metadata["candid:service"].Content, []byte("service : {}")) || !info.Metadata["candid:service"].Public {
			t.Errorf("info %+v, %v", info, ok)
		}
		if ids := m.Canisters(); len(ids) != 3 || ids[1] != nativeID {
			t.Errorf("canisters %q", ids)
		}
	})
	t.Run("nobody controls it, nobody gets its id", func(t *testing.T) {
		wantReject(t, manage(t, m, user, "stop_canister", idArg, candid.Fields{"canister_id": nativeID}), 5, "IC0512", "")
		wantReject(t, manage(t, m, user, "canister_status", idArg, candid.Fields{"canister_id": nativeID}), 5, "IC0512", "")
		wantReject(t, manage(t, m, user, "provisional_create_canister_with_cycles", provisionalArgs, candid.Fields{"specified_id": nativeID}),
			2, "IC0205", "already installed")
	})
}

// tally is an independent native: it counts what it gets, certifies the number,
// and counts to a hundred more a second after a call.
type tally struct {
	count   atomic.Uint64
	between atomic.Int32 // calls under way
}

func (c *tally) native() *Native {
	root := func() (r [32]byte) {
		binary.BigEndian.PutUint64(r[:], c.count.Load())
		return r
	}
	return &Native{
		Interface:   "service : { add : (nat) -> () }",
		Independent: true,
		Init:        func(call *NativeCall) { call.SetCertifiedData(root()) },
		Timer: func(call *NativeCall) {
			c.count.Add(100)
			call.SetCertifiedData(root())
		},
		Methods: map[string]NativeMethod{
			"add": {Run: func(call *NativeCall) ([]byte, *Reject) {
				if c.between.Add(1) != 1 {
					return nil, call.Trap("calls run beside each other")
				}
				defer c.between.Add(-1)
				n, err := candid.DecodeNat(call.Raw)
				if err != nil || call.Args != nil {
					call.SetCertifiedData([32]byte{0xff})
					return nil, call.Trap("%v", err)
				}
				c.count.Add(n)
				call.SetCertifiedData(root())
				call.SetTimer(call.Time() + 1e9)
				return candid.EncodeEmpty(), nil
			}},
			"certificate": {Query: true, Run: func(call *NativeCall) ([]byte, *Reject) {
				certificate, certified := call.Certificate()
				if !bytes.Equal(certificate, certified) {
					return nil, call.Trap("certificate of other data")
				}
				if certificate == nil {
					return candid.EncodeText("none"), nil
				}
				return candid.EncodeNat(binary.BigEndian.Uint64(certified)), nil
			}},
			// It can only end if queries run beside each other and beside calls.
			"meet": {Query: true, Run: func(call *NativeCall) ([]byte, *Reject) {
				c.count.Add(1)
				for end := time.Now().Add(5 * time.Second); c.count.Load() < 1000; {
					if time.Now().After(end) {
						return nil, call.Trap("alone")
					}
					runtime.Gosched()
				}
				return candid.EncodeEmpty(), nil
			}},
		},
	}
}

func TestInstallNative(t *testing.T) {
	clock := newClock()
	var m *Machine
	m = newMachine(t, Options{Now: clock.now, Limits: Limits{Queries: 8}, DataCertificate: func(id candid.Principal) (certificate, certified []byte) {
		info, _ := m.Info(id)
		return info.CertifiedData, info.CertifiedData
	}})
	ctx := context.Background()
	caller := installFile(t, m, "caller", args(t))
	id, err := m.CreateCanister([]candid.Principal{user})
	if err != nil {
		t.Fatal(err)
	}
	state := &tally{}
	version := m.Version()
	if err := m.InstallNative(ctx, id, state.native()); err != nil {
		t.Fatal(err)
	}
	certified := func() uint64 {
		info, _ := m.Info(id)
		return binary.BigEndian.Uint64(info.CertifiedData)
	}
	t.Run("the state tree", func(t *testing.T) {
		info, ok := m.Info(id)
		if !ok || len(info.CertifiedData) != 32 || len(info.Controllers) != 1 || info.Status != StatusRunning || len(info.ModuleHash) != 32 || m.Version() == version {
			t.Errorf("info %+v, %v", info, ok)
		}
		if ids := m.Canisters(); len(ids) != 2 || !slices.Contains(ids, id) {
			t.Errorf("canisters %q", ids)
		}
		if next, err := m.CreateCanister(nil); err != nil || next == id {
			t.Errorf("another canister: %s, %v", next, err)
		}
	})
	t.Run("calls", func(t *testing.T) {
		version := m.Version()
		wantValue(t, submit(t, m, id, "add", args(t, 5)), "")
		if certified() != 5 || m.Version() == version {
			t.Errorf("%d is certified", certified())
		}
		wantReject(t, submit(t, m, id, "add", []byte("what")), 5, "IC0503", "")
		if certified() != 5 {
			t.Errorf("after a trap %d is certified", certified())
		}
		wantValue(t, ask(t, m, id, "certificate", args(t)), "5")
		wantValue(t, submit(t, m, id, "certificate", args(t)), `"none"`)
		wantReject(t, ask(t, m, id, "add", args(t, 5)), 5, "IC0536", "no query method 'add'")
	})
	t.Run("of a canister", func(t *testing.T) {
		wantValue(t, submit(t, m, caller, "raw", args(t, id, "add", args(t, 2))), `blob "`+hex.EncodeToString(candid.EncodeEmpty())+`"`)
		wantValue(t, ask(t, m, id, "certificate", args(t)), "7")
	})
	t.Run("timer", func(t *testing.T) {
		clock.advance(999 * time.Millisecond)
		m.Tick()
		wantReject(t, submit(t, m, id, "none", nil), 5, "IC0536", "")
		if certified() != 7 {
			t.Errorf("too early: %d", certified())
		}
		clock.advance(time.Millisecond)
		m.Tick()
		waitFor(t, func() bool { return certified() == 107 })
		clock.advance(time.Hour) // once only
		m.Tick()
		wantReject(t, submit(t, m, id, "none", nil), 5, "IC0536", "")
		if certified() != 107 {
			t.Errorf("it went off again: %d", certified())
		}
	})
	t.Run("queries beside each other and beside calls", func(t *testing.T) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if r := m.Query(ctx, user, id, "meet", candid.EncodeEmpty()); r.Reject != nil {
					t.Error(r.Reject)
				}
			})
		}
		waitFor(t, func() bool { return state.count.Load() == 107+4 })
		wantValue(t, submit(t, m, id, "add", args(t, 1000)), "")
		group.Wait()
	})
	t.Run("refused", func(t *testing.T) {
		for name, c := range map[string]struct {
			id   candid.Principal
			want string
		}{
			"not empty":   {caller, "IC0514"},
			"a native":    {id, "IC0514"},
			"no canister": {canisterID(99), "IC0301"},
			"not running": {stoppedCanister(t, m), "IC0508"},
			"the manager": {candid.ManagementCanister, "IC0301"},
			"no id":       {"nobody", "IC0301"},
		} {
			var rej *Reject
			if err := m.InstallNative(ctx, c.id, state.native()); !errors.As(err, &rej) || rej.ErrorCode != c.want {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
		for _, method := range []string{"stop_canister", "uninstall_code", "delete_canister", "canister_status"} {
			wantReject(t, manage(t, m, user, method, idArg, candid.Fields{"canister_id": id}), 5, "IC0512", "")
		}
	})
}

func stoppedCanister(t *testing.T, m *Machine) candid.Principal {
	t.Helper()
	id, err := m.CreateCanister([]candid.Principal{user})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestLogFilter(t *testing.T) {
	clock := newClock()
	m := newMachine(t, Options{Now: clock.now})
	id := installFile(t, m, "counter", args(t, 1))
	start := uint64(clock.now().UnixNano()) //nolint:gosec // after 1970
	for range 3 {
		wantValue(t, submit(t, m, id, "print", args(t, "x")), "")
		clock.advance(time.Second)
	}
	bounds := candid.RecordOf(field("start", candid.Nat64Type), field("end", candid.Nat64Type))
	filter := candid.OptOf(candid.VariantOf(field("by_idx", bounds), field("by_timestamp_nanos", bounds), field("by_mood", candid.NullType)))
	arg := candid.RecordOf(field("canister_id", candid.PrincipalType), field("filter", filter))
	for name, c := range map[string]struct {
		filter any
		want   int
	}{
		"none":      {nil, 3},
		"by index":  {candid.Tag{Label: "by_idx", Value: candid.Fields{"start": 1, "end": 2}}, 1},
		"from":      {candid.Tag{Label: "by_idx", Value: candid.Fields{"start": 1, "end": ^uint64(0)}}, 2},
		"by time":   {candid.Tag{Label: "by_timestamp_nanos", Value: candid.Fields{"start": start, "end": start + 1_500_000_000}}, 2},
		"an end":    {candid.Tag{Label: "by_idx", Value: candid.Fields{"start": 3, "end": 1}}, 0},
		"not known": {"by_mood", -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := m.Query(context.Background(), user, candid.ManagementCanister, "fetch_canister_logs", encode(t, arg, candid.Fields{"canister_id": id, "filter": c.filter}))
			if c.want < 0 {
				wantReject(t, r, 4, "IC0408", "filter")
				return
			}
			if records, _ := first(t, r).Field("canister_log_records").Vec(); len(records) != c.want {
				t.Errorf("%d records, want %d", len(records), c.want)
			}
		})
	}
}

func TestLogMemoryLimit(t *testing.T) {
	m := newMachine(t, Options{})
	id := installFile(t, m, "counter", args(t, 1))
	limits := candid.RecordOf(field("canister_id", candid.PrincipalType), field("settings", candid.RecordOf(field("log_memory_limit", candid.OptOf(candid.NatType)))))
	set := func(n int) Result {
		return manage(t, m, user, "update_settings", limits, candid.Fields{"canister_id": id, "settings": candid.Fields{"log_memory_limit": n}})
	}
	wantValue(t, set(25), "")
	for range 5 {
		wantValue(t, submit(t, m, id, "print", args(t, "0123456789")), "")
	}
	status := first(t, manage(t, m, user, "canister_status", idArg, candid.Fields{"canister_id": id}))
	limit, _ := status.Field("settings").Field("log_memory_limit").Uint64()
	used, _ := status.Field("memory_metrics").Field("log_memory_store_size").Uint64()
	if limit != 25 || used != 20 {
		t.Errorf("limit %d, %d bytes used", limit, used)
	}
	wantReject(t, set(maxLogMemory+1), 4, "IC0408", "log_memory_limit is out of range")
}
