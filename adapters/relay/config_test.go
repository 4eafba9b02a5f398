package relay

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/icrelay/icrelay/candid"
)

const (
	someCanister  = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")
	otherCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01")
)

// everything has each field set.
func everything() Settings {
	return Settings{
		Calls: []Call{
			{Target: Target{someCanister, "post"}},
			{Target: Target{otherCanister, "join"}, Tag: "join", PassClient: true, Reply: ReplySender, ReplyTag: "joined", ErrorTag: "failed"},
			{Target: Target{otherCanister, "say"}, Tag: "say \"it\"", Reply: ReplyEverybody},
		},
		Feeds: []Feed{
			{Target: Target{someCanister, "since"}},
			{Target: Target{otherCanister, "ticks"}, Tag: "tick", Recipient: "owner", Last: 10, Interval: 1500 * time.Millisecond},
		},
		Hooks:            []Hook{{otherCanister, "opened", ""}, {someCanister, "", "closed"}},
		Admins:           []candid.Principal{someCanister, otherCanister},
		Pushers:          []candid.Principal{otherCanister},
		Gateways:         []candid.Principal{someCanister},
		AckInterval:      10 * time.Second,
		KeepAliveTimeout: 5 * time.Second,
		MaxMessages:      7,
		MaxCallsInFlight: 8,
		Resume:           2 * time.Minute,
		ResumeTag:        "resumed",
	}
}

