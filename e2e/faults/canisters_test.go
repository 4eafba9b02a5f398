package faults

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/execution"
)

const (
	// callTimeout of the gateway, here: how long a canister may be away.
	callTimeout = 6 * time.Second
	// beat is how often those speak whose canister is in trouble.
	beat = 400 * time.Millisecond
)

// A stage is a canister with two clients: one that talks all the time, and one
// that only listens.
type stage struct {
	*testing.T
	w      *world
	g      *gateway
	id     candid.Principal // of the canister with the CDK, or the relay canister
	relay  relayed          // where there is a relay canister
	active *talker
	idle   *client.Conn
}

// recovers wants that new clients are served, without anything done to the gateway.
func (s *stage) recovers() {
	s.Helper()
	k := s.g.talk(s.T, "a new client", s.id, beat)
	k.goesOn(3)
	k.finish()
}

// goesOn wants that both clients are still there and served.
func (s *stage) goesOn() {
	s.Helper()
	s.active.goesOn(3)
	s.active.finish()
	stays(s.T, "the idle client", s.idle)
	k := talk(s.T, "the idle client", s.idle, beat)
	k.goesOn(3)
	k.finish()
}

// bothEnd wants that both clients are told, and how.
func (s *stage) bothEnd(active []way, idle ...way) {
	s.Helper()
	ended(s.T, "the active client", s.active.conn, active...)
	s.active.check()
	ended(s.T, "the idle client", s.idle, idle...)
}

// newcomer connects now, and wants to be refused in a way: the result waits for that.
func (s *stage) newcomer(ways ...way) (refused func()) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.Cleanup(cancel)
	result := make(chan error, 1)
	go func() {
		conn, err := s.g.tryDial(ctx, s.id)
		if err == nil {
			_ = conn.Close()
		}
		result <- err
	}()
	return func() {
		s.Helper()
		wantClose(s.T, "a new client", <-result, ways...)
	}
}

// whileAway does something to the canister while that is stopped and its
// clients go on speaking. What was with the network when the canister was
// stopped, and not yet with the canister, would be rejected for good: so they
// are silent for that moment.
func (s *stage) whileAway(do func()) {
	s.Helper()
	s.active.quiet()
	s.w.stop(s.id)
	s.active.resume(beat)
	start := time.Now()
	eventually(s.T, "the gateway notices", func() bool {
		asked := s.g.recorder.since(start, func(q question) bool { return q.canister == s.id })
		return len(asked) >= 4
	})
	do()
	s.w.start(s.id)
}

// setBroken makes a method of the canister's own trap, "" none.
func (s *stage) setBroken(method string) {
	s.Helper()
	typ := candid.OptOf(candid.VariantOf(
		candid.Field{Label: "open", Type: candid.NullType},
		candid.Field{Label: "message", Type: candid.NullType},
		candid.Field{Label: "poll", Type: candid.NullType},
	))
	var value any
	if method != "" {
		value = candid.Tag{Label: method}
	}
	s.w.call(s.id, "setBroken", encode(s.T, typ, value))
}

// The ways in which sessions end.
var (
	forgotten   = way{bridge.CloseCanisterReset, "reconnect"}
	notFound    = way{bridge.CloseCanisterFails, "not found"}
	noModule    = way{bridge.CloseCanisterFails, "contains no Wasm"}
	noPolls     = way{bridge.CloseCanisterFails, "no query method 'ws_get_messages'"}
	trapped     = way{bridge.CloseCanisterFails, "broken on purpose"}
	isStopped   = way{bridge.CloseTryAgainLater, "is stop"} // stopped or stopping
	noCycles    = way{bridge.CloseTryAgainLater, "is out of cycles"}
	isFrozen    = way{bridge.CloseTryAgainLater, "it's frozen"}
	noLongerIn  = way{bridge.CloseMessageRefused, "doesn't have an open connection"}
	refusedWith = func(part string) way { return way{bridge.CloseMessageRefused, part} }
)

// An event is something that can happen, and what the clients see of it.
type event struct {
	name string
	play func(*stage)
}

// everyLife is what has the same consequences for every canister.
var everyLife = []event{
	{"stopped for a moment", func(s *stage) {
		s.whileAway(func() {})
		s.goesOn()
	}},
	{"stopped for long", func(s *stage) {
		s.w.stop(s.id)
		refused := s.newcomer(isStopped)
		s.bothEnd([]way{isStopped}, isStopped)
		refused()
		s.w.start(s.id)
		s.recovers()
	}},
	{"deleted", func(s *stage) {
		s.w.delete(s.id)
		s.bothEnd([]way{isStopped, refusedWith(notFound.part), notFound}, notFound)
		s.g.turnedAway(s.T, s.id, bridge.CloseRefused, notFound.part)
	}},
}

