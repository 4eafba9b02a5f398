package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// withRelay is the good configuration with more in its [route.relay], from line 25 on.
func withRelay(settings string) string { return good + "[route.relay]\n" + settings + "\n" }

// lists is the good configuration with n more of one of the relay's tables of
// four lines each, from line 24 on.
func lists(table string, n int, each func(i int) string) string {
	var b strings.Builder
	b.WriteString(good)
	for i := range n {
		fmt.Fprintf(&b, "[[route.relay.%s]]\ntarget = \"guestbook\"\n%s\n", table, each(i))
	}
	return b.String()
}

func call(settings string) string {
	return good + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\n" + settings + "\n"
}

func feed(settings string) string {
	return good + "[[route.relay.feed]]\ntarget = \"guestbook\"\nmethod = \"m\"\n" + settings + "\n"
}

func hook(settings string) string { return good + "[[route.relay.hook]]\n" + settings + "\n" }

// What the relay canister would refuse is refused here, with the line.
func TestRelayRules(t *testing.T) {
	long := strings.Repeat("n", 1001)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"a tag twice", call("tag = \"t\"") + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"n\"\ntag = \"t\"\n",
			[]string{`:31: route[0].relay.call[2].tag: "t" has a call already`}},
		{"two calls without a tag, not the first", call("tag = \"t\"") + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"n\"\n",
			[]string{`:28: route[0].relay.call[2].tag: missing: route[0].relay.call[0] has none either`}},
		{"tags with one hash", call("tag = \"aaazaa\"") + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"n\"\ntag = \"cctakw\"\n",
			[]string{`:31: route[0].relay.call[2].tag: "cctakw" and "aaazaa" are the same tag in Candid`}},
		{"empty tags", call("tag = \"\"\nreply = \"sender\"\nreply_tag = \"\"\nerror_tag = \"\""),
			[]string{":27: route[0].relay.call[1].tag: must not be empty", ":29: route[0].relay.call[1].reply_tag: must not be empty", ":30: route[0].relay.call[1].error_tag: must not be empty"}},
		{"an empty tag in an inline table", replaced(t, "  [[route.relay.call]]\n  target = \"guestbook\"\n  method = \"post\"\n", "relay.call = [{ target = \"guestbook\", method = \"post\", tag = \"\" }]\n"),
			[]string{":18: route[0].relay.call[0].tag: must not be empty"}},
		{"long names", call("tag = \"" + long + "\"\nreply = \"everybody\"\nreply_tag = \"" + long + "\"\nerror_tag = \"" + long + "\""),
			[]string{":27: route[0].relay.call[1].tag: has 1001 bytes; a tag or field has at most 1000", ":29: route[0].relay.call[1].reply_tag: has 1001", ":30: route[0].relay.call[1].error_tag: has 1001"}},
		{"a long name in few letters", call("tag = \"" + strings.Repeat("ü", 501) + "\""), []string{":27: route[0].relay.call[1].tag: has 1002 bytes"}},
		{"another reply", call("tag = \"t\"\nreply = \"Sender\""), []string{`:28: route[0].relay.call[1].reply: "Sender" is not one of nobody, sender, everybody`}},
		{"an empty reply", call("tag = \"t\"\nreply = \"\""), []string{`:28: route[0].relay.call[1].reply: "" is not one of nobody`}},
		{"a tag of no reply", call("tag = \"t\"\nreply_tag = \"r\""), []string{`:28: route[0].relay.call[1].reply_tag: no reply is sent that it could wrap: set reply = "sender"`}},
		{"a tag of nobody's reply", call("tag = \"t\"\nreply = \"nobody\"\nreply_tag = \"r\""), []string{":29: route[0].relay.call[1].reply_tag: no reply"}},
		{"a call of anybody", call("tag = \"t\"") + "[[route.relay.call]]\ntarget = \"2vxsx-fae\"\nmethod = \"n\"\ntag = \"u\"\n",
			[]string{":29: route[0].relay.call[2].target: the anonymous principal is no canister"}},

		{"a feed twice", feed("tag = \"a\"") + "[[route.relay.feed]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = \"b\"\n", []string{":28: route[0].relay.feed[2]: guestbook.m is listed already"}},
		{"empty names of a feed", feed("tag = \"\"\nrecipient = \"\""), []string{":27: route[0].relay.feed[1].tag: must not be empty", ":28: route[0].relay.feed[1].recipient: must not be empty"}},
		{"long names of a feed", feed("tag = \"" + long + "\"\nrecipient = \"" + long + "\""), []string{":27: route[0].relay.feed[1].tag: has 1001", ":28: route[0].relay.feed[1].recipient: has 1001"}},
		{"too many last items", feed("last = 1001"), []string{":27: route[0].relay.feed[1].last: 1001 is not a number of items from 0 to 1000"}},
		{"fewer than no last items", feed("last = -1"), []string{":27: route[0].relay.feed[1].last: -1 is not"}},
		{"a short interval", feed(`interval = "99ms"`), []string{":27: route[0].relay.feed[1].interval: 99ms is too short: at least 100ms"}},
		{"a long interval", feed(`interval = "24h1ms"`), []string{":27: route[0].relay.feed[1].interval: 24h0m0.001s is too long: at most 24h"}},
		{"an interval of no whole milliseconds", feed(`interval = "100500us"`), []string{":27: route[0].relay.feed[1].interval: 100.5ms: the relay canister counts whole milliseconds"}},
		{"a negative interval", feed(`interval = "-1s"`), []string{":27: route[0].relay.feed[1].interval: -1s is negative"}},
		{"a feed of anybody", feed("") + "[[route.relay.feed]]\ntarget = \"2vxsx-fae\"\nmethod = \"m\"\n", []string{":29: route[0].relay.feed[2].target: the anonymous principal is no canister"}},

		{"a hook for nothing", hook("target = \"guestbook\""), []string{":24: route[0].relay.hook[0]: needs open, close or both"}},
		{"a hook of nobody", hook("open = \"opened\""), []string{":24: route[0].relay.hook[0].target: must be a principal or the name"}},
		{"a hook with an empty method", hook("target = \"guestbook\"\nopen = \"opened\"\nclose = \"\""), []string{":27: route[0].relay.hook[0].close: must name a method"}},
		{"a hook with a long method", hook("target = \"guestbook\"\nopen = \"" + strings.Repeat("m", 20_001) + "\""), []string{":26: route[0].relay.hook[0].open: has more than 20000 characters"}},
		{"a hook twice", lists("hook", 2, func(int) string { return "close = \"closed\"" }), []string{":27: route[0].relay.hook[1]: is listed already"}},
		{"a hook of an unknown canister", hook("target = \"guest\"\nopen = \"opened\""), []string{`:25: route[0].relay.hook[0].target: "guest" is neither a principal nor`}},

		{"257 calls", lists("call", 256, func(i int) string { return fmt.Sprintf("method = \"m\"\ntag = \"t%d\"", i) }), []string{":1044: route[0].relay.call[256]: a relay canister has at most 256 calls, these are 257"}},
		{"65 feeds", lists("feed", 64, func(i int) string { return fmt.Sprintf("method = \"m%d\"", i) }), []string{":213: route[0].relay.feed[64]: a relay canister has at most 64 feeds, these are 65"}},
		{"17 feeds with last", lists("feed", 17, func(i int) string { return fmt.Sprintf("method = \"m%d\"\nlast = 1", i) }), []string{"].last: a relay canister keeps the last items of at most 16 feeds"}},
		{"65 hooks", lists("hook", 65, func(i int) string { return fmt.Sprintf("open = \"m%d\"", i) }), []string{":216: route[0].relay.hook[64]: a relay canister has at most 64 hooks, these are 65"}},
		{"65 pushers", withRelay("pushers = " + principals(65)), []string{":25: route[0].relay.pushers: 65 are too many: a relay canister has at most 64"}},
		{"64 gateways and this one", withRelay("gateways = " + principals(64)), []string{":25: route[0].relay.gateways: 64 are too many: a relay canister has at most 63 gateways, besides the gateway"}},
		{"64 admins and the gateway", withRelay("admins = " + principals(64)), []string{":25: route[0].relay.admins: 64 are too many: a relay canister has at most 63 admins, besides the gateway"}},
		{"anonymous admin", withRelay(`admins = ["2vxsx-fae"]`), []string{":25: route[0].relay.admins[0]: the anonymous principal"}},
		{"anonymous gateway", withRelay(`gateways = ["2vxsx-fae"]`), []string{":25: route[0].relay.gateways[0]: the anonymous principal"}},
		{"anonymous pusher", withRelay(`pushers = ["2vxsx-fae"]`), []string{":25: route[0].relay.pushers[0]: the anonymous principal"}},
		{"a name as gateway", withRelay(`gateways = ["guestbook"]`), []string{`:25: route[0].relay.gateways[0]: "guestbook" is not a principal`}},
		{"an unknown pusher", withRelay(`pushers = ["guestbook", "game"]`), []string{`:25: route[0].relay.pushers[1]: "game" is neither a principal nor`}},
		{"long method", replaced(t, `"since"`, `"`+strings.Repeat("m", 20_001)+`"`), []string{":23: route[0].relay.feed[0].method: has more than 20000 characters"}},
		{"nothing to do", strings.Split(good, "  [[route.relay.call]]")[0] + "[route.relay]\nadmins = []\n", []string{":18: route[0].relay: a relay route needs a [[route.relay.call]]"}},

		{"no messages of a poll", withRelay("max_messages = -1"), []string{":25: route[0].relay.max_messages: -1 is negative"}},
		{"many messages of a poll", withRelay("max_messages = 1001"), []string{":25: route[0].relay.max_messages: 1001 is too many: at most 1000"}},
		{"many calls in flight", withRelay("max_calls_in_flight = 201"), []string{":25: route[0].relay.max_calls_in_flight: 201 is too many: at most 200"}},
		{"watch too short", withRelay(`watch_interval = "9ms"`), []string{":25: route[0].relay.watch_interval: 9ms is too short: at least 10ms"}},
		{"ack below 50ms", withRelay(`ack_interval = "500us"`), []string{":25: route[0].relay.ack_interval: 500µs is too short: at least 50ms"}},
		{"ack above a day", withRelay(`ack_interval = "24h1s"`), []string{":25: route[0].relay.ack_interval: 24h0m1s is too long"}},
		{"ack of no whole milliseconds", withRelay(`ack_interval = "70500us"`), []string{":25: route[0].relay.ack_interval: 70.5ms: the relay canister counts whole milliseconds"}},
		{"keep-alive below 50ms", withRelay(`keep_alive_timeout = "49ms"`), []string{":25: route[0].relay.keep_alive_timeout: 49ms is too short"}},
		{"ack not above keep-alive", withRelay("ack_interval = \"10s\"\nkeep_alive_timeout = \"10s\""), []string{":26: route[0].relay.keep_alive_timeout: keep_alive_timeout (10s) must be shorter than ack_interval (10s)"}},
		{"keep-alive above the default ack", withRelay(`keep_alive_timeout = "5m"`), []string{":25: route[0].relay.keep_alive_timeout: keep_alive_timeout (5m) must be shorter than ack_interval (5m)"}},
		{"a short resumption", withRelay(`resume = "999ms"`), []string{":25: route[0].relay.resume: 999ms is too short: at least 1s"}},
		{"a long resumption", withRelay(`resume = "1h1s"`), []string{":25: route[0].relay.resume: 1h0m1s is too long: a relay canister keeps messages for a lost connection for at most 1h"}},
		{"a negative resumption", withRelay(`resume = "-1s"`), []string{":25: route[0].relay.resume: -1s is negative"}},
		{"a resumption of no whole milliseconds", withRelay(`resume = "1000500us"`), []string{":25: route[0].relay.resume: 1.0005s: the relay canister counts whole milliseconds"}},
		{"an empty resume tag", withRelay("resume = \"2m\"\nresume_tag = \"\""), []string{":26: route[0].relay.resume_tag: must not be empty"}},
		{"a long resume tag", withRelay("resume = \"2m\"\nresume_tag = \"" + long + "\""), []string{":26: route[0].relay.resume_tag: has 1001 bytes"}},
		{"a resume tag for nothing", withRelay(`resume_tag = "Resumed"`), []string{`:25: route[0].relay.resume_tag: no connection is gone on with that it could tell of: set resume = "2m"`}},
		{"several things", call("tag = \"\"\nreply = \"all\"") + "[[route.relay.feed]]\ntarget = \"nobody\"\nlast = 2000\n",
			[]string{":27: route[0].relay.call[1].tag", ":28: route[0].relay.call[1].reply", ":30: route[0].relay.feed[1].target", ":29: route[0].relay.feed[1].method", ":31: route[0].relay.feed[1].last"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

// What the rules let through, up to each of their bounds.
func TestRelayAccepted(t *testing.T) {
	long := strings.Repeat("n", 1000)
	for name, text := range map[string]string{
		"256 calls":              lists("call", 255, func(i int) string { return fmt.Sprintf("method = \"m\"\ntag = \"t%d\"", i) }),
		"64 feeds":               lists("feed", 63, func(i int) string { return fmt.Sprintf("method = \"m%d\"", i) }),
		"64 hooks":               lists("hook", 64, func(i int) string { return fmt.Sprintf("open = \"m%d\"", i) }),
		"long lists":             withRelay("admins = " + principals(63) + "\ngateways = " + principals(63) + "\npushers = " + principals(64)),
		"long names":             call("tag = \"" + long + "\"\nreply = \"sender\"\nreply_tag = \"" + long + "\"\nerror_tag = \"" + long + "\""),
		"an error tag alone":     call("tag = \"t\"\nerror_tag = \"failed\""),
		"tags alone":             replaced(t, `method = "post"`, "method = \"post\"\ntag = \"post\""),
		"one method, two tags":   call("tag = \"a\"") + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = \"b\"\n",
		"one reply tag, twice":   call("tag = \"a\"\nreply = \"sender\"\nreply_tag = \"r\"") + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = \"b\"\nreply = \"sender\"\nreply_tag = \"r\"\n",
		"most last items":        feed("last = 1000"),
		"shortest interval":      feed(`interval = "100ms"`),
		"longest interval":       feed(`interval = "24h"`),
		"no interval":            feed(`interval = "0s"`),
		"a hook for both":        hook("target = \"guestbook\"\nopen = \"opened\"\nclose = \"closed\""),
		"two hooks, one target":  hook("target = \"guestbook\"\nopen = \"opened\"") + "[[route.relay.hook]]\ntarget = \"guestbook\"\nclose = \"closed\"\n",
		"largest limits":         withRelay("max_messages = 1000\nmax_calls_in_flight = 200"),
		"zero limits":            withRelay("max_messages = 0\nmax_calls_in_flight = 0"),
		"shortest resumption":    withRelay("resume = \"1s\"\nresume_tag = \"" + long + "\""),
		"longest resumption":     withRelay("resume = \"1h\""),
		"no resumption":          withRelay("resume = \"0s\""),
		"nothing but a hook":     strings.Split(good, "  [[route.relay.call]]")[0] + "[[route.relay.hook]]\ntarget = \"guestbook\"\nclose = \"closed\"\n",
		"nothing but pushers":    strings.Split(good, "  [[route.relay.call]]")[0] + "[route.relay]\npushers = [\"guestbook\"]\n",
		"pushers by name and id": withRelay(`pushers = ["guestbook", "ryjl3-tyaaa-aaaaa-aaaba-cai"]`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(write(t, text)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every key of a relay route arrives where it belongs.
func TestRelay(t *testing.T) {
	c, err := Load(write(t, replaced(t, "  [[route.relay.call]]\n", `[route.relay]
admins = ["ryjl3-tyaaa-aaaaa-aaaba-cai"]
gateways = ["qoctq-giaaa-aaaaa-aaaea-cai"]
pushers = ["guestbook"]
ack_interval = "10s"
keep_alive_timeout = "5s"
watch_interval = "1s"
max_messages = 7
max_calls_in_flight = 8
resume = "2m"
resume_tag = "Resumed"
[[route.relay.hook]]
target = "guestbook"
open = "opened"
close = "closed"
[[route.relay.feed]]
target = "guestbook"
method = "ticks"
tag = "tick"
recipient = "owner"
last = 9
interval = "2s"
[[route.relay.call]]
pass_client = true
tag = "post"
reply = "everybody"
reply_tag = "posted"
error_tag = "failed"
`)))
	if err != nil {
		t.Fatal(err)
	}
	want := Relay{
		Calls: []Call{{Target: "guestbook", Method: "post", Tag: "post", PassClient: true, Reply: ReplyEverybody, ReplyTag: "posted", ErrorTag: "failed"}},
		Feeds: []Feed{
			{Target: "guestbook", Method: "ticks", Tag: "tick", Recipient: "owner", Last: 9, Interval: Duration(2 * time.Second)},
			{Target: "guestbook", Method: "since"},
		},
		Hooks:            []Hook{{Target: "guestbook", Open: "opened", Close: "closed"}},
		Pushers:          []string{"guestbook"},
		Admins:           []string{"ryjl3-tyaaa-aaaaa-aaaba-cai"},
		Gateways:         []string{"qoctq-giaaa-aaaaa-aaaea-cai"},
		AckInterval:      Duration(10 * time.Second),
		KeepAliveTimeout: Duration(5 * time.Second),
		WatchInterval:    Duration(time.Second),
		MaxMessages:      7,
		MaxCallsInFlight: 8,
		Resume:           Duration(2 * time.Minute),
		ResumeTag:        "Resumed",
	}
	if got, want := fmt.Sprintf("%+v", *c.Routes[0].Relay), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("relay = %s\nwant    %s", got, want)
	}
}
