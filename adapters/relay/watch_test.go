package relay

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/execution"
)

// A source is a target whose items the test sets. Its feed `since` counts them;
// that of `pages` tells with each answer where the next items are: the item with
// number n lies at 1000 + 10 n.
type source struct {
	mu      sync.Mutex
	items   []string
	refuses bool // to be asked
	strict  bool // refuses to be asked beyond its end
	watched int  // queries by somebody anonymous, as the gateway's
	pulled  int  // by a canister
}

func (s *source) set(items ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = items
}

func (s *source) refuse(refuses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = refuses
}

func (s *source) beStrict(strict bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strict = strict
}

func (s *source) counts() (watched, pulled int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watched, s.pulled
}

var (
	itemsType = candid.VecOf(candid.TextType)
	pageType  = candid.RecordOf(candid.Field{Label: "items", Type: itemsType}, candid.Field{Label: "next", Type: candid.NatType})
)

func (s *source) install(t *testing.T, n *testnet.Network) candid.Principal {
	t.Helper()
	id := n.Create()
	method := func(answer func(cursor uint64) *candid.Builder) execution.NativeMethod {
		return execution.NativeMethod{Query: true, Run: func(call *execution.NativeCall) ([]byte, *execution.Reject) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if call.Caller.IsAnonymous() {
				s.watched++
			} else {
				s.pulled++
			}
			cursor, ok := call.Arg(0).Uint64()
			if !ok || s.refuses || s.strict && cursor > uint64(len(s.items)) {
				return nil, call.Trap("not today")
			}
			reply, err := answer(cursor).Bytes()
			if err != nil {
				return nil, call.Trap("%v", err)
			}
			return reply, nil
		}}
	}
	from := func(n uint64) []string { return s.items[min(n, uint64(len(s.items))):] }
	err := n.InstallBuiltin(t.Context(), id, &execution.Native{Methods: map[string]execution.NativeMethod{
		"since": method(func(cursor uint64) *candid.Builder { return candid.NewBuilder().Add(itemsType, from(cursor)) }),
		"pages": method(func(cursor uint64) *candid.Builder {
			n := uint64(0)
			if cursor >= 1000 {
				n = (cursor - 1000) / 10
			}
			return candid.NewBuilder().Add(pageType, candid.Fields{"items": from(n), "next": 1000 + 10*uint64(len(s.items))})
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A screening is a relay canister with one feed of a source, and a client that is connected.
type screening struct {
	*stage
	*testing.T
	source  *source
	feed    Feed
	adapter *Adapter
	log     *testlog.Book
}

func newScreening(t *testing.T, items []string, feed Feed) *screening {
	t.Helper()
	s := &screening{T: t, source: &source{items: items}, log: new(testlog.Book)}
	s.stage = newStage(t, func(stage *stage) {
		feed.Canister = s.source.install(t, stage.Network)
		stage.settings.Calls, stage.settings.Feeds = nil, []Feed{feed}
	})
	s.feed = feed
	s.adapter = New(s.Client, s.gateway, s.settings, slog.New(slog.NewTextHandler(s.log, nil)))
	s.adapter.readEvery = 500 * time.Millisecond
	if err := s.adapter.Open(t.Context(), openEnvelope(t, s.relay, s.gateway.Principal(), 1)); err != nil {
		t.Fatal(err)
	}
	s.eventually("the feed's end is found", func() bool { return !s.status().seeking })
	return s
}

func (s *screening) eventually(what string, ok func() bool) {
	s.Helper()
	eventually(s.T, what, ok)
}

func (s *screening) status() feedStatus {
	s.Helper()
	reply, err := s.Client.Query(s.Context(), s.gateway, s.relay, "relay_status", candid.EncodeEmpty())
	if err != nil {
		s.Fatal(err)
	}
	status, err := decodeStatus(reply)
	if err != nil {
		s.Fatal(err)
	}
	return status.feeds[s.feed.Target]
}

// looksWithoutPull waits until the gateway has looked so often at the feed
// without having it pulled in between. A pull under way may still end.
func (s *screening) looksWithoutPull(looks int) {
	s.Helper()
	watched, pulled := s.source.counts()
	s.eventually("the feed is looked at without a pull", func() bool {
		now, pulledNow := s.source.counts()
		if pulledNow != pulled {
			watched, pulled = now, pulledNow
		}
		return now >= watched+looks
	})
}

// received is the items that the client was sent.
func (s *screening) received() []string {
	s.Helper()
	batch, err := s.adapter.Poll(s.Context(), s.relay, 0)
	if err != nil {
		s.Fatal(err)
	}
	var texts []string
	for _, m := range batch.Messages {
		w, err := candid.DecodeWebsocketMessage(m.Content)
		if err != nil {
			s.Fatal(err)
		}
		if w.IsServiceMessage {
			continue
		}
		text, err := candid.DecodeText(w.Content)
		if err != nil {
			s.Fatal(err)
		}
		texts = append(texts, text)
	}
	return texts
}

func (s *screening) receives(want ...string) {
	s.Helper()
	s.eventually("the client receives "+strings.Join(want, ", "), func() bool { return slices.Equal(s.received(), want) })
}

// Items of a feed that says itself where the next ones are.
func TestWatchPages(t *testing.T) {
	s := newScreening(t, []string{"a", "b"}, Feed{Target: Target{Method: "pages"}})
	if err := s.adapter.Check(t.Context(), s.relay); err != nil {
		t.Error(err)
	}
	s.watch(t, s.adapter)
	s.source.set("a", "b", "c")
	s.receives("c")
	s.source.set("a", "b", "c", "d", "e")
	s.receives("c", "d", "e")
	// Nothing new: it is looked at, and nobody is told to pull.
	s.looksWithoutPull(10)
	// Such a feed may move on without items, for instance past some that nobody is to see.
	at := s.status().cursor
	s.source.set()
	s.eventually("the cursor moves", func() bool { return s.status().cursor != at })
}

// A target that was reinstalled has fewer items than were relayed: it is found
// out, and what it has is new.
func TestWatchFindsAReinstalledTarget(t *testing.T) {
	for name, strict := range map[string]bool{"that has nothing beyond its end": false, "that refuses to look there": true} {
		t.Run(name, func(t *testing.T) {
			s := newScreening(t, []string{"a", "b", "c"}, Feed{Target: Target{Method: "since"}})
			s.watch(t, s.adapter)
			s.source.set("a", "b", "c", "d")
			s.receives("d")
			s.source.beStrict(strict)
			s.source.set("x")
			s.receives("d", "x")
			s.source.set("x", "y")
			s.receives("d", "x", "y")
		})
	}
}

// A target that is the same as ever is not pulled because of that.
func TestWatchLeavesAQuietTargetAlone(t *testing.T) {
	s := newScreening(t, []string{"a"}, Feed{Target: Target{Method: "since"}})
	s.adapter.readEvery = 100 * time.Millisecond // also between looks back
	// A pull returns when the one under way, which found the feed's end, is over.
	arg, err := s.feed.pullArgument(0)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := s.Client.Call(t.Context(), s.gateway, s.relay, "relay_pull", arg)
	if err != nil {
		t.Fatal(err)
	}
	if cursor, err := decodePulled(reply); err != nil || cursor != 1 {
		t.Fatalf("pull = %d, %v", cursor, err)
	}
	watched, before := s.source.counts()
	s.watch(t, s.adapter)
	s.eventually("the feed is looked at for many of these", func() bool { now, _ := s.source.counts(); return now >= watched+100 })
	if _, after := s.source.counts(); after != before {
		t.Errorf("pulled %d times", after-before)
	}
}

// After a pull of no use the next look back comes later.
func TestLookBack(t *testing.T) {
	l := newLookBack(statusInterval)
	if !l.due() {
		t.Error("the first is not due at once")
	}
	l.again(true)
	if l.due() || l.wait != statusInterval {
		t.Errorf("after a useful one: %v", l)
	}
	for _, want := range []time.Duration{2 * statusInterval, 4 * statusInterval} {
		if l.again(false); l.wait != want {
			t.Errorf("wait %s, want %s", l.wait, want)
		}
	}
	for range 20 {
		l.again(false)
	}
	if l.wait != longestLookBack {
		t.Errorf("wait %s, want %s", l.wait, longestLookBack)
	}
	if l.again(true); l.wait != statusInterval {
		t.Errorf("wait %s, want %s again", l.wait, statusInterval)
	}
}

// The gateway does not ask a feed that the relay canister asks by itself, but
// says what is wrong with it.
func TestWatchLeavesTimersToTheCanister(t *testing.T) {
	s := newScreening(t, []string{"a"}, Feed{Target: Target{Method: "since"}, Interval: 100 * time.Millisecond})
	s.watch(t, s.adapter)
	s.source.set("a", "b")
	s.receives("b")
	s.source.refuse(true)
	if err := s.adapter.Check(t.Context(), s.relay); err != nil {
		t.Errorf("Check = %v: only the relay canister has to reach it", err)
	}
	s.eventually("the log names the feed's problem", func() bool { return s.log.Contains("feed does not work") && s.log.Contains("not today") })
	s.source.refuse(false)
	s.eventually("the log says that it works again", func() bool { return s.log.Contains("feed works again") })
	if watched, pulled := s.source.counts(); watched != 0 || pulled == 0 {
		t.Errorf("asked %d times by the gateway, %d times by the relay canister", watched, pulled)
	}
}

// A feed that only the file knows is said to be missing, with the command that brings it there.
func TestWatchMissesFeeds(t *testing.T) {
	for name, interval := range map[string]time.Duration{"watched": 0, "by timer": time.Second} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			settings := s.settings
			settings.Feeds = []Feed{{Target: Target{s.guestbook, "other"}, Interval: interval}}
			log := new(testlog.Book)
			s.watch(t, New(s.Client, s.gateway, settings, slog.New(slog.NewTextHandler(log, nil))))
			eventually(t, "the log names the feed", func() bool { return log.Contains("other is not in the relay canister's configuration") })
			if !log.Contains("relay canister configure") {
				t.Error("the log does not name the remedy")
			}
		})
	}
}

// A relay canister that was upgraded under a running gateway says itself that
// it does not know the gateway's interface.
func TestPullNamesTheInterface(t *testing.T) {
	s := newStage(t, nil)
	raw, err := candid.NewBuilder().Add(pullType, candid.Fields{"target": s.guestbook, "method": "since", "interface": uint32(Interface + 1)}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := s.Client.Call(t.Context(), s.gateway, s.relay, "relay_pull", raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodePulled(reply); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a pull of another interface: %v", err)
	}
	adapter := New(s.Client, s.gateway, s.settings, slog.New(slog.DiscardHandler))
	changes := s.watch(t, adapter)
	if _, err := s.Client.Call(t.Context(), ic.AnonymousIdentity{}, s.guestbook, "post", entry(t, "ann", "hello")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pull of this interface is taken", func() bool { return changes() > 0 })
}

// The same problem is the same text, though each TCP connection has a port of its own.
func TestTextOfErrors(t *testing.T) {
	for from, want := range map[string]string{
		"query: read tcp 127.0.0.1:45530->127.0.0.1:4943: connection reset by peer": "query: read tcp 127.0.0.1:4943: connection reset by peer",
		"read tcp [::1]:45530->[::1]:4943: i/o timeout\nmore":                       "read tcp [::1]:4943: i/o timeout",
		"refused: a -> b": "refused: a -> b",
	} {
		if got := textOf(errors.New(from)); got != want {
			t.Errorf("%q becomes %q, want %q", from, got, want)
		}
	}
}
