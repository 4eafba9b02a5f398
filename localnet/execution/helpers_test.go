package execution

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//go:embed testdata/*.wasm
var modules embed.FS

// moduleSuffix chooses the files that moduleFile takes: "" those with a 32-bit
// memory, "64" what the Motoko compiler emits by default.
var moduleSuffix = ""

func moduleFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := modules.ReadFile("testdata/" + name + moduleSuffix + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const user = candid.Principal("\x01\x02\x03user\x02")

func newMachine(t testing.TB, opts Options) *Machine {
	t.Helper()
	if os.Getenv("CANISTER_LOG") != "" {
		opts.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	m := New(opts)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func install(t testing.TB, m *Machine, wasm, arg []byte) candid.Principal {
	t.Helper()
	id, err := m.CreateCanister([]candid.Principal{user})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Install(context.Background(), id, ModeInstall, wasm, arg, user); err != nil {
		t.Fatal(err)
	}
	return id
}

func installFile(t testing.TB, m *Machine, name string, arg []byte) candid.Principal {
	t.Helper()
	return install(t, m, moduleFile(t, name), arg)
}

func assemble(text string) []byte { return wasmtest.Assemble(text) }

func installText(t testing.TB, m *Machine, text string) candid.Principal {
	t.Helper()
	return install(t, m, assemble(forWidth(text)), nil)
}

// submit sends an update and waits for its result.
func submit(t testing.TB, m *Machine, canister candid.Principal, method string, arg []byte) Result {
	t.Helper()
	return submitAs(t, m, user, canister, method, arg)
}

func submitAs(t testing.TB, m *Machine, sender, canister candid.Principal, method string, arg []byte) Result {
	t.Helper()
	ch := make(chan Result, 1)
	err := m.Submit(Ingress{Sender: sender, Canister: canister, Method: method, Arg: arg}, func(r Result) { ch <- r })
	var rej *Reject
	if errors.As(err, &rej) {
		return Result{Reject: rej}
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-ch:
		return r
	case <-time.After(30 * time.Second):
		t.Fatalf("no response to %s", method)
		return Result{}
	}
}

func ask(t testing.TB, m *Machine, canister candid.Principal, method string, arg []byte) Result {
	t.Helper()
	return m.Query(context.Background(), user, canister, method, arg)
}

// args encodes an argument tuple.
func args(t testing.TB, values ...any) []byte {
	t.Helper()
	b := candid.NewBuilder()
	for _, v := range values {
		switch v := v.(type) {
		case int:
			b.Add(candid.NatType, v)
		case string:
			b.Add(candid.TextType, v)
		case []byte:
			b.Add(candid.BlobType, v)
		case candid.Principal:
			b.Add(candid.PrincipalType, v)
		default:
			t.Fatalf("no Candid type for %T", v)
		}
	}
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// value is the first value of a reply, rendered.
func value(t testing.TB, r Result) string {
	t.Helper()
	if r.Reject != nil {
		t.Fatalf("rejected with %d %s: %s", r.Reject.Code, r.Reject.ErrorCode, r.Reject.Text)
	}
	vs, err := candid.Decode(r.Reply, candid.Limits{})
	if err != nil {
		t.Fatalf("decode %x: %v", r.Reply, err)
	}
	texts := make([]string, 0, len(vs))
	for _, v := range vs {
		texts = append(texts, v.String())
	}
	return strings.Join(texts, ", ")
}

func wantValue(t testing.TB, r Result, want string) {
	t.Helper()
	if got := value(t, r); got != want {
		t.Fatalf("value %s, expected %s", got, want)
	}
}

func wantReject(t testing.TB, r Result, code int, errorCode, text string) {
	t.Helper()
	if r.Reject == nil {
		t.Fatalf("a reply of %d bytes, expected reject %s with %q", len(r.Reply), errorCode, text)
	}
	if r.Reject.Code != code || r.Reject.ErrorCode != errorCode || !strings.Contains(r.Reject.Text, text) {
		t.Fatalf("reject %d %s: %s\nexpected %d %s with %q", r.Reject.Code, r.Reject.ErrorCode, r.Reject.Text, code, errorCode, text)
	}
}
