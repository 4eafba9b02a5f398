//go:build wasm64

package canister_test

import (
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// growing are the messages whose cost must not depend on how much is going on.
var growing = []struct {
	name  string
	times int
	do    func(w *stage) func(int)
}{
	{"a poll of 50", 10, func(w *stage) func(int) { return w.poll }},
	{"a push to one client", 300, func(w *stage) func(int) { return w.sendOne }},
	{"a client's message with a reply", 100, func(w *stage) func(int) { return w.message }},
	{"a client opens", 100, func(w *stage) func(int) { return w.openOne }},
}

var growthSettings = settings{routed: []call{{method: method{name: "echo"}, reply: "Sender"}}}

// mean is what one message costs on the average, in instructions with those for
// pages. No single execution may take long.
func (w *stage) mean(times int, f func(int)) uint64 {
	w.t.Helper()
	c := w.repeat(times, f)
	if c.largest > largestExecution {
		w.t.Errorf("one execution took %d instructions", c.largest)
	}
	return (c.instructions + instructionsPerPage*count(c.pages)) / count(times)
}

// largestExecution is three times a step of garbage collection, and a twentieth of the
// instructions that the Internet Computer executes in a second.
const largestExecution = 100_000_000

// memory is the canister's memory in bytes.
func (w *stage) memory() uint64 {
	w.t.Helper()
	arg, err := candid.NewBuilder().Add(candid.RecordOf(candid.Field{Label: "canister_id", Type: candid.PrincipalType}), candid.Fields{"canister_id": w.relay}).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return number(w.t, w.decode(w.call(controller, candid.ManagementCanister, "canister_status", arg)), "memory_size")
}

// A message costs at most twice as much when 10,000 messages are queued for the
// gateway as when it has fetched all.
func TestCostDoesNotGrowWithTheQueue(t *testing.T) {
	short, long := newStage(t, 100, 51, growthSettings), newStage(t, 100, 10_000, growthSettings)
	t.Logf("memory: %d bytes, %d with 10,000 messages queued", short.memory(), long.memory())
	for _, m := range growing {
		t.Run(m.name, func(t *testing.T) {
			before, after := short.mean(m.times, m.do(short)), long.mean(m.times, m.do(long))
			t.Logf("%d instructions with 51 messages queued, %d with 10,000: %.2f times", before, after, float64(after)/float64(before))
			if n := short.waiting(); n > 1_000 {
				t.Errorf("%d were queued", n)
			}
			if n := long.waiting(); n < 10_000 {
				t.Errorf("only %d were queued", n)
			}
			if after > 2*before {
				t.Errorf("%d instructions, more than twice %d", after, before)
			}
		})
	}
}

// A message for one client costs the same with one client and with a thousand, but for the
// logarithm of their number.
func TestCostDoesNotGrowWithTheClients(t *testing.T) {
	few, many := newStage(t, 1, 51, growthSettings), newStage(t, 1_000, 51, growthSettings)
	for _, m := range growing {
		t.Run(m.name, func(t *testing.T) {
			before, after := few.mean(m.times, m.do(few)), many.mean(m.times, m.do(many))
			t.Logf("%d instructions with one client, %d with 1,000: %.2f times", before, after, float64(after)/float64(before))
			if after > before+before/2 {
				t.Errorf("%d instructions, more than half more than %d", after, before)
			}
		})
	}
}
