package localnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/echo"
	"github.com/icrelay/icrelay/localnet/execution"
)

const (
	counterModule    = "execution/testdata/counter.wasm"
	motokoEchoModule = "../e2e/canisters/echo/echo.wasm"
)

// wasmMachine is a machine with a Motoko canister in it that has a memory of
// at least some size.
func wasmMachine(b *testing.B, size uint64) (*execution.Machine, candid.Principal) {
	b.Helper()
	m := execution.New(execution.Options{})
	b.Cleanup(func() { _ = m.Close() })
	id, err := m.CreateCanister([]candid.Principal{controllerOfAll})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Install(b.Context(), id, execution.ModeInstall, readFile(b, counterModule), natArg(b, 1), controllerOfAll); err != nil {
		b.Fatal(err)
	}
	for wasmMemory(b, m, id) < size {
		submitTo(b, m, id, "grow", natArg(b, 256))
	}
	return m, id
}

const controllerOfAll = candid.Principal("\x01\x02\x03controller\x02")

func natArg(t testing.TB, n int) []byte {
	t.Helper()
	arg, err := candid.NewBuilder().Add(candid.NatType, n).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return arg
}

func submitTo(t testing.TB, m *execution.Machine, id candid.Principal, method string, arg []byte) {
	t.Helper()
	done := make(chan execution.Result, 1)
	if err := m.Submit(execution.Ingress{Sender: controllerOfAll, Canister: id, Method: method, Arg: arg}, func(r execution.Result) { done <- r }); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Reject != nil {
		t.Fatal(r.Reject)
	}
}

