package faults

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testnet"
)

// A party is a gateway with talkers on both adapters, behind something that can go wrong.
type party struct {
	*testing.T
	w       *world
	g       *gateway
	cdk     candid.Principal
	relay   relayed
	talkers []*talker
}

// newParty makes one on the world's network, which the gateway reaches by a URL
// of its own. It has an identity of its own.
func newParty(t *testing.T, w *world, url string, change func(*plan)) *party {
	t.Helper()
	w = w.within(t)
	w.identity = testnet.Identity(t)
	p := &party{T: t, w: w, cdk: w.builtinEcho(), relay: w.relayed(w.target(), nil)}
	plan := w.plan(p.relay)
	plan.networkURL = url
	if change != nil {
		change(&plan)
	}
	p.g = w.gateway(plan)
	return p
}

// talk has clients of both adapters talk until leave.
func (p *party) talk(clients int, every time.Duration) {
	p.Helper()
	for range clients {
		p.talkers = append(p.talkers,
			p.g.talk(p.T, "a client with the CDK", p.cdk, every),
			p.g.talk(p.T, "a client with a relay canister", p.relay.relay, every))
	}
	for _, k := range p.talkers {
		k.goesOn(2)
	}
}

// recover waits until all are answered again, and returns how long that took.
func (p *party) recover() time.Duration {
	p.Helper()
	start := time.Now()
	before := make([]int, len(p.talkers))
	for i, k := range p.talkers {
		before[i], _ = k.numbers()
	}
	for i, k := range p.talkers {
		eventually(p.T, k.name+" is answered again", func() bool {
			stays(p.T, k.name, k.conn)
			now, _ := k.numbers()
			return now > before[i] || p.Failed()
		})
	}
	return time.Since(start)
}

// leave wants that nobody has lost anything.
func (p *party) leave() {
	p.Helper()
	for _, k := range p.talkers {
		k.finish()
		if _, failed := k.numbers(); failed > 0 {
			p.Errorf("%d calls of %s failed", failed, k.name)
		}
	}
	for _, id := range []candid.Principal{p.cdk, p.relay.relay} {
		if n := p.g.recorder.mostPolls(id); n != 1 {
			p.Errorf("%d polls of one canister at once", n)
		}
	}
}

type attributes = map[string]float64

// TestStorms has the connections between gateway and network fail in every way
// that toxiproxy knows, for a while, under clients that go on talking. All of
// them stay, and each message arrives once and in order.
func TestStorms(t *testing.T) {
	w := newWorld(t)
	storms := []struct {
		name   string
		toxics []toxic
	}{
		{"latency with jitter", []toxic{
			upstream("latency", attributes{"latency": 150, "jitter": 100}),
			downstream("latency", attributes{"latency": 150, "jitter": 100}),
		}},
		{"little bandwidth", []toxic{downstream("bandwidth", attributes{"rate": 20}), upstream("bandwidth", attributes{"rate": 20})}},
		{"crumbs", []toxic{downstream("slicer", attributes{"average_size": 100, "size_variation": 50, "delay": 1000})}},
		{"requests vanish", []toxic{upstream("timeout", attributes{"timeout": 0})}},
		{"answers vanish", []toxic{downstream("timeout", attributes{"timeout": 0})}},
		{"answers vanish, then the connection ends", []toxic{downstream("timeout", attributes{"timeout": 300})}},
		{"reset at once", []toxic{downstream("reset_peer", attributes{"timeout": 0})}},
		{"reset after a while", []toxic{upstream("reset_peer", attributes{"timeout": 200})}},
		{"requests are cut off", []toxic{upstream("limit_data", attributes{"bytes": 400})}},
		{"answers are cut off", []toxic{downstream("limit_data", attributes{"bytes": 700})}},
		{"connections that do not end", []toxic{
			downstream("limit_data", attributes{"bytes": 5000}),
			downstream("slow_close", attributes{"delay": 3000}),
		}},
	}
	for _, storm := range storms {
		t.Run(storm.name, func(t *testing.T) {
			t.Parallel()
			line := newLine(t, w.URL())
			p := newParty(t, w, line.url(), nil)
			p.talk(1, beat)
			line.poison(storm.toxics...)
			time.Sleep(2 * time.Second)
			line.cure()
			took := p.recover()
			t.Logf("recovered after %s", took.Round(time.Millisecond))
			p.leave()
		})
	}
}

