package echo

import (
	"context"
	"fmt"
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// fill opens clients and has them send in turn until the gateway's queue has a length.
func fill(b *bench, clients, queued int) (last candid.ClientKey, sequence uint64) {
	b.Helper()
	content := make([]byte, 100)
	sequences := make([]uint64, clients)
	key := func(n int) candid.ClientKey {
		return candid.ClientKey{Principal: candid.Principal(fmt.Sprintf("\x01client %d\x02", n)), Nonce: uint64(n)}
	}
	for n := range clients {
		b.state.open(key(n).Principal, key(n).Nonce, gatewayA, 1)
	}
	now := uint64(b.now.UnixNano())
	for n := range queued {
		n %= clients
		sequences[n]++
		b.state.message(key(n).Principal, &candid.WebsocketMessage{ClientKey: key(n), SequenceNum: sequences[n], Content: content}, now)
	}
	last = key(clients - 1)
	b.want(b.message(last, sequences[clients-1]+1, false, content), "") // publishes
	return last, sequences[clients-1] + 1
}

var loads = []struct{ clients, queued int }{{1, 100}, {10_000, 100}, {1, 100_000}, {10_000, 100_000}}

// BenchmarkPoll is ws_get_messages in the machine, without HTTP and signatures.
func BenchmarkPoll(b *testing.B) {
	for _, load := range loads {
		for _, messages := range []int{0, 1, 50} {
			b.Run(fmt.Sprintf("clients=%d/queued=%d/messages=%d", load.clients, load.queued, messages), func(b *testing.B) {
				e := newBench(b, nil)
				fill(e, load.clients, load.queued)
				next := e.state.gateways[gatewayA].queue.next
				arg := candid.EncodeGetMessagesArgs(next - uint64(messages))
				e.want(len(e.poll(gatewayA, next-uint64(messages)).Messages), messages)
				b.ReportAllocs()
				for b.Loop() {
					if r := e.machine.Query(context.Background(), gatewayA, e.id, "ws_get_messages", arg); r.Reject != nil {
						b.Fatal(r.Reject)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "polls/s")
			})
		}
	}
}

// BenchmarkMessage is ws_message in the machine, without HTTP, signatures and certificates.
func BenchmarkMessage(b *testing.B) {
	for _, load := range loads {
		b.Run(fmt.Sprintf("clients=%d/queued=%d", load.clients, load.queued), func(b *testing.B) {
			e := newBench(b, nil)
			key, sequence := fill(e, load.clients, load.queued)
			content := make([]byte, 100)
			done := make(chan execution.Result, 1)
			b.ReportAllocs()
			for b.Loop() {
				sequence++
				arg := candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: key, SequenceNum: sequence, Content: content})
				in := execution.Ingress{Sender: key.Principal, Canister: e.id, Method: "ws_message", Arg: arg}
				if err := e.machine.Submit(in, func(r execution.Result) { done <- r }); err != nil {
					b.Fatal(err)
				}
				if r := <-done; r.Reject != nil {
					b.Fatal(r.Reject)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
