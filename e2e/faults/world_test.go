package faults

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/echo"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(beside)); err != nil {
		panic(err)
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removeBinary()
		os.Exit(code)
	}))
}

// patience is for what should take a second, on a busy machine.
const patience = 60 * time.Second

// A world is a network with canisters, and the identity of the gateway that
// they are bridged by.
type world struct {
	*testing.T
	*testnet.Network
	identity ic.Identity
	log      *slog.Logger
}

func newWorld(t *testing.T) *world {
	t.Helper()
	level := slog.LevelError
	if os.Getenv("FAULTS_LOG") != "" {
		level = slog.LevelDebug
	}
	return &world{
		T:        t,
		Network:  testnet.Start(t),
		identity: testnet.Identity(t),
		log:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
	}
}

// within is the world for a part of the test.
func (w *world) within(t *testing.T) *world {
	part := *w
	part.T = t
	return &part
}

// Modules, by their files.
const (
	echoFile   = testnet.EchoFile
	targetFile = "e2e/canisters/target/target.wasm"
)

// echo is a new canister with the CDK's interface, in Wasm.
func (w *world) echo() candid.Principal {
	w.Helper()
	id := w.Create()
	w.InstallFile(id, echoFile, candid.EncodeEmpty())
	return id
}

// builtinEcho is one in Go, which costs nearly nothing.
func (w *world) builtinEcho() candid.Principal {
	w.Helper()
	id := w.Create()
	if err := w.InstallBuiltin(context.Background(), id, echo.New()); err != nil {
		w.Fatal(err)
	}
	return id
}

// A relayed canister is one that knows nothing of WebSockets, with a relay
// canister in front: what clients send is echoed by its method.
type relayed struct {
	relay, target candid.Principal
	settings      relay.Settings
}

// failedTag wraps what a client gets instead of a reply.
const failedTag = "Failed"

func (w *world) relayed(target candid.Principal, change func(*relay.Settings)) relayed {
	w.Helper()
	r := relayed{relay: w.Create(), target: target}
	r.settings = relay.Settings{
		Calls: []relay.Call{{
			Target:   relay.Target{Canister: r.target, Method: "echo"},
			Reply:    relay.ReplySender,
			ErrorTag: failedTag,
		}},
		Admins: []candid.Principal{w.identity.Principal()},
	}
	if change != nil {
		change(&r.settings)
	}
	w.InstallCode(r.relay, canister.Wasm32(), r.argument(w))
	return r
}

// target is a new canister that knows nothing of WebSockets.
func (w *world) target() candid.Principal {
	w.Helper()
	id := w.Create()
	w.InstallFile(id, targetFile, candid.EncodeEmpty())
	return id
}

func (r relayed) argument(w *world) []byte {
	w.Helper()
	arg, err := r.settings.Argument()
	if err != nil {
		w.Fatal(err)
	}
	return arg
}

// must is for steps of a test that have to work.
func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) ctx() context.Context {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.Cleanup(cancel)
	return ctx
}

func (w *world) stop(id candid.Principal)  { w.Helper(); w.must(w.Machine().Stop(w.ctx(), id)) }
func (w *world) start(id candid.Principal) { w.Helper(); w.must(w.Machine().Start(w.ctx(), id)) }

func (w *world) delete(id candid.Principal) {
	w.Helper()
	w.stop(id)
	w.must(w.Machine().Delete(w.ctx(), id))
}

// install puts code into a canister that has some, as a deploy tool does.
func (w *world) install(id candid.Principal, mode execution.Mode, code, arg []byte) {
	w.Helper()
	w.must(w.Machine().Install(w.ctx(), id, mode, code, arg, candid.Anonymous))
}

// call calls a method of a canister as somebody.
func (w *world) call(id candid.Principal, method string, arg []byte) []byte {
	w.Helper()
	reply, err := w.Client.Call(w.ctx(), w.identity, id, method, arg)
	w.must(err)
	return reply
}

var (
	provisionalType = candid.RecordOf(candid.Field{Label: "amount", Type: candid.OptOf(candid.NatType)})
	topUpType       = candid.RecordOf(
		candid.Field{Label: "canister_id", Type: candid.PrincipalType},
		candid.Field{Label: "amount", Type: candid.NatType},
	)
)

// poor is a new canister with little more than the cycles that it needs to be installed.
func (w *world) poor(file string) candid.Principal {
	w.Helper()
	reply, err := w.Client.CallEffective(w.ctx(), w.identity, w.Subnet(), candid.ManagementCanister,
		"provisional_create_canister_with_cycles", encode(w, provisionalType, candid.Fields{"amount": uint64(1)}))
	w.must(err)
	values, err := candid.Decode(reply, candid.Limits{})
	w.must(err)
	id, ok := values[0].Field("canister_id").Principal()
	if !ok {
		w.Fatalf("no canister in %x", reply)
	}
	w.InstallFile(id, file, candid.EncodeEmpty())
	return id
}

func (w *world) topUp(id candid.Principal, amount uint64) {
	w.Helper()
	_, err := w.Client.CallEffective(w.ctx(), w.identity, id, candid.ManagementCanister,
		"provisional_top_up_canister", encode(w, topUpType, candid.Fields{"canister_id": id, "amount": amount}))
	w.must(err)
}

// encode is the Candid of one value.
func encode(t testing.TB, typ candid.Type, value any) []byte {
	t.Helper()
	raw, err := candid.NewBuilder().Add(typ, value).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// eventually waits for something that happens elsewhere.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// setting is a number from the environment.
func setting(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number above 0", name, text)
	}
	return n
}
