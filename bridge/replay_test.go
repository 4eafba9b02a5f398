package bridge

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// A ws_open that was used before creates nothing, whoever sends it and when,
// and the connection that it has opened goes on.
func TestReplayedOpen(t *testing.T) {
	opens := 0
	b := newBench(t, func(_ *Options, c *testCanister) { c.onOpen = func(candid.ClientKey) { opens++ } })
	victim := b.dial()
	frame := victim.sign(victim.openEnvelope())
	victim.write(frame)
	victim.message()

	replay := func(n uint64) {
		t.Helper()
		thief := b.dial()
		thief.write(frame)
		thief.closed(CloseNotAllowed, "was used before")
		b.counted(causeReplay, n)
		if n := get(b.canister, func() int { return opens }); n != 1 {
			t.Errorf("the canister was asked to open %d times", n)
		}
	}
	for n := range uint64(3) {
		replay(n + 1)
	}
	if n := get(b.canister, func() int { return b.canister.closed[victim.key] }); n != 0 {
		t.Errorf("the canister was told %d times that the victim has gone", n)
	}
	b.canister.send(victim.key, []byte("still here"))
	if m := victim.message(); string(m.Content) != "still here" {
		t.Errorf("the victim got %q", m.Content)
	}

	_ = victim.conn.Close()
	b.eventually("the canister is told", func() bool { return get(b.canister, func() bool { return b.canister.closed[victim.key] == 1 }) })
	replay(4)
	if n := get(b.canister, func() int { return b.canister.closed[victim.key] }); n != 1 {
		t.Errorf("the canister was told %d times that the victim has gone", n)
	}
}

// Of two sockets that send the same ws_open at the same time, one opens.
func TestReplayDuringOpen(t *testing.T) {
	b := newBench(t, func(_ *Options, c *testCanister) { c.slowOpen = 100 * time.Millisecond })
	first, second := b.dial(), b.dial()
	second.identity, second.key = first.identity, first.key
	frame := first.sign(first.openEnvelope())
	first.write(frame)
	b.eventually("it is on its way", func() bool { return b.gateway.count.sessions[stateOpening].Load() == 1 })
	second.write(frame)
	second.cut(CloseNotAllowed, "was used before", causeReplay)
	if m := first.message(); !m.IsServiceMessage {
		t.Errorf("message = %+v", m)
	}
}

// Somebody who has seen a ws_open, but cannot sign it, cannot use it up.
func TestForgedOpenUsesNothingUp(t *testing.T) {
	b := newBench(t, nil)
	victim := b.dial()
	env := victim.openEnvelope()
	frame := victim.sign(env)
	env.SenderSig[5] ^= 1
	thief := b.dial()
	thief.write(candid.EncodeClientFrame(env.Encode()))
	thief.cut(CloseNotAllowed, "signature", causeSignature)
	victim.write(frame)
	if m := victim.message(); !m.IsServiceMessage {
		t.Errorf("message = %+v", m)
	}
}

// A second ws_open on an open connection, also the same one, is not allowed.
func TestReplayOnTheSameSocket(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial()
	frame := p.sign(p.openEnvelope())
	p.write(frame)
	p.message()
	p.write(frame)
	p.cut(CloseNotAllowed, "ws_message", causeMethod)
}

func openID(n uint32) (id [32]byte) {
	binary.BigEndian.PutUint32(id[:], n)
	return id
}

func TestOpensForget(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	o := newOpens(maxOpens)
	for n := range uint32(1000) {
		expiry := now.Add(time.Duration(n%360) * time.Second)
		if !o.first(openID(n), expiry, now) || o.first(openID(n), expiry, now) {
			t.Fatalf("open %d", n)
		}
	}
	later := now.Add(5 * time.Minute)
	if !o.first(openID(5000), later, later) {
		t.Error("a new open is no longer new")
	}
	for n := range uint32(1000) { // what has not expired is remembered
		if expiry := now.Add(time.Duration(n%360) * time.Second); expiry.After(later) && o.first(openID(n), expiry, later) {
			t.Fatalf("open %d is forgotten before its time", n)
		}
	}
	if o.count >= 1000 {
		t.Errorf("%d opens remembered", o.count)
	}
	end := now.Add(time.Hour)
	o.first(openID(6000), end, end)
	if o.count != 1 || len(o.generations) != 1 {
		t.Errorf("%d opens in %d generations remembered", o.count, len(o.generations))
	}
}

func TestOpensAreBounded(t *testing.T) {
	const limit = 100
	now := time.Unix(1_700_000_000, 0)
	o := newOpens(limit)
	for n := range uint32(10 * limit) {
		expiry := now.Add(time.Duration(n%6) * time.Minute)
		if !o.first(openID(n), expiry, now) {
			t.Fatalf("open %d is not new", n)
		}
		sum := 0
		for _, g := range o.generations {
			sum += len(g)
		}
		if o.count > limit || sum != o.count {
			t.Fatalf("%d opens counted, %d remembered", o.count, sum)
		}
		if o.first(openID(n), expiry, now) {
			t.Fatalf("open %d is forgotten at once", n)
		}
	}
}

func BenchmarkOpens(b *testing.B) {
	o := newOpens(maxOpens)
	b.ReportAllocs()
	for n := uint32(0); b.Loop(); n++ {
		now := time.Now()
		o.first(openID(n), now.Add(4*time.Minute), now)
	}
}