// life is what can happen, besides, to a canister with the CDK.
var life = []event{
	{"upgraded", func(s *stage) {
		s.whileAway(func() { s.w.install(s.id, execution.ModeUpgrade, testnet.Module(s, echoFile), candid.EncodeEmpty()) })
		s.bothEnd([]way{noLongerIn, forgotten}, forgotten)
		s.recovers()
	}},
	{"reinstalled without a stop", func(s *stage) {
		s.w.install(s.id, execution.ModeReinstall, testnet.Module(s, echoFile), candid.EncodeEmpty())
		s.bothEnd([]way{noLongerIn, forgotten}, forgotten)
		s.recovers()
	}},
	{"uninstalled", func(s *stage) {
		s.w.must(s.w.Machine().Uninstall(s.w.ctx(), s.id))
		s.bothEnd([]way{refusedWith(noModule.part), noModule}, noModule)
		s.g.turnedAway(s.T, s.id, bridge.CloseRefused, noModule.part)
		s.w.install(s.id, execution.ModeInstall, testnet.Module(s, echoFile), candid.EncodeEmpty())
		s.recovers()
	}},
	{"replaced by one that lacks the interface", func(s *stage) {
		s.w.install(s.id, execution.ModeReinstall, testnet.Module(s, targetFile), candid.EncodeEmpty())
		s.bothEnd([]way{refusedWith("no update method 'ws_message'"), noPolls}, noPolls)
		s.g.turnedAway(s.T, s.id, bridge.CloseRefused, "no update method 'ws_open'")
		s.w.install(s.id, execution.ModeReinstall, testnet.Module(s, echoFile), candid.EncodeEmpty())
		s.recovers()
	}},
	{"traps in ws_get_messages", func(s *stage) {
		s.setBroken("poll")
		refused := s.newcomer(trapped)
		s.bothEnd([]way{trapped}, trapped)
		refused()
		s.setBroken("")
		s.recovers()
	}},
	{"traps in ws_message", func(s *stage) {
		s.setBroken("message")
		ended(s.T, "the active client", s.active.conn, refusedWith(trapped.part))
		s.active.check()
		stays(s.T, "the idle client", s.idle)
		s.setBroken("")
		k := talk(s.T, "the idle client", s.idle, beat)
		k.goesOn(3)
		k.finish()
		s.recovers()
	}},
	{"traps in ws_open", func(s *stage) {
		s.setBroken("open")
		s.g.turnedAway(s.T, s.id, bridge.CloseRefused, trapped.part)
		s.goesOn()
		s.setBroken("")
		s.recovers()
	}},
}

// poverty is what happens to a canister with the CDK that runs out of cycles.
var poverty = []event{
	{"out of cycles", func(s *stage) {
		s.outOfCycles()
		refused := s.newcomer(noCycles)
		s.bothEnd([]way{noCycles, isFrozen}, isFrozen)
		refused()
		s.w.topUp(s.id, plenty)
		s.recovers()
	}},
	{"out of cycles for a moment", func(s *stage) {
		s.outOfCycles()
		s.w.topUp(s.id, plenty)
		s.goesOn()
	}},
}

// outOfCycles waits until the clients have spent what the canister had.
func (s *stage) outOfCycles() {
	s.Helper()
	eventually(s.T, "the canister is out of cycles", func() bool {
		_, err := s.w.Client.Query(s.w.ctx(), s.w.identity, s.id, "ws_get_messages", candid.EncodeGetMessagesArgs(0))
		return err != nil
	})
}

const (
	plenty = 1_000_000_000_000
	// little lets two clients open connections, and talk for a moment.
	little = 200_000_000
)

// relayLife is what can happen, besides, to a relay canister and to what is behind it.
var relayLife = []event{
	{"upgraded", func(s *stage) {
		s.whileAway(func() { s.w.install(s.id, execution.ModeUpgrade, canister.Wasm32(), s.relay.argument(s.w)) })
		s.goesOn()
	}},
	{"reinstalled", func(s *stage) {
		s.whileAway(func() { s.w.install(s.id, execution.ModeReinstall, canister.Wasm32(), s.relay.argument(s.w)) })
		s.bothEnd([]way{noLongerIn, forgotten}, forgotten)
		s.recovers()
	}},
	{"replaced by one that lacks the interface", func(s *stage) {
		s.active.quiet() // replies to calls under way would find no code to take them
		s.w.install(s.id, execution.ModeReinstall, testnet.Module(s, targetFile), candid.EncodeEmpty())
		s.active.resume(beat)
		s.bothEnd([]way{refusedWith("no update method 'ws_message'"), noPolls}, noPolls)
		s.g.turnedAway(s.T, s.id, bridge.CloseRefused, "no ")
		s.w.install(s.id, execution.ModeReinstall, canister.Wasm32(), s.relay.argument(s.w))
		s.recovers()
	}},
	{"its target is stopped for a moment", func(s *stage) {
		s.w.stop(s.relay.target)
		s.fails()
		s.w.start(s.relay.target)
		s.goesOn()
	}},
	{"its target is upgraded", func(s *stage) {
		s.w.stop(s.relay.target)
		s.w.install(s.relay.target, execution.ModeUpgrade, testnet.Module(s, targetFile), candid.EncodeEmpty())
		s.w.start(s.relay.target)
		s.goesOn()
	}},
	{"its target is reinstalled", func(s *stage) {
		s.w.install(s.relay.target, execution.ModeReinstall, testnet.Module(s, targetFile), candid.EncodeEmpty())
		s.goesOn()
	}},
	{"its target is replaced by one without the method", func(s *stage) {
		s.w.install(s.relay.target, execution.ModeReinstall, testnet.Module(s, echoFile), candid.EncodeEmpty())
		s.fails()
		s.w.install(s.relay.target, execution.ModeReinstall, testnet.Module(s, targetFile), candid.EncodeEmpty())
		s.goesOn()
	}},
	{"its target is deleted", func(s *stage) {
		s.w.delete(s.relay.target)
		s.fails()
		s.active.finish()
		stays(s.T, "the idle client", s.idle)
	}},
	{"its target traps", func(s *stage) {
		s.w.must(s.idle.Send(s.w.ctx(), candid.EncodeText("trap")))
		if content, err := s.idle.Receive(s.w.ctx()); err != nil || !isFailure(content) {
			s.Errorf("after a trap: %x, %v", content, err)
		}
		s.goesOn()
	}},
}

