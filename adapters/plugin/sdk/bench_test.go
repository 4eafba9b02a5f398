package sdk

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// What it costs to go into a process and back to the base.
func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{200, 10_000} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("%d bytes from %d clients", size, clients), func(b *testing.B) {
				p := benchmarked(b)
				p.relay.onMessage = func(context.Context, *contract.MessageRequest) (*contract.Outcome, error) {
					return &contract.Outcome{}, nil
				}
				b.SetParallelism(clients)
				b.RunParallel(func(pb *testing.PB) {
					message := aMessage()
					message.Envelope.Bytes = make([]byte, size)
					for pb.Next() {
						if outcome, err := p.Message(b.Context(), message); err != nil || outcome.Kind != contract.Outcome_OK {
							b.Error(outcome, err)
							return
						}
					}
				})
			})
		}
	}
}

func BenchmarkPoll(b *testing.B) {
	for _, count := range []int{1, 50, 1000} {
		b.Run(fmt.Sprintf("%d messages", count), func(b *testing.B) {
			part := &contract.PollPart{Certificate: make([]byte, 2000), Witness: make([]byte, 200*count)}
			for n := range count {
				part.Messages = append(part.Messages, &contract.OutputMessage{
					Client: protoPair, Key: fmt.Sprintf("bkyz2-fmaaa-aaaaa-qaaaq-cai_%020d", n), Content: bytes.Repeat([]byte{1}, 200),
				})
			}
			p := benchmarked(b)
			p.relay.onPoll = func(_ *contract.PollRequest, send func(*contract.PollPart) error) error { return send(part) }
			for b.Loop() {
				if got, err := parts(p.Poll(b.Context(), &contract.PollRequest{Route: 1})); err != nil || len(got) == 0 {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}

func benchmarked(b *testing.B) *process {
	b.Helper()
	p := newProcess(b)
	if _, err := p.StartRoute(soon(b), &contract.StartRouteRequest{Route: 1, Adapter: "base"}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return p
}
