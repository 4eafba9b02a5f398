package relay

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/testnet"
)

// A relay canister that is configured otherwise works; the log says what differs.
func TestCheckCompares(t *testing.T) {
	s := newStage(t, nil)
	other := s.settings
	other.Calls = []Call{{Target: Target{s.guestbook, "post"}, Tag: "post"}}
	other.AckInterval = time.Minute
	for _, tc := range []struct {
		name     string
		settings Settings
		want     []string
	}{
		{"the same", s.settings, nil},
		{"another", other, []string{"ack_interval is 5m0s in the canister, 1m0s in the file", "relay canister configure", "tag = ", s.relay.String()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := new(testlog.Book)
			if err := New(s.Client, s.gateway, tc.settings, log.Logger(slog.LevelInfo)).Check(t.Context(), s.relay); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(log.String(), "\n"); got != min(len(tc.want), 1) {
				t.Errorf("%d lines: %s", got, log.String())
			}
			for _, want := range tc.want {
				if !log.Contains(want) {
					t.Errorf("%q is not in %s", want, log.String())
				}
			}
		})
	}
	t.Run("a gateway that may not see it", func(t *testing.T) {
		log := new(testlog.Book)
		stranger := testnet.Identity(t)
		if err := New(s.Client, stranger, other, log.Logger(slog.LevelInfo)).Check(t.Context(), s.relay); err != nil {
			t.Fatal(err)
		}
		if log.String() != "" {
			t.Errorf("the log has %s", log.String())
		}
		if err := New(s.Client, stranger, other, log.Logger(slog.LevelDebug)).Check(t.Context(), s.relay); err != nil || !log.Contains("cannot be compared") {
			t.Errorf("Check = %v, the log has %s", err, log.String())
		}
	})
}

func TestSummary(t *testing.T) {
	if got := summary([]string{"a", "b"}); got != "a; b" {
		t.Errorf("summary = %q", got)
	}
	if got := summary(strings.Split(strings.Repeat("x", 12), "")); got != "x; x; x; x; x; x; x; x; and 4 more" {
		t.Errorf("summary = %q", got)
	}
}

// Configure gives the canister what the file has, and Differences agrees.
func TestConfigure(t *testing.T) {
	s := newStage(t, nil)
	wanted := s.settings
	wanted.Calls = []Call{{Target: Target{s.guestbook, "post"}, Tag: "post", PassClient: true, Reply: ReplySender, ReplyTag: "posted", ErrorTag: "failed"}}
	wanted.Feeds = append(slices.Clone(s.settings.Feeds), Feed{Target: Target{s.guestbook, "other"}, Tag: "t", Recipient: "r", Last: 3, Interval: time.Second})
	wanted.Hooks = []Hook{{s.guestbook, "opened", "closed"}}
	wanted.Pushers = []candid.Principal{someCanister}
	wanted.Gateways = []candid.Principal{s.gateway.Principal()}
	wanted.AckInterval, wanted.KeepAliveTimeout = time.Minute, 20*time.Second
	wanted.MaxMessages, wanted.MaxCallsInFlight = 10, 20
	wanted.Resume, wanted.ResumeTag = 2*time.Minute, "resumed"

	adapter := New(s.Client, s.gateway, wanted, slog.New(slog.DiscardHandler))
	before, err := adapter.Differences(t.Context(), s.relay)
	if err != nil || len(before) != 12 {
		t.Errorf("Differences = %d: %s, %v", len(before), strings.Join(before, "\n"), err)
	}
	if err := adapter.Configure(t.Context(), s.relay); err != nil {
		t.Fatal(err)
	}
	after, err := adapter.Differences(t.Context(), s.relay)
	if diff := cmp.Diff([]string(nil), after); diff != "" || err != nil {
		t.Errorf("after Configure: %s, %v", diff, err)
	}

	// Who is no admin is refused, and so are settings that make no sense, with the canister's words.
	err = New(s.Client, testnet.Identity(t), wanted, slog.New(slog.DiscardHandler)).Configure(t.Context(), s.relay)
	if text, refused := bridge.RefusalText(err); !refused || !strings.Contains(text, "only for controllers and admins") {
		t.Errorf("Configure by a stranger = %v", err)
	}
	wanted.MaxMessages = 5000
	err = New(s.Client, s.gateway, wanted, slog.New(slog.DiscardHandler)).Configure(t.Context(), s.relay)
	if text, refused := bridge.RefusalText(err); !refused || !strings.Contains(text, "max_messages") {
		t.Errorf("Configure with nonsense = %v", err)
	}
}
