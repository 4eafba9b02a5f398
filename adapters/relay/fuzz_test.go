package relay

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testalloc"
)

// FuzzSettings: settings of whatever texts and numbers are the same again when
// they come back from the canister, and when somebody reads their Candid text.
func FuzzSettings(f *testing.F) {
	f.Add("post", "tag", "reply tag", "field", []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01"), uint64(1500), byte(1))
	f.Add("", "", "", "", []byte{}, uint64(0), byte(0))
	f.Add("say \"it\"", "\\", "\x00\x1f\x7f\n\r\t", "größer \u2028 👍", []byte{4}, uint64(math.MaxUint64), byte(0xff))
	f.Add("0", "nat", "a b;c}", "{", make([]byte, candid.MaxPrincipalLength), uint64(1)<<53, byte(2))
	f.Add("\\u{41}", "\xff", "\ufeff", "\U0010ffff", []byte("x"), uint64(7), byte(3))
	f.Fuzz(func(t *testing.T, method, tag, replyTag, recipient string, canister []byte, number uint64, bits byte) {
		texts := []string{method, tag, replyTag, recipient}
		p, err := candid.PrincipalFromBytes(canister)
		if err != nil {
			return
		}
		interval := time.Duration(number%(1<<40)) * time.Millisecond //nolint:gosec // bounded
		target := Target{p, method}
		s := Settings{
			Calls: []Call{
				{target, tag, bits&1 != 0, Reply(bits >> 1 % 3), replyTag, recipient},
				{target, replyTag, bits&2 != 0, Reply(bits >> 2 % 3), recipient, tag},
			},
			Feeds: []Feed{{target, tag, recipient, number, interval}, {Target: target}},
			Hooks: []Hook{{p, tag, replyTag}}, Admins: []candid.Principal{p}, Pushers: []candid.Principal{p, p}, Gateways: []candid.Principal{p},
			AckInterval: interval, KeepAliveTimeout: interval / 2 / time.Millisecond * time.Millisecond, MaxMessages: number, MaxCallsInFlight: number >> 3,
			Resume: interval, ResumeTag: recipient,
		}
		if bits&8 != 0 {
			s.Calls, s.Hooks, s.Gateways = nil, nil, nil
		}
		raw, err := s.Argument()
		if valid := !slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) }); err != nil {
			if valid {
				t.Fatalf("%+v: %v", s, err)
			}
			return
		}
		decoded, err := decodeConfig(raw)
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		if diff := cmp.Diff(s, decoded, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("as bytes: %s", diff)
		}
		text := s.CandidText()
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Fatalf("control characters in %q", text)
		}
		read, number := settingsOfText(t, text)
		if diff := cmp.Diff(s, read, cmpopts.EquateEmpty()); diff != "" || number != Interface {
			t.Fatalf("interface %d, as text: %s\n%s", number, diff, text)
		}
	})
}

// answers are what relay canisters say.
func answers(f *testing.F) {
	f.Helper()
	for _, raw := range oddAnswers {
		f.Add(raw)
	}
	feed := candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType}, candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "cursor", Type: candid.NatType}, candid.Field{Label: "is_seeking", Type: candid.BoolType},
		candid.Field{Label: "last_error", Type: candid.OptOf(candid.TextType)},
	)
	rejected := candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType}, candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "id", Type: candid.NatType}, candid.Field{Label: "text", Type: candid.TextType},
	)
	whole := candid.RecordOf(candid.Field{Label: "feeds", Type: candid.VecOf(feed)}, candid.Field{Label: "rejections", Type: candid.VecOf(rejected)})
	pulled := candid.VariantOf(candid.Field{Label: "Ok", Type: candid.NatType}, candid.Field{Label: "Err", Type: candid.TextType})
	version := candid.RecordOf(candid.Field{Label: "version", Type: candid.TextType}, candid.Field{Label: "interface", Type: candid.Nat32Type})
	for _, answer := range []struct {
		t candid.Type
		v any
	}{
		{whole, candid.Fields{
			"feeds": []candid.Fields{
				{"target": someCanister, "method": "since", "cursor": uint64(7), "is_seeking": true, "last_error": "odd"},
				{"target": otherCanister, "method": "since", "cursor": uint64(math.MaxUint64), "is_seeking": false},
			},
			"rejections": []candid.Fields{{"target": someCanister, "method": "post", "id": uint64(3), "text": "no"}},
		}},
		{pulled, candid.Tag{Label: "Ok", Value: uint64(9)}},
		{pulled, candid.Tag{Label: "Err", Value: "no such feed"}},
		{version, candid.Fields{"version": "1.2.3", "interface": uint32(1)}},
	} {
		raw, err := candid.NewBuilder().Add(answer.t, answer.v).Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
}

// FuzzAnswers: whatever a canister answers, the adapter reads it or says no.
// What it reads stands in the answer, and is bounded like it.
func FuzzAnswers(f *testing.F) {
	answers(f)
	raw, err := everything().Argument()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		const values, each = 100_000, 512 // of candid.Limits
		testalloc.Within(t, "a relay canister's answer", 4*values*each, func() { readAnswers(t, raw) })
	})
}

func readAnswers(t *testing.T, raw []byte) {
	t.Helper()
	contains := func(text string) {
		if !strings.Contains(string(raw), text) {
			t.Fatalf("%q is not in the answer", text)
		}
	}
	if s, err := decodeStatus(raw); err == nil {
		for target, feed := range s.feeds {
			contains(string(target.Canister))
			contains(target.Method)
			contains(feed.problem)
		}
		for _, r := range s.rejections {
			contains(r.text)
		}
	}
	if v, ok := decodeVersion(raw); ok && (len(v.Version) > 100 || !utf8.ValidString(v.Version)) {
		t.Fatalf("version %q", v.Version)
	}
	if _, err := decodePulled(raw); err != nil {
		if text, ok := bridge.RefusalText(err); ok {
			contains(text)
		}
	}
	if s, err := decodeConfig(raw); err == nil {
		if d := s.differences(s); len(d) > 0 {
			t.Fatalf("%v differs from itself: %v", s, d)
		}
	}
}
