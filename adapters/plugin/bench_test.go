//go:build unix

package plugin

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/bridge"
)

// What a process adds to a message: two calls over its sockets, there and back,
// and to a poll of ten messages the same.
//
//	go test -run '^$' -bench . ./adapters/plugin
func BenchmarkPassThrough(b *testing.B) {
	for _, bench := range []struct {
		name string
		run  func(b *testing.B, a bridge.Adapter, env bridge.Envelope) error
	}{
		{"Message", func(b *testing.B, a bridge.Adapter, env bridge.Envelope) error { return a.Message(b.Context(), env) }},
		{"Poll", func(b *testing.B, a bridge.Adapter, env bridge.Envelope) error {
			_, err := a.Poll(b.Context(), env.Canister, 0)
			return err
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p, err := start(b.Context(), config(b, ""), Host{Log: slog.New(slog.DiscardHandler)}, defaultTiming)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Stop()
			base := newFakeBase()
			base.batch = bridge.Batch{Messages: outputMessages(10, 300), Cert: make([]byte, 1000), Tree: make([]byte, 3000), EndOfQueue: true}
			a, err := p.Route(b.Context(), Route{Base: base, BaseName: "cdk"})
			if err != nil {
				b.Fatal(err)
			}
			envs := make([]bridge.Envelope, 64)
			for i := range envs {
				envs[i] = message(b, strings.Repeat("x", 300))
			}
			b.Run("one at a time", func(b *testing.B) {
				for b.Loop() {
					if err := bench.run(b, a, envs[0]); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("many at once", func(b *testing.B) {
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					for n := 0; pb.Next(); n++ {
						if err := bench.run(b, a, envs[n%len(envs)]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		})
	}
}
