package canister_test

import (
	"fmt"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// What a message of a client costs, from its arrival to the reply: two canisters, three messages.
func BenchmarkMessageIn(b *testing.B) {
	w := newWorld(b)
	w.installRelay(settings{calls: []method{{w.installTarget(), "put"}}})
	c := w.open(client(1), 1, gateway1)
	content := candid.EncodeText("hello")
	b.ResetTimer()
	for range b.N {
		c.send(content)
	}
}

// What one item of a feed costs, with the gateway saying how far it is, as a gateway in use does.
func BenchmarkItemOut(b *testing.B) {
	for _, clients := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			w := newWorld(b)
			feed := method{w.installTarget(), "since"}
			w.installRelay(settings{feeds: []method{feed}})
			for i := range clients {
				w.open(client(i), 1, gateway1)
			}
			w.idle()
			b.ResetTimer()
			next := uint64(clients)
			for range b.N {
				w.addMany(feed, 1)
				if _, text := w.tryPull(gateway1, feed, next); text != "" {
					b.Fatal(text)
				}
				next += uint64(clients)
			}
		})
	}
}

// A long queue makes a message no dearer.
func BenchmarkItemOutWithAQueueOf10000(b *testing.B) {
	w := newWorld(b)
	feed := method{w.installTarget(), "since"}
	w.installRelay(settings{feeds: []method{feed}})
	for i := range 100 {
		w.open(client(i), 1, gateway1)
	}
	w.idle()
	w.addMany(feed, 100)
	w.pull(gateway1, feed)
	next := uint64(100)
	b.ResetTimer()
	for range b.N {
		w.addMany(feed, 1)
		if _, text := w.tryPull(gateway1, feed, next); text != "" {
			b.Fatal(text)
		}
		next += 100
	}
}

func BenchmarkPoll(b *testing.B) {
	w := newWorld(b)
	feed := method{w.installTarget(), "since"}
	w.installRelay(settings{feeds: []method{feed}})
	w.open(client(1), 1, gateway1)
	w.idle()
	w.addMany(feed, 100)
	w.pull(gateway1, feed)
	arg := candid.EncodeGetMessagesArgs(51)
	b.ResetTimer()
	for range b.N {
		w.ask(gateway1, w.relay, "ws_get_messages", arg)
	}
}
