package canister_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// variant encodes `variant { tag : T }` of a type that has another tag too.
func variant(t testing.TB, tag string, of candid.Type, value any) []byte {
	t.Helper()
	b, err := candid.NewBuilder().Add(candid.VariantOf(
		candid.Field{Label: tag, Type: of},
		candid.Field{Label: "Another tag", Type: candid.NatType},
	), candid.Tag{Label: tag, Value: value}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func textVariant(t testing.TB, tag, text string) []byte {
	t.Helper()
	return variant(t, tag, candid.TextType, text)
}

// Each tag of a variant has a method of its own, of whatever target; what no tag takes goes to the call without one.
func TestTagsRouteToMethods(t *testing.T) {
	w := newWorld(t)
	one, two := w.installTarget(), w.installTarget()
	w.installRelay(settings{
		calls: []method{{one, "put"}},
		routed: []call{
			{method: method{two, "put"}, tag: "Post"},
			{method: method{two, "putAs"}, tag: "PostAs", passClient: true},
			{method: method{two, "poke"}, tag: "Poke", passClient: true},
			{method: method{one, "say"}, tag: "sagä 🙂"},
		},
	})
	c := w.open(client(1), 1, gateway1)
	c.send(textVariant(t, "Post", "to two"))
	c.send(textVariant(t, "PostAs", "by me"))
	c.send(variant(t, "Poke", candid.NullType, nil))
	c.send(textVariant(t, "sagä 🙂", "into the feed"))
	c.send(candid.EncodeText("to one"))
	w.idle()
	me := client(1).String()
	if diff := cmp.Diff([]string{"to two", me + " by me", "poke " + me}, w.texts(two, "log")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"to one"}, w.texts(one, "log")); diff != "" {
		t.Error(diff)
	}
	if items := w.decode(w.ask(stranger, one, "since", candid.EncodeNat(0))); !strings.Contains(items.String(), "into the feed") {
		t.Errorf("the feed: %v", items)
	}
	// A variant that no tag takes goes whole to the call without one, whose method refuses it.
	c.send(textVariant(t, "Unknown", "x"))
	w.idle()
	if got := list(t, w.status(admin), "rejections"); len(got) != 1 || text(t, got[0], "method") != "put" {
		t.Errorf("rejections %v", got)
	}
}

// Without a call for everything, what no tag takes is refused with a sentence.
func TestMessagesThatNoTagTakes(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		content    []byte
	}{
		{"another tag", "No call is configured for this message", textVariant(t, "Other", "x")},
		{"no variant", "No call is configured for this message", candid.EncodeText("x")},
		{"no value", "The message cannot be passed on: ", candid.EncodeEmpty()},
		{"no Candid", "The message cannot be passed on: not Candid", []byte("hello")},
		{"cut short", "The message cannot be passed on: not readable as Candid", textVariant(t, "Post", "hello")[:20]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			target := w.installTarget()
			w.installRelay(settings{routed: []call{{method: method{target, "put"}, tag: "Post"}}})
			c := w.open(client(1), 1, gateway1)
			if got := w.result(c.start(1, tc.content)); !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			// It has taken up its number, and nobody else's time.
			c.sent = 1
			c.send(textVariant(t, "Post", "next"))
			w.idle()
			if diff := cmp.Diff([]string{"next"}, w.texts(target, "log")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// pass_client puts the client in front of the whole message, whatever it consists of.
func TestPassClient(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{routed: []call{{method: method{target, "putAs"}, passClient: true}}})
	a, b := w.open(client(1), 1, gateway1), w.open(client(2), 7, gateway2)
	a.send(candid.EncodeText("of a"))
	b.send(candid.EncodeText("of b"))
	w.idle()
	if diff := cmp.Diff([]string{client(1).String() + " of a", client(2).String() + " of b"}, w.texts(target, "log")); diff != "" {
		t.Error(diff)
	}
	if got := w.result(a.start(2, []byte("no Candid"))); !strings.HasPrefix(got, "The message cannot be passed on: ") {
		t.Errorf("got %q", got)
	}
}

// Messages out of their turn go where they would have gone when they came, also when the configuration changes meanwhile.
func TestHeldMessagesKeepTheirRoute(t *testing.T) {
	w := newWorld(t)
	one, two := w.installTarget(), w.installTarget()
	w.installRelay(settings{calls: []method{{one, "put"}}})
	c := w.open(client(1), 1, gateway1)
	for _, n := range []uint64{3, 2} {
		if text := w.result(c.start(n, candid.EncodeText(string(rune('0'+n))))); text != "" {
			t.Fatal(text)
		}
	}
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", settings{calls: []method{{two, "put"}}}.argument(t))); text != "" {
		t.Fatal(text)
	}
	c.send(candid.EncodeText("1"))
	w.idle()
	if diff := cmp.Diff([]string{"2", "3"}, w.texts(one, "log")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1"}, w.texts(two, "log")); diff != "" {
		t.Error(diff)
	}
}
