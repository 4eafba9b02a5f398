//go:build unix

package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

var testCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")

// A fakeBase is a base that counts, and answers as it is told.
type fakeBase struct {
	mu      sync.Mutex
	calls   map[string]int
	answers map[string]func(context.Context) error
	batch   bridge.Batch
	last    bridge.Envelope
}

func newFakeBase() *fakeBase {
	return &fakeBase{calls: make(map[string]int), answers: make(map[string]func(context.Context) error)}
}

func (b *fakeBase) set(method string, answer func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[method] = answer
}

func (b *fakeBase) count(method string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[method]
}

func (b *fakeBase) do(ctx context.Context, method string) error {
	b.mu.Lock()
	b.calls[method]++
	answer := b.answers[method]
	b.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

func (b *fakeBase) Open(ctx context.Context, env bridge.Envelope) error {
	b.mu.Lock()
	b.last = env
	b.mu.Unlock()
	return b.do(ctx, "open")
}

func (b *fakeBase) Message(ctx context.Context, env bridge.Envelope) error {
	b.mu.Lock()
	b.last = env
	b.mu.Unlock()
	ic.Answered(ctx)
	return b.do(ctx, "message")
}

func (b *fakeBase) Close(ctx context.Context, _ candid.Principal, _ candid.ClientKey) error {
	return b.do(ctx, "close")
}

func (b *fakeBase) Lost(ctx context.Context, _ candid.Principal, _ candid.ClientKey) error {
	return b.do(ctx, "lost")
}

func (b *fakeBase) Poll(ctx context.Context, _ candid.Principal, _ uint64) (bridge.Batch, error) {
	err := b.do(ctx, "poll")
	return b.batch, err
}

func (b *fakeBase) Check(ctx context.Context, _ candid.Principal) error { return b.do(ctx, "check") }

func (b *fakeBase) Watch(ctx context.Context, _ candid.Principal, changed func()) error {
	if err := b.do(ctx, "watch"); err != nil {
		return err
	}
	changed()
	<-ctx.Done()
	return ctx.Err()
}

func (b *fakeBase) Window() (messages, bytes int) { return 5, 5000 }

// envelope is a signed call of somebody.
func envelope(t testing.TB, method string, arg []byte) bridge.Envelope {
	t.Helper()
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	env := ic.NewCall(testCanister, method, arg, time.Now())
	if err := ic.Sign(env, identity); err != nil {
		t.Fatal(err)
	}
	return bridge.Envelope{
		Canister:  testCanister,
		Client:    candid.ClientKey{Principal: identity.Principal(), Nonce: 7},
		RequestID: env.RequestID(),
		Expiry:    time.Unix(0, int64(env.IngressExpiry)), //nolint:gosec // minutes from now
		Bytes:     env.Encode(),
	}
}

// message is a signed ws_message.
func message(t testing.TB, content string) bridge.Envelope {
	t.Helper()
	return envelope(t, "ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{SequenceNum: 3, Timestamp: 12345, Content: []byte(content)}))
}

// outputMessages are n messages of size bytes.
func outputMessages(n, size int) []candid.OutputMessage {
	messages := make([]candid.OutputMessage, n)
	for i := range messages {
		messages[i] = candid.OutputMessage{ClientKey: candid.ClientKey{Principal: "somebody", Nonce: 1}, Key: fmt.Sprintf("gateway_%020d", i), Content: make([]byte, size)}
	}
	return messages
}

func wantLost(t *testing.T, err error) {
	t.Helper()
	var lost *bridge.LostError
	if !errors.As(err, &lost) || !strings.Contains(lost.Text, "try again later") {
		t.Errorf("error is %v, want a LostError", err)
	}
}

func wantUnavailable(t *testing.T, what string, err error, part string) {
	t.Helper()
	var unavailable *bridge.UnavailableError
	if !errors.As(err, &unavailable) || !strings.Contains(unavailable.Text, part) {
		t.Errorf("%s: error is %v, want an UnavailableError with %q", what, err, part)
	}
}

// greet pings whoever listens at a socket.
func greet(t *testing.T, path string, config *tls.Config) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///localhost", grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = contract.NewHostClient(conn).Query(ctx, &contract.CallRequest{})
	if err != nil && strings.Contains(err.Error(), "nimplemented") {
		return nil // it has answered
	}
	return err
}
