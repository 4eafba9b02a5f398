package canister_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// A record type that has itself in each of its fields costs no more than its
// size, and a service message is never long.
func TestHostileServiceMessages(t *testing.T) {
	w := newRelay(t, settings{})
	for name, fields := range map[string]int{"short": 500, "long": 20_000} {
		t.Run(name, func(t *testing.T) {
			c := w.open(client(fields), 1, gateway1)
			var b bytes.Buffer
			b.WriteString("DIDL\x02\x6b\x01\x00\x01\x6c") // variant { 0 : 1 }, record { 0 : 1; 1 : 1; ... }
			b.Write(leb(fields))
			for n := range fields {
				b.Write(leb(n))
				b.WriteByte(1)
			}
			b.WriteString("\x01\x00\x00")
			start := time.Now()
			text := w.result(c.startMessage(candid.WebsocketMessage{ClientKey: c.key, SequenceNum: 1, IsServiceMessage: true, Content: b.Bytes()}))
			if !strings.Contains(text, "service message") {
				t.Errorf("answer %q", text)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func leb(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// Large items for many clients are certified in several messages.
func TestLargeItems(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	feed := method{target, "since"}
	w.installRelay(settings{feeds: []method{feed}})
	const clients = 50
	var conns []*conn
	for n := range clients {
		conns = append(conns, w.open(client(n), 1, gateway1))
	}
	w.idle()
	want := make([]string, 4)
	for i := range want {
		want[i] = strings.Repeat(fmt.Sprint(i), 90_000)
		w.call(stranger, target, "say", candid.EncodeText(want[i]))
	}
	if got := w.pull(gateway1, feed); got != uint64(len(want)) {
		t.Fatalf("cursor %d", got)
	}
	if diff := cmp.Diff(want, conns[clients-1].texts()); diff != "" {
		t.Error("the last client does not have the items")
	}

	// One that is too large for so many clients is left out, and said so; the next is not.
	w.call(stranger, target, "say", candid.EncodeText(strings.Repeat("x", 400_000)))
	w.call(stranger, target, "say", candid.EncodeText("small"))
	if _, text := w.tryPull(gateway1, feed, nil); !strings.Contains(text, "item 4 was left out") {
		t.Errorf("the pull says %q", text)
	}
	if got := conns[0].texts(); len(got) != len(want)+1 || got[len(got)-1] != "small" {
		t.Errorf("%d texts", len(got))
	}
}

// The next acknowledgement comes an interval after the last, whatever happens in
// between: the stock client waits 30 seconds longer and no more.
func TestAcknowledgementsAreRegular(t *testing.T) {
	for _, upgradeAt := range []time.Duration{0, 100 * time.Second, 290 * time.Second, 310 * time.Second, 400 * time.Second} {
		t.Run(fmt.Sprint(upgradeAt), func(t *testing.T) {
			w := newWorld(t)
			s := settings{ackMs: 300_000, keepAliveMs: 60_000}
			w.installRelay(s)
			c := w.open(client(1), 1, gateway1)
			var acks []time.Duration
			seen := 0
			for now := time.Duration(0); now < 1200*time.Second; now += 10 * time.Second {
				if now == upgradeAt {
					if err := w.upgrade(s); err != nil {
						t.Fatal(err)
					}
				}
				w.advance(10 * time.Second)
				for _, m := range w.pollAll(gateway1, uint64(seen)) {
					if n := keyNonce(t, gateway1, m.Key); n >= uint64(seen) {
						seen = int(n) + 1
						acks = append(acks, now+10*time.Second)
					}
				}
				c.keepAlive()
			}
			last := acks[0] // the open message
			if len(acks) < 4 {
				t.Fatalf("messages at %v", acks)
			}
			for _, at := range acks[1:] {
				if gap := at - last; gap > 310*time.Second {
					t.Errorf("%s without an acknowledgement: %v", gap, acks)
				}
				last = at
			}
		})
	}
}