// wasmMemory is the size of a canister's memory, as the management canister says.
func wasmMemory(t testing.TB, m *execution.Machine, id candid.Principal) uint64 {
	t.Helper()
	arg, err := candid.NewBuilder().Add(candid.RecordOf(candid.Field{Label: "canister_id", Type: candid.PrincipalType}), candid.Fields{"canister_id": id}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := m.Query(context.Background(), controllerOfAll, candid.ManagementCanister, "canister_status", arg)
	if r.Reject != nil {
		t.Fatal(r.Reject)
	}
	values, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	size, ok := values[0].Field("memory_metrics").Field("wasm_memory_size").Uint64()
	if !ok {
		t.Fatal("canister_status does not tell the size of the memory")
	}
	return size
}

// BenchmarkWasmQuery is the execution of a query of a Motoko canister of 3 MB.
func BenchmarkWasmQuery(b *testing.B) {
	m, id := wasmMachine(b, 3_000_000)
	arg := candid.EncodeEmpty()
	for b.Loop() {
		if r := m.Query(context.Background(), controllerOfAll, id, "get", arg); r.Reject != nil {
			b.Fatal(r.Reject)
		}
	}
	b.ReportMetric(float64(wasmMemory(b, m, id))/1e6, "MB")
}

// BenchmarkWasmUpdate is the execution of an update of a Motoko canister of 3 MB.
func BenchmarkWasmUpdate(b *testing.B) {
	m, id := wasmMachine(b, 3_000_000)
	arg := candid.EncodeEmpty()
	for b.Loop() {
		submitTo(b, m, id, "inc", arg)
	}
	b.ReportMetric(float64(wasmMemory(b, m, id))/1e6, "MB")
}

// pollBench is a network with a canister that echoes, a client and a gateway.
type pollBench struct {
	network  *Network
	client   *ic.Client
	id       candid.Principal
	gateway  ic.Identity
	user     ic.Identity
	sequence uint64
}

func newPollBench(b *testing.B, install func(n *Network, id candid.Principal) error) *pollBench {
	b.Helper()
	network, err := Start(b.Context(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = network.Close() })
	p := &pollBench{network: network}
	if p.id, err = network.CreateCanister(); err != nil {
		b.Fatal(err)
	}
	if err := install(network, p.id); err != nil {
		b.Fatal(err)
	}
	verifier, err := ic.NewVerifier(network.RootKey())
	if err != nil {
		b.Fatal(err)
	}
	if p.client, err = ic.NewClient(ic.Options{URL: network.URL(), Verifier: verifier}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.client.Close)
	for _, identity := range []*ic.Identity{&p.gateway, &p.user} {
		if *identity, err = ic.NewEd25519Identity(); err != nil {
			b.Fatal(err)
		}
	}
	p.call(b, "ws_open", candid.EncodeOpenArgs(1, p.gateway.Principal()))
	return p
}

func (p *pollBench) call(b *testing.B, method string, arg []byte) {
	b.Helper()
	reply, err := p.client.Call(b.Context(), p.user, p.id, method, arg)
	if err != nil {
		b.Fatal(err)
	}
	if text, refused, err := candid.DecodeResult(reply); err != nil || refused {
		b.Fatal(text, err)
	}
}

// nextMessage is the argument of the next ws_message, of {text = ...}, which both canisters take.
func (p *pollBench) nextMessage(b *testing.B) []byte {
	b.Helper()
	p.sequence++
	content, err := candid.NewBuilder().Add(candid.RecordOf(candid.Field{Label: "text", Type: candid.TextType}),
		candid.Fields{"text": strings.Repeat("x", 100)}).Bytes()
	if err != nil {
		b.Fatal(err)
	}
	return candid.EncodeMessageArgs(candid.WebsocketMessage{
		ClientKey:   candid.ClientKey{Principal: p.user.Principal(), Nonce: 1},
		SequenceNum: p.sequence, Timestamp: nanoseconds(time.Now()), Content: content})
}

// fill queues messages, past HTTP.
func (p *pollBench) fill(b *testing.B, messages int) {
	b.Helper()
	done := make(chan execution.Result, 1)
	for range messages {
		in := execution.Ingress{Sender: p.user.Principal(), Canister: p.id, Method: "ws_message", Arg: p.nextMessage(b)}
		if err := p.network.Machine().Submit(in, func(r execution.Result) { done <- r }); err != nil {
			b.Fatal(err)
		}
		if r := <-done; r.Reject != nil {
			b.Fatal(r.Reject)
		}
	}
}

// poll is what a gateway does: sign, ask, decode.
func (p *pollBench) poll(b *testing.B, nonce uint64, want int) {
	reply, err := p.client.Query(b.Context(), p.gateway, p.id, "ws_get_messages", candid.EncodeGetMessagesArgs(nonce))
	if err != nil {
		b.Fatal(err)
	}
	batch, _, _, err := candid.DecodeOutputMessages(reply)
	if err != nil || len(batch.Messages) != want {
		b.Fatalf("%d messages, want %d: %v", len(batch.Messages), want, err)
	}
}

func builtinEcho(n *Network, id candid.Principal) error {
	return n.InstallBuiltin(context.Background(), id, echo.New())
}

func motokoEcho(b *testing.B) func(n *Network, id candid.Principal) error {
	return func(n *Network, id candid.Principal) error {
		return n.Install(context.Background(), id, readFile(b, motokoEchoModule), candid.EncodeEmpty())
	}
}

// BenchmarkGetMessages polls over HTTP, the gateway's side of it included: with
// -cpu 1 both share one core. Of the messages queued a poll gets none, the last
// one, or the last 50.
func BenchmarkGetMessages(b *testing.B) {
	canisters := []struct {
		name    string
		queued  int
		install func(n *Network, id candid.Principal) error
	}{
		{"builtin", 500, builtinEcho},
		{"builtin", 100_000, builtinEcho},
		{"motoko", 500, motokoEcho(b)},
		{"motoko", 5_000, motokoEcho(b)},
	}
	for _, c := range canisters {
		b.Run(fmt.Sprintf("%s/queued=%d", c.name, c.queued), func(b *testing.B) {
			p := newPollBench(b, c.install)
			p.fill(b, c.queued-1) // beside the open message
			for _, messages := range []int{0, 1, 50} {
				b.Run(fmt.Sprintf("messages=%d", messages), func(b *testing.B) {
					for b.Loop() {
						p.poll(b, uint64(c.queued-messages), messages)
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "polls/s")
				})
			}
		})
	}
}

// BenchmarkEcho sends messages, one after the other, verifies the reply to each
// and polls its echo.
func BenchmarkEcho(b *testing.B) {
	p := newPollBench(b, builtinEcho)
	signed := p.network.certifier.height.Load()
	for b.Loop() {
		p.call(b, "ws_message", p.nextMessage(b))
		p.poll(b, p.sequence, 1)
	}
	b.ReportMetric(float64(p.network.certifier.height.Load()-signed)/float64(b.N), "signatures/op")
}

// BenchmarkCrowd has 64 clients of builtin:echo send messages at the same time,
// each the next when the last is answered, while a gateway polls all echoes. The
// replies' certificates are not verified; signing the requests is part of it.
func BenchmarkCrowd(b *testing.B) {
	const clients = 64
	p := newPollBench(b, builtinEcho)
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	b.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	send := func(identity ic.Identity, method string, arg []byte) error {
		e := ic.NewCall(p.id, method, arg, time.Now())
		if err := ic.Sign(e, identity); err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, p.network.URL()+callURL("v4", p.id), bytes.NewReader(e.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", cborType)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s, %w", resp.Status, err)
		}
		return nil
	}
	identities := make([]ic.Identity, clients)
	for i := range identities {
		var err error
		if identities[i], err = ic.NewEd25519Identity(); err != nil {
			b.Fatal(err)
		}
		if err := send(identities[i], "ws_open", candid.EncodeOpenArgs(1, p.gateway.Principal())); err != nil {
			b.Fatal(err)
		}
	}
	signed := p.network.certifier.height.Load()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var group sync.WaitGroup
	for _, identity := range identities {
		group.Go(func() {
			m := candid.WebsocketMessage{ClientKey: candid.ClientKey{Principal: identity.Principal(), Nonce: 1}, Content: make([]byte, 100)}
			for left.Add(-1) >= 0 {
				m.SequenceNum++
				if err := send(identity, "ws_message", candid.EncodeMessageArgs(m)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	polls := 0
	for next, end := uint64(0), uint64(1+clients+b.N); next < end && !b.Failed(); polls++ { //nolint:gosec // positive
		reply, err := p.client.Query(b.Context(), p.gateway, p.id, "ws_get_messages", candid.EncodeGetMessagesArgs(next))
		if err != nil {
			b.Fatal(err)
		}
		batch, _, _, err := candid.DecodeOutputMessages(reply)
		if err != nil {
			b.Fatal(err)
		}
		next += uint64(len(batch.Messages))
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(polls)/float64(b.N), "polls/op")
	b.ReportMetric(float64(p.network.certifier.height.Load()-signed)/float64(b.N), "signatures/op")
}

// TestIdleCanister: a canister that nobody uses takes less than 1 MB beside its
// own memory, its compiled code included.
func TestIdleCanister(t *testing.T) {
	const most = 1 << 20
	module := readFile(t, counterModule)
	for name, distinct := range map[string]bool{"of one module": false, "each of its own module": true} {
		t.Run(name, func(t *testing.T) {
			m := execution.New(execution.Options{Limits: execution.Limits{IdleAfter: time.Millisecond}})
			t.Cleanup(func() {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			})
			var own uint64
			install := func(n int) {
				code := module
				if distinct {
					code = withSection(module, n)
				}
				id, err := m.CreateCanister([]candid.Principal{controllerOfAll})
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Install(t.Context(), id, execution.ModeInstall, code, natArg(t, 1), controllerOfAll); err != nil {
					t.Fatal(err)
				}
				submitTo(t, m, id, "inc", candid.EncodeEmpty())
				if r := m.Query(t.Context(), controllerOfAll, id, "get", candid.EncodeEmpty()); r.Reject != nil {
					t.Fatal(r.Reject)
				}
				own += wasmMemory(t, m, id)
			}
			const canisters = 16
			install(0) // what all share
			heap, resident := memoryInUse(t)
			own = 0
			for n := range canisters {
				install(n + 1)
			}
			var heapEach, residentEach int64
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // until the instances are freed
				m.Tick()
				heapNow, residentNow := memoryInUse(t)
				heapEach = (heapNow - heap - int64(own)) / canisters
				residentEach = (residentNow - resident - int64(own)) / canisters
				if heapEach < most && residentEach < most || time.Now().After(end) {
					break
				}
			}
			t.Logf("beside a memory of %d bytes: %d bytes on the heap, %d resident", own/canisters, heapEach, residentEach)
			if heapEach >= most || residentEach >= most {
				t.Errorf("beside its memory a canister takes %d bytes on the heap, %d resident, want less than %d", heapEach, residentEach, most)
			}
		})
	}
}

// withSection adds a custom section, which makes it another module.
func withSection(module []byte, n int) []byte {
	section := append([]byte{0, 6, 1, 'n'}, binary.BigEndian.AppendUint32(nil, uint32(n))...)
	return append(append([]byte{}, module...), section...)
}

// memoryInUse is what lives on the heap, and what the process has of the
// system's memory where that can be read (0 elsewhere).
func memoryInUse(t *testing.T) (heap, resident int64) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if columns := strings.Fields(string(text)); len(columns) > 1 {
			pages, err := strconv.ParseInt(columns[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			resident = pages * int64(os.Getpagesize())
		}
	}
	return int64(stats.HeapAlloc), resident
}