// relayPoverty is what happens when the target runs out of cycles.
func relayPoverty(s *stage) {
	s.fails()
	s.w.topUp(s.relay.target, plenty)
	s.goesOn()
}

// fails wants that the active client hears that its calls fail, and stays.
func (s *stage) fails() {
	s.Helper()
	eventually(s.T, "calls fail", func() bool {
		stays(s.T, "the active client", s.active.conn)
		_, failed := s.active.numbers()
		return failed >= 3 || s.Failed()
	})
}

// TestCanisterLife has all of that happen at the same time to canisters of one
// gateway. The sessions of each are told, or go on where that is right; new ones
// are served when the canister is well again; and those of two canisters to
// which nothing happens notice nothing.
func TestCanisterLife(t *testing.T) {
	w := newWorld(t)
	type trouble struct {
		name  string
		id    candid.Principal
		relay relayed
		play  func(*stage)
		every time.Duration
	}
	var troubles []trouble
	for _, c := range slices.Concat(everyLife, life) {
		troubles = append(troubles, trouble{name: "cdk " + c.name, id: w.echo(), play: c.play, every: beat})
	}
	for _, c := range poverty {
		id := w.poor(echoFile)
		w.topUp(id, little)
		troubles = append(troubles, trouble{name: "cdk " + c.name, id: id, play: c.play, every: beat / 4})
	}
	var relays []relayed
	addRelay := func(name string, r relayed, play func(*stage), every time.Duration) {
		relays = append(relays, r)
		troubles = append(troubles, trouble{name: "relay " + name, id: r.relay, relay: r, play: play, every: every})
	}
	for _, c := range slices.Concat(everyLife, relayLife) {
		addRelay(c.name, w.relayed(w.target(), nil), c.play, beat)
	}
	poorTarget := w.poor(targetFile)
	w.topUp(poorTarget, little/4)
	addRelay("its target is out of cycles", w.relayed(poorTarget, nil), relayPoverty, beat/4)
	healthy := w.relayed(w.target(), nil)

	p := w.plan(append(relays, healthy)...)
	p.limits.CallTimeout = callTimeout
	p.polling = bridge.Polling{Interval: 100 * time.Millisecond, IdleInterval: 400 * time.Millisecond, MaxBackoff: 2 * time.Second}
	g := w.gateway(p)
	builtin := w.builtinEcho()
	bystanders := []*talker{
		g.talk(t, "a bystander with the CDK", builtin, beat/4),
		g.talk(t, "a bystander with a relay canister", healthy.relay, beat/4),
	}
	for _, b := range bystanders {
		b.goesOn(5)
		b.forget()
	}
	t.Run("troubles", func(t *testing.T) {
		for _, c := range troubles {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s := &stage{T: t, w: w.within(t), g: g, id: c.id, relay: c.relay}
				s.idle = g.dial(t, c.id)
				s.active = g.talk(t, "the active client", c.id, c.every)
				s.active.goesOn(2)
				c.play(s)
			})
		}
	})
	for _, b := range bystanders {
		f := b.figure()
		t.Logf("%s: %v", b.name, f)
		if f.pause > noticeable || f.worst > noticeable {
			t.Errorf("%s has noticed something: %v", b.name, f)
		}
		b.finish()
		if _, failed := b.numbers(); failed > 0 {
			t.Errorf("%d calls of %s failed", failed, b.name)
		}
	}
	if n := failures(g.recorder.since(time.Time{}, func(q question) bool { return q.canister == healthy.relay || q.canister == builtin })); n > 0 {
		t.Errorf("%d requests for the bystanders failed", n)
	}
	for _, c := range troubles {
		if n := g.recorder.mostPolls(c.id); n > 1 {
			t.Errorf("%s: %d polls at once", c.name, n)
		}
	}
}

// noticeable is a pause that has to do with a fault, and not with a busy machine.
const noticeable = 5 * time.Second
