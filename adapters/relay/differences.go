package relay

import (
	"fmt"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

// differences says, one line each and with the keys of config.toml, where a
// relay canister's configuration is not the wanted one. The order of calls,
// feeds, hooks and principals means nothing.
func (s Settings) differences(wanted Settings) []string {
	s, wanted = s.withDefaults(), wanted.withDefaults()
	var d differences
	compareLists(&d, "call", s.Calls, wanted.Calls, Call.describe)
	compareLists(&d, "feed", s.Feeds, wanted.Feeds, Feed.describe)
	compareLists(&d, "hook", s.Hooks, wanted.Hooks, Hook.describe)
	compareLists(&d, "pushers", s.Pushers, wanted.Pushers, candid.Principal.String)
	compareLists(&d, "admins", s.Admins, wanted.Admins, candid.Principal.String)
	compareLists(&d, "gateways", s.Gateways, wanted.Gateways, candid.Principal.String)
	compare(&d, "ack_interval", s.AckInterval, wanted.AckInterval)
	compare(&d, "keep_alive_timeout", s.KeepAliveTimeout, wanted.KeepAliveTimeout)
	compare(&d, "max_messages", s.MaxMessages, wanted.MaxMessages)
	compare(&d, "max_calls_in_flight", s.MaxCallsInFlight, wanted.MaxCallsInFlight)
	compare(&d, "resume", s.Resume, wanted.Resume)
	if s.ResumeTag != wanted.ResumeTag {
		d.add("resume_tag is %q in the canister, %q in the file", s.ResumeTag, wanted.ResumeTag)
	}
	return d
}

type differences []string

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Sprintf(format, args...)) }

func compare[T comparable](d *differences, key string, canister, wanted T) {
	if canister != wanted {
		d.add("%s is %v in the canister, %v in the file", key, canister, wanted)
	}
}

func compareLists[T any](d *differences, key string, canister, wanted []T, describe func(T) string) {
	only := func(list, others []T, where string) {
		known := make(map[string]bool, len(others))
		for _, other := range others {
			known[describe(other)] = true
		}
		for _, element := range list {
			if text := describe(element); !known[text] {
				known[text] = true // once is enough
				d.add("%s %s is only in the %s", key, text, where)
			}
		}
	}
	only(canister, wanted, "canister")
	only(wanted, canister, "file")
}

// describe writes a call as an inline table of config.toml.
func (c Call) describe() string {
	t := inlineTable{}
	t.text("target", c.Canister.String())
	t.text("method", c.Method)
	t.text("tag", c.Tag)
	if c.PassClient {
		t.add("pass_client", "true")
	}
	if c.Reply != ReplyNobody {
		t.text("reply", strings.ToLower(replyTags[c.Reply]))
	}
	t.text("reply_tag", c.ReplyTag)
	t.text("error_tag", c.ErrorTag)
	return t.String()
}

func (f Feed) describe() string {
	t := inlineTable{}
	t.text("target", f.Canister.String())
	t.text("method", f.Method)
	t.text("tag", f.Tag)
	t.text("recipient", f.Recipient)
	if f.Last != 0 {
		t.add("last", fmt.Sprint(f.Last))
	}
	if f.Interval != 0 {
		t.text("interval", f.Interval.String())
	}
	return t.String()
}

func (h Hook) describe() string {
	t := inlineTable{}
	t.text("target", h.Canister.String())
	t.text("open", h.Open)
	t.text("close", h.Close)
	return t.String()
}

// inlineTable is the entries of a TOML table on one line.
type inlineTable []string

func (t *inlineTable) add(key, value string) { *t = append(*t, key+" = "+value) }

// text adds a text that is set.
func (t *inlineTable) text(key, value string) {
	if value != "" {
		t.add(key, fmt.Sprintf("%q", value))
	}
}

func (t inlineTable) String() string { return "{ " + strings.Join(t, ", ") + " }" }
