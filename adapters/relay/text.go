package relay

import (
	"fmt"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

// CandidText is the settings as Candid text, for deploy tools that take an
// install argument in that form. It says the same as Argument; optional fields
// of calls, feeds and hooks that are not set are left out, which tools fill in
// when they read it with the canister's interface.
func (s Settings) CandidText() string {
	var b strings.Builder
	b.WriteString("(record {\n")
	fmt.Fprintf(&b, "  calls = %s;\n", vecText(s.Calls, Call.text))
	fmt.Fprintf(&b, "  feeds = %s;\n", vecText(s.Feeds, Feed.text))
	fmt.Fprintf(&b, "  admins = %s;\n", vecText(s.Admins, principalText))
	fmt.Fprintf(&b, "  hooks = %s;\n", optVecText(s.Hooks, Hook.text))
	fmt.Fprintf(&b, "  pushers = %s;\n", optVecText(s.Pushers, principalText))
	fmt.Fprintf(&b, "  gateways = %s;\n", optVecText(s.Gateways, principalText))
	fmt.Fprintf(&b, "  ack_interval_ms = %s;\n", optNatText(millis(s.AckInterval)))
	fmt.Fprintf(&b, "  keep_alive_timeout_ms = %s;\n", optNatText(millis(s.KeepAliveTimeout)))
	fmt.Fprintf(&b, "  max_messages = %s;\n", optNatText(s.MaxMessages))
	fmt.Fprintf(&b, "  max_calls_in_flight = %s;\n", optNatText(s.MaxCallsInFlight))
	fmt.Fprintf(&b, "  resume_ms = %s;\n", optNatText(millis(s.Resume)))
	fmt.Fprintf(&b, "  resume_tag = %s;\n", optionalQuote(s.ResumeTag))
	fmt.Fprintf(&b, "  interface = opt (%d : nat32);\n", Interface)
	b.WriteString("})\n")
	return b.String()
}

// TextNeedsInterface reports whether CandidText means something else to a tool
// that reads it without the canister's interface: such a tool takes the type of
// a list's first element for that of all, so that lists whose elements differ
// in their optional fields are encoded wrongly, and some without an error.
func (s Settings) TextNeedsInterface() bool {
	return !alike(s.Calls, Call.shape) || !alike(s.Feeds, Feed.shape) || !alike(s.Hooks, Hook.shape)
}

func alike[T any](list []T, shape func(T) string) bool {
	for _, element := range list {
		if shape(element) != shape(list[0]) {
			return false
		}
	}
	return true
}

// The shapes say what decides the type of an element's text.
func (c Call) shape() string {
	return fmt.Sprint(c.Tag != "", c.PassClient, c.Reply, c.ReplyTag != "", c.ErrorTag != "")
}

func (f Feed) shape() string {
	return fmt.Sprint(f.Tag != "", f.Recipient != "", f.Last != 0, millis(f.Interval) != 0)
}

func (h Hook) shape() string { return fmt.Sprint(h.Open != "", h.Close != "") }

func vecText[T any](list []T, text func(T) string) string {
	if len(list) == 0 {
		return "vec {}"
	}
	var b strings.Builder
	b.WriteString("vec {\n")
	for _, element := range list {
		fmt.Fprintf(&b, "    %s;\n", text(element))
	}
	b.WriteString("  }")
	return b.String()
}

func optVecText[T any](list []T, text func(T) string) string {
	if len(list) == 0 {
		return "null"
	}
	return "opt " + vecText(list, text)
}

func optNatText(n uint64) string {
	if n == 0 {
		return "null"
	}
	return fmt.Sprintf("opt (%d : nat64)", n)
}

func optionalQuote(text string) string {
	if text == "" {
		return "null"
	}
	return "opt " + quote(text)
}

func principalText(p candid.Principal) string { return fmt.Sprintf("principal %q", p.String()) }

func (c Call) text() string {
	r := recordText{"target", principalText(c.Canister), "method", quote(c.Method)}
	r.addText("tag", c.Tag)
	if c.PassClient {
		r.add("pass_client", "opt true")
	}
	if c.Reply != ReplyNobody {
		r.add("reply", "opt variant { "+replyTags[c.Reply]+" }")
	}
	r.addText("reply_tag", c.ReplyTag)
	r.addText("error_tag", c.ErrorTag)
	return r.String()
}

func (f Feed) text() string {
	r := recordText{"target", principalText(f.Canister), "method", quote(f.Method)}
	r.addText("tag", f.Tag)
	r.addText("recipient", f.Recipient)
	r.addNat("last", f.Last)
	r.addNat("interval_ms", millis(f.Interval))
	return r.String()
}

func (h Hook) text() string {
	r := recordText{"target", principalText(h.Canister)}
	r.addText("open", h.Open)
	r.addText("close", h.Close)
	return r.String()
}

// recordText is names and values of a record's fields in turn.
type recordText []string

func (r *recordText) add(name, value string) { *r = append(*r, name, value) }

func (r *recordText) addText(name, text string) {
	if text != "" {
		r.add(name, "opt "+quote(text))
	}
}

func (r *recordText) addNat(name string, n uint64) {
	if n != 0 {
		r.add(name, optNatText(n))
	}
}

func (r recordText) String() string {
	fields := make([]string, 0, len(r)/2)
	for i := 0; i < len(r); i += 2 {
		fields = append(fields, r[i]+" = "+r[i+1])
	}
	return "record { " + strings.Join(fields, "; ") + " }"
}

// quote writes a text literal. Candid takes all but quotes, backslashes and
// control characters as they are.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u{%x}`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