// random makes settings with what may trip up an encoder.
func random(r *rand.Rand) Settings {
	names := []string{"", "a", `"`, `\`, "\x00\x1f\x7f\n\r\t", "größer \u2028 👍", "nat", "0", "a b;c}"}
	name := func() string { return names[r.IntN(len(names))] }
	principal := func() candid.Principal {
		return candid.Principal(fmt.Sprintf("%.*s", r.IntN(candid.MaxPrincipalLength+1), "\x00\xff\x01\x00\x00\x00\x00\x01\x01\x01abcdefghijklmnopqrstuvwxyz"))
	}
	target := func() Target { return Target{principal(), "m" + name()} }
	millis := func() time.Duration { return time.Duration(r.IntN(3)*r.IntN(86_400_000)) * time.Millisecond }
	var s Settings
	for range r.IntN(4) {
		s.Calls = append(s.Calls, Call{target(), name(), r.IntN(2) == 0, Reply(r.IntN(3)), name(), name()})
		s.Admins = append(s.Admins, principal())
	}
	for range r.IntN(4) {
		s.Feeds = append(s.Feeds, Feed{target(), name(), name(), uint64(r.IntN(1001)), millis()})
		s.Pushers = append(s.Pushers, principal())
	}
	for range r.IntN(4) {
		s.Hooks = append(s.Hooks, Hook{principal(), name(), name()})
		s.Gateways = append(s.Gateways, principal())
	}
	s.AckInterval, s.KeepAliveTimeout = millis(), millis()
	s.MaxMessages, s.MaxCallsInFlight = uint64(r.IntN(1001)), r.Uint64()
	s.Resume, s.ResumeTag = millis(), name()
	return s
}

// Argument and CandidText say the same, and decodeConfig understands it.
func TestConfig(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	all := []Settings{{}, everything()}
	for range 500 {
		all = append(all, random(r))
	}
	for i, s := range all {
		raw, err := s.Argument()
		if err != nil {
			t.Fatalf("settings %d: %v", i, err)
		}
		decoded, err := decodeConfig(raw)
		if err != nil {
			t.Fatalf("settings %d: %v", i, err)
		}
		if diff := cmp.Diff(s, decoded, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("settings %d, as bytes: %s", i, diff)
		}
		read, number := settingsOfText(t, s.CandidText())
		if diff := cmp.Diff(s, read, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("settings %d, as text: %s\n%s", i, diff, s.CandidText())
		}
		values, err := candid.Decode(raw, candid.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		encoded, _ := values[0].Field("interface").Opt()
		if n, ok := encoded.Uint64(); !ok || n != Interface || number != Interface {
			t.Fatalf("interface = %v as bytes, %d as text, want %d", encoded, number, Interface)
		}
	}
}

func TestCandidText(t *testing.T) {
	const want = `(record {
  calls = vec {
    record { target = principal "rrkah-fqaaa-aaaaa-aaaaq-cai"; method = "post" };
    record { target = principal "ryjl3-tyaaa-aaaaa-aaaba-cai"; method = "join"; tag = opt "join"; pass_client = opt true; reply = opt variant { Sender }; reply_tag = opt "joined"; error_tag = opt "failed" };
    record { target = principal "ryjl3-tyaaa-aaaaa-aaaba-cai"; method = "say"; tag = opt "say \"it\""; reply = opt variant { Everybody } };
  };
  feeds = vec {
    record { target = principal "rrkah-fqaaa-aaaaa-aaaaq-cai"; method = "since" };
    record { target = principal "ryjl3-tyaaa-aaaaa-aaaba-cai"; method = "ticks"; tag = opt "tick"; recipient = opt "owner"; last = opt (10 : nat64); interval_ms = opt (1500 : nat64) };
  };
  admins = vec {
    principal "rrkah-fqaaa-aaaaa-aaaaq-cai";
    principal "ryjl3-tyaaa-aaaaa-aaaba-cai";
  };
  hooks = opt vec {
    record { target = principal "ryjl3-tyaaa-aaaaa-aaaba-cai"; open = opt "opened" };
    record { target = principal "rrkah-fqaaa-aaaaa-aaaaq-cai"; close = opt "closed" };
  };
  pushers = opt vec {
    principal "ryjl3-tyaaa-aaaaa-aaaba-cai";
  };
  gateways = opt vec {
    principal "rrkah-fqaaa-aaaaa-aaaaq-cai";
  };
  ack_interval_ms = opt (10000 : nat64);
  keep_alive_timeout_ms = opt (5000 : nat64);
  max_messages = opt (7 : nat64);
  max_calls_in_flight = opt (8 : nat64);
  resume_ms = opt (120000 : nat64);
  resume_tag = opt "resumed";
  interface = opt (1 : nat32);
})
`
	if diff := cmp.Diff(want, everything().CandidText()); diff != "" {
		t.Error(diff)
	}
}

// Without the interface, a tool takes a list's first element for all.
func TestTextNeedsInterface(t *testing.T) {
	call := Call{Target: Target{someCanister, "m"}, Tag: "t"}
	with := func(change func(*Call)) Settings {
		other := call
		change(&other)
		return Settings{Calls: []Call{call, other}}
	}
	for name, tc := range map[string]struct {
		settings Settings
		want     bool
	}{
		"nothing":       {Settings{}, false},
		"everything":    {everything(), true},
		"alike":         {with(func(c *Call) { c.Tag, c.Method, c.Canister = "u", "n", otherCanister }), false},
		"a tag":         {with(func(c *Call) { c.Tag = "" }), true},
		"the client":    {with(func(c *Call) { c.PassClient = true }), true},
		"a reply":       {with(func(c *Call) { c.Reply = ReplySender }), true},
		"a reply's tag": {with(func(c *Call) { c.ReplyTag = "r" }), true},
		"an error tag":  {with(func(c *Call) { c.ErrorTag = "e" }), true},
		"two receivers": {Settings{Calls: []Call{{Reply: ReplySender}, {Reply: ReplyEverybody}}}, true},
		"feeds alike":   {Settings{Feeds: []Feed{{Last: 1}, {Last: 2}}}, false},
		"items":         {Settings{Feeds: []Feed{{Last: 1}, {}}}, true},
		"timers":        {Settings{Feeds: []Feed{{}, {Interval: time.Second}}}, true},
		"recipients":    {Settings{Feeds: []Feed{{}, {Recipient: "r"}}}, true},
		"feeds' tags":   {Settings{Feeds: []Feed{{}, {Tag: "t"}}}, true},
		"hooks alike":   {Settings{Hooks: []Hook{{Open: "a"}, {Open: "b"}}}, false},
		"hooks":         {Settings{Hooks: []Hook{{Open: "a"}, {Close: "b"}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.settings.TextNeedsInterface(); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A pull names the feed, how far the gateway is, and the interface that it speaks.
func TestPullArgument(t *testing.T) {
	raw, err := Target{someCanister, "since"}.pullArgument(5)
	if err != nil {
		t.Fatal(err)
	}
	values, err := candid.Decode(raw, candid.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if target, ok := targetOf(values[0]); !ok || target != (Target{someCanister, "since"}) {
		t.Errorf("target = %v", target)
	}
	for field, want := range map[string]uint64{"delivered": 5, "interface": Interface} {
		v, _ := values[0].Field(field).Opt()
		if n, ok := v.Uint64(); !ok || n != want {
			t.Errorf("%s = %v, want %d", field, v, want)
		}
	}
}

// Every difference is one line; the order of lists and defaults make none.
func TestDifferences(t *testing.T) {
	var defaults Settings
	spelledOut := Settings{AckInterval: 5 * time.Minute, KeepAliveTimeout: time.Minute, MaxMessages: 50, MaxCallsInFlight: 100}
	turned := everything()
	turned.Calls[0], turned.Calls[2] = turned.Calls[2], turned.Calls[0]
	turned.Admins[0], turned.Admins[1] = turned.Admins[1], turned.Admins[0]
	other := everything()
	other.Calls[1].Reply = ReplyNobody
	other.Feeds = other.Feeds[:1]
	other.Hooks[0].Open = "joined"
	other.Admins = append(other.Admins, candid.ManagementCanister)
	other.Gateways, other.Pushers = nil, nil
	other.AckInterval, other.MaxMessages = 0, 0
	for _, tc := range []struct {
		name             string
		canister, wanted Settings
		want             []string
	}{
		{"none", everything(), everything(), nil},
		{"defaults", defaults, spelledOut, nil},
		{"a short interval has its own default", Settings{AckInterval: 10 * time.Second}, Settings{AckInterval: 10 * time.Second, KeepAliveTimeout: 5 * time.Second}, nil},
		{"another order", everything(), turned, nil},
		{"twice the same admin", Settings{Admins: []candid.Principal{someCanister, someCanister}}, Settings{Admins: []candid.Principal{someCanister}}, nil},
		{"what the gateway watches", defaults, Settings{WatchInterval: time.Second}, nil},
		{"everything", everything(), other, []string{
			`call { target = "ryjl3-tyaaa-aaaaa-aaaba-cai", method = "join", tag = "join", pass_client = true, reply = "sender", reply_tag = "joined", error_tag = "failed" } is only in the canister`,
			`call { target = "ryjl3-tyaaa-aaaaa-aaaba-cai", method = "join", tag = "join", pass_client = true, reply_tag = "joined", error_tag = "failed" } is only in the file`,
			`feed { target = "ryjl3-tyaaa-aaaaa-aaaba-cai", method = "ticks", tag = "tick", recipient = "owner", last = 10, interval = "1.5s" } is only in the canister`,
			`hook { target = "ryjl3-tyaaa-aaaaa-aaaba-cai", open = "opened" } is only in the canister`,
			`hook { target = "ryjl3-tyaaa-aaaaa-aaaba-cai", open = "joined" } is only in the file`,
			"pushers ryjl3-tyaaa-aaaaa-aaaba-cai is only in the canister",
			"admins aaaaa-aa is only in the file",
			"gateways rrkah-fqaaa-aaaaa-aaaaq-cai is only in the canister",
			"ack_interval is 10s in the canister, 5m0s in the file",
			"max_messages is 7 in the canister, 50 in the file",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.canister.differences(tc.wanted), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodePulled(t *testing.T) {
	result := candid.VariantOf(candid.Field{Label: "Ok", Type: candid.NatType}, candid.Field{Label: "Err", Type: candid.TextType})
	encode := func(value any) []byte {
		raw, err := candid.NewBuilder().Add(result, value).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if n, err := decodePulled(encode(candid.Tag{Label: "Ok", Value: uint64(7)})); n != 7 || err != nil {
		t.Errorf("Ok 7 = %d, %v", n, err)
	}
	if _, err := decodePulled(encode(candid.Tag{Label: "Err", Value: "no such feed"})); err == nil || err.Error() != "refused: no such feed" {
		t.Errorf("Err = %v", err)
	}
	for name, raw := range oddAnswers {
		if _, err := decodePulled(raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// oddAnswers are no answers of a relay canister.
var oddAnswers = map[string][]byte{
	"nothing":         candid.EncodeEmpty(),
	"text":            candid.EncodeText("x"),
	"an empty record": []byte("DIDL\x01\x6c\x00\x01\x00"),
	"garbage":         []byte("x"),
}

func TestDecodersRefuseOthers(t *testing.T) {
	for name, raw := range oddAnswers {
		if _, err := decodeStatus(raw); err == nil {
			t.Errorf("%s is a status", name)
		}
		if _, err := decodeConfig(raw); err == nil {
			t.Errorf("%s is a configuration", name)
		}
		if v, ok := decodeVersion(raw); ok {
			t.Errorf("%s is version %v", name, v)
		}
	}
	// A field of another type is not read as if it were not there.
	wrong := candid.RecordOf(
		candid.Field{Label: "calls", Type: candid.VecOf(candid.NatType)},
		candid.Field{Label: "feeds", Type: candid.VecOf(candid.NatType)},
		candid.Field{Label: "admins", Type: candid.VecOf(candid.NatType)},
		candid.Field{Label: "max_messages", Type: candid.OptOf(candid.TextType)},
	)
	for name, fields := range map[string]candid.Fields{
		"calls of numbers":  {"calls": []uint64{1}, "feeds": []uint64{}, "admins": []uint64{}},
		"feeds of numbers":  {"calls": []uint64{}, "feeds": []uint64{1}, "admins": []uint64{}},
		"admins of numbers": {"calls": []uint64{}, "feeds": []uint64{}, "admins": []uint64{1}},
		"a number in words": {"calls": []uint64{}, "feeds": []uint64{}, "admins": []uint64{}, "max_messages": "ten"},
	} {
		raw, err := candid.NewBuilder().Add(wrong, fields).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeConfig(raw); err == nil {
			t.Errorf("%s are a configuration", name)
		}
	}
}