// TestOutage takes the network away under clients that go on talking. The
// gateway asks rarely and irregularly whether it is there again, keeps no more
// than its queues allow, and loses nothing.
func TestOutage(t *testing.T) {
	length := time.Duration(setting(t, "FAULTS_OUTAGE", 5)) * time.Second
	w := newWorld(t)
	line := newLine(t, w.URL())
	p := newParty(t, w, line.url(), func(p *plan) {
		p.limits.CallTimeout = length + 20*time.Second
		p.limits.PollTimeout = 15 * time.Second
		p.polling = bridge.Polling{Interval: 100 * time.Millisecond, IdleInterval: time.Second, MaxBackoff: 30 * time.Second}
	})
	const clients = 5 // of each adapter
	p.talk(clients, 100*time.Millisecond)
	for _, k := range p.talkers {
		k.forget()
	}
	goroutines, memory := runtime.NumGoroutine(), heap()

	line.cut()
	cut := time.Now()
	most, peak := 0, uint64(0)
	for time.Since(cut) < length {
		time.Sleep(length / 20)
		most, peak = max(most, runtime.NumGoroutine()), max(peak, heap())
	}
	during := p.g.recorder.since(cut, anything)
	line.mend()
	mended := time.Now()
	took := p.recover()

	settled := cut.Add(time.Second) // what was under way has failed, and every gate is closed
	calls := p.g.recorder.since(settled, func(q question) bool { return q.method == "ws_message" })
	byCanister := make(map[candid.Principal][]time.Time)
	for _, a := range calls {
		if a.at.Before(mended) {
			byCanister[a.canister] = append(byCanister[a.canister], a.at)
		}
	}
	seconds := length.Seconds() - 1
	for id, times := range byCanister {
		// One at a time tries, after pauses that grow to 2 s.
		if most := 4 + int(seconds); len(times) > most {
			t.Errorf("%d tries to reach %s with a message in %.0f s, want %d at most", len(times), id, seconds, most)
		}
	}
	for _, id := range []candid.Principal{p.cdk, p.relay.relay} {
		asked := p.g.recorder.since(cut, func(q question) bool { return q.canister == id && polls(q) })
		var pauses []time.Duration
		for i := 1; i < len(asked) && asked[i].at.Before(mended); i++ {
			pauses = append(pauses, asked[i].at.Sub(asked[i-1].at).Round(time.Millisecond))
		}
		t.Logf("pauses between polls: %v", pauses)
		// Each is between half of what it may be and all of that, which doubles: 0.1 s, 0.2 s, and so on.
		if most := 3 + int(math.Log2(length.Seconds()/0.1)) + int(length/(15*time.Second)); len(pauses) > most {
			t.Errorf("%d polls in %s, want %d at most", len(pauses), length, most)
		}
	}
	if extra := most - goroutines; extra > 40*clients {
		t.Errorf("%d goroutines more than before", extra)
	}
	if extra := int64(peak) - int64(memory); extra > 32<<20 { //nolint:gosec // sizes of a test
		t.Errorf("%d MiB more than before", extra>>20)
	}
	t.Logf("%s without a network, %d clients: %d requests (%.1f/s), goroutines %d and then at most %d, heap %d and then at most %d MiB; all answered again %s after its end",
		length, len(p.talkers), len(during), float64(len(during))/length.Seconds(), goroutines, most, memory>>20, peak>>20, took.Round(time.Millisecond))
	p.leave()
}

// heap is what is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
