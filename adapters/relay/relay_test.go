package relay

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var entryType = candid.RecordOf(
	candid.Field{Label: "author", Type: candid.TextType},
	candid.Field{Label: "text", Type: candid.TextType},
)

func entry(t testing.TB, author, text string) []byte {
	t.Helper()
	raw, err := candid.NewBuilder().Add(entryType, candid.Fields{"author": author, "text": text}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A stage is a network with a guestbook and a relay canister in front of it.
type stage struct {
	*testnet.Network
	guestbook, relay candid.Principal
	gateway          ic.Identity
	settings         Settings
}

func newStage(t *testing.T, change func(*stage)) *stage {
	t.Helper()
	s := &stage{Network: testnet.Start(t), gateway: testnet.Identity(t)}
	s.guestbook, s.relay = s.Create(), s.Create()
	s.settings = Settings{
		Calls:         []Call{{Target: Target{s.guestbook, "post"}}},
		Feeds:         []Feed{{Target: Target{s.guestbook, "since"}}},
		Admins:        []candid.Principal{s.gateway.Principal()},
		WatchInterval: 20 * time.Millisecond,
	}
	if change != nil {
		change(s)
	}
	s.InstallFile(s.guestbook, "examples/motoko/guestbook/guestbook.wasm", candid.EncodeEmpty())
	arg, err := s.settings.Argument()
	if err != nil {
		t.Fatal(err)
	}
	s.InstallCode(s.relay, canister.Wasm32(), arg)
	return s
}

// The suite over the relay canister in front of an ordinary canister.
func TestConformance(t *testing.T) {
	adaptertest.Run(t, func(t *testing.T) adaptertest.Target {
		s := newStage(t, nil)
		// Nobody watches here, so the guestbook's entries do not come back as messages.
		return adaptertest.Target{
			Adapter:     New(s.Client, s.gateway, s.settings, slog.New(slog.DiscardHandler)),
			Canister:    s.relay,
			Gateway:     s.gateway.Principal(),
			Verifier:    s.Verifier,
			Unrelated:   New(s.Client, testnet.Identity(t), s.settings, slog.New(slog.DiscardHandler)),
			Unreachable: New(s.DeadClient(), s.gateway, s.settings, slog.New(slog.DiscardHandler)),
			Missing:     candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01"),
			Stop:        func(ctx context.Context) error { return s.Machine().Stop(ctx, s.relay) },
			Start:       func(ctx context.Context) error { return s.Machine().Start(ctx, s.relay) },
			Content:     func(n int) []byte { return entry(t, "somebody", fmt.Sprint(n)) },
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

// watch runs Watch until the test ends and returns the count of its signals.
func (s *stage) watch(t *testing.T, adapter *Adapter) (changes func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	n := 0
	done := make(chan error, 1)
	go func() {
		done <- adapter.Watch(ctx, s.relay, func() {
			mu.Lock()
			defer mu.Unlock()
			n++
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// What is posted to the guestbook by anybody is pulled because the gateway watches.
func TestWatch(t *testing.T) {
	s := newStage(t, nil)
	adapter := New(s.Client, s.gateway, s.settings, slog.New(slog.DiscardHandler))
	if err := adapter.Check(t.Context(), s.relay); err != nil {
		t.Fatal(err)
	}
	changes := s.watch(t, adapter)
	if _, err := s.Client.Call(t.Context(), ic.AnonymousIdentity{}, s.guestbook, "post", entry(t, "ann", "hello")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watch has the entry pulled", func() bool { return changes() > 0 })
}

// A feed that does not work is one sentence in the log, at the check and while
// watching, and the other feeds go on.
func TestBadFeeds(t *testing.T) {
	tests := []struct {
		name, method, want string
	}{
		{"no such method", "sinse", "sinse"},
		{"not a vec", "textSince", "must be a query (nat) -> (vec T)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, func(s *stage) {
				odd := s.Create()
				s.InstallFile(odd, "e2e/canisters/faulty/faulty.wasm", candid.EncodeEmpty())
				s.settings.Feeds = append([]Feed{{Target: Target{odd, test.method}}}, s.settings.Feeds...)
			})
			log := new(testlog.Book)
			adapter := New(s.Client, s.gateway, s.settings, slog.New(slog.NewTextHandler(log, nil)))
			if err := adapter.Check(t.Context(), s.relay); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check = %v, want %q in it", err, test.want)
			}
			changes := s.watch(t, adapter)
			eventually(t, "the log names the feed", func() bool { return log.Contains(test.want) })
			if _, err := s.Client.Call(t.Context(), ic.AnonymousIdentity{}, s.guestbook, "post", entry(t, "ann", "hello")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the other feed goes on", func() bool { return changes() > 0 })
		})
	}
}

// A target that is stopped when the first client comes: the search for the
// feed's end fails then, and is taken up again before anything new is missed.
func TestSeekIsTakenUpAgain(t *testing.T) {
	s := newStage(t, nil)
	if err := s.Machine().Stop(t.Context(), s.guestbook); err != nil {
		t.Fatal(err)
	}
	adapter := New(s.Client, s.gateway, s.settings, slog.New(slog.DiscardHandler))
	identity := testnet.Identity(t)
	env := ic.NewCall(s.relay, "ws_open", candid.EncodeOpenArgs(1, s.gateway.Principal()), time.Now())
	if err := ic.Sign(env, identity); err != nil {
		t.Fatal(err)
	}
	key := candid.ClientKey{Principal: identity.Principal(), Nonce: 1}
	if err := adapter.Open(t.Context(), bridge.Envelope{
		Canister: s.relay, Client: key, RequestID: env.RequestID(), Expiry: time.Now().Add(time.Minute), Bytes: env.Encode(),
	}); err != nil {
		t.Fatal(err)
	}
	seeking := func() bool {
		reply, err := s.Client.Query(t.Context(), s.gateway, s.relay, "relay_status", candid.EncodeEmpty())
		if err != nil {
			t.Fatal(err)
		}
		status, err := decodeStatus(reply)
		if err != nil {
			t.Fatal(err)
		}
		return status.feeds[s.settings.Feeds[0].Target].seeking
	}
	s.watch(t, adapter)
	if !seeking() {
		t.Fatal("the end of a stopped target's feed was found")
	}
	if err := s.Machine().Start(t.Context(), s.guestbook); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end is found", func() bool { return !seeking() })
	if _, err := s.Client.Call(t.Context(), ic.AnonymousIdentity{}, s.guestbook, "post", entry(t, "ann", "hello")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entry is a message", func() bool {
		batch, err := adapter.Poll(t.Context(), s.relay, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(batch.Messages) == 2
	})
}
