package execution

import (
	"context"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

func benchmarkUpdate(b *testing.B, grow int) {
	m := newMachine(b, Options{})
	id := installFile(b, m, "counter", args(b, 5))
	if grow > 0 {
		value(b, submit(b, m, id, "grow", args(b, grow)))
	}
	defer func() { b.ReportMetric(float64(m.canisters[id].code.wasmBytes.Load())/(1<<20), "MB") }()
	arg := args(b)
	done := make(chan Result, 1)
	for b.Loop() {
		if err := m.Submit(Ingress{Sender: user, Canister: id, Method: "inc", Arg: arg}, func(r Result) { done <- r }); err != nil {
			b.Fatal(err)
		}
		if r := <-done; r.Reject != nil {
			b.Fatal(r.Reject)
		}
	}
}

func BenchmarkUpdate(b *testing.B)    { benchmarkUpdate(b, 0) }
func BenchmarkUpdate8MB(b *testing.B) { benchmarkUpdate(b, 1000) }

func BenchmarkQuery(b *testing.B) {
	m := newMachine(b, Options{})
	id := installFile(b, m, "counter", args(b, 5))
	arg := args(b)
	for b.Loop() {
		if r := m.Query(context.Background(), user, id, "get", arg); r.Reject != nil {
			b.Fatal(r.Reject)
		}
	}
}

func BenchmarkQueryParallel(b *testing.B) {
	m := newMachine(b, Options{})
	id := installFile(b, m, "counter", args(b, 5))
	arg := args(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := m.Query(context.Background(), user, id, "get", arg); r.Reject != nil {
				b.Error(r.Reject)
			}
		}
	})
}

func BenchmarkCall(b *testing.B) {
	m := newMachine(b, Options{})
	counter := installFile(b, m, "counter", args(b, 5))
	caller := installFile(b, m, "caller", args(b))
	arg := args(b, counter)
	for b.Loop() {
		if r := submit(b, m, caller, "callInc", arg); r.Reject != nil {
			b.Fatal(r.Reject)
		}
	}
}

func BenchmarkInstall(b *testing.B) {
	m := newMachine(b, Options{})
	wasm, arg := moduleFile(b, "counter"), args(b, 5)
	id := install(b, m, wasm, arg)
	for b.Loop() {
		if err := m.Install(context.Background(), id, ModeReinstall, wasm, arg, candid.Anonymous); err != nil {
			b.Fatal(err)
		}
	}
}
