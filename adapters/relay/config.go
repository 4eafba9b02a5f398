package relay

import (
	"time"

	"github.com/icrelay/icrelay/candid"
)

// The types of canister/relay.did that the adapter speaks.
var (
	optText   = candid.OptOf(candid.TextType)
	optNat64  = candid.OptOf(candid.Nat64Type)
	optNat32  = candid.OptOf(candid.Nat32Type)
	replyType = candid.VariantOf(
		candid.Field{Label: replyTags[ReplyNobody], Type: candid.NullType},
		candid.Field{Label: replyTags[ReplySender], Type: candid.NullType},
		candid.Field{Label: replyTags[ReplyEverybody], Type: candid.NullType},
	)
	callType = candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "tag", Type: optText},
		candid.Field{Label: "pass_client", Type: candid.OptOf(candid.BoolType)},
		candid.Field{Label: "reply", Type: candid.OptOf(replyType)},
		candid.Field{Label: "reply_tag", Type: optText},
		candid.Field{Label: "error_tag", Type: optText},
	)
	feedType = candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "tag", Type: optText},
		candid.Field{Label: "recipient", Type: optText},
		candid.Field{Label: "last", Type: optNat64},
		candid.Field{Label: "interval_ms", Type: optNat64},
	)
	hookType = candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "open", Type: optText},
		candid.Field{Label: "close", Type: optText},
	)
	configType = candid.RecordOf(
		candid.Field{Label: "calls", Type: candid.VecOf(callType)},
		candid.Field{Label: "feeds", Type: candid.VecOf(feedType)},
		candid.Field{Label: "admins", Type: candid.VecOf(candid.PrincipalType)},
		candid.Field{Label: "hooks", Type: candid.OptOf(candid.VecOf(hookType))},
		candid.Field{Label: "pushers", Type: candid.OptOf(candid.VecOf(candid.PrincipalType))},
		candid.Field{Label: "gateways", Type: candid.OptOf(candid.VecOf(candid.PrincipalType))},
		candid.Field{Label: "ack_interval_ms", Type: optNat64},
		candid.Field{Label: "keep_alive_timeout_ms", Type: optNat64},
		candid.Field{Label: "max_messages", Type: optNat64},
		candid.Field{Label: "max_calls_in_flight", Type: optNat64},
		candid.Field{Label: "resume_ms", Type: optNat64},
		candid.Field{Label: "resume_tag", Type: optText},
		candid.Field{Label: "interface", Type: optNat32},
	)
	pullType = candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "delivered", Type: optNat64},
		candid.Field{Label: "interface", Type: optNat32},
	)
)

// Argument encodes the settings as the relay canister's Config, the argument
// of its installation and of relay_configure.
func (s Settings) Argument() ([]byte, error) {
	return candid.NewBuilder().Add(configType, candid.Fields{
		"calls":                 values(s.Calls, Call.value),
		"feeds":                 values(s.Feeds, Feed.value),
		"admins":                s.Admins,
		"hooks":                 optional(values(s.Hooks, Hook.value), len(s.Hooks) > 0),
		"pushers":               optional(s.Pushers, len(s.Pushers) > 0),
		"gateways":              optional(s.Gateways, len(s.Gateways) > 0),
		"ack_interval_ms":       optionalNat(millis(s.AckInterval)),
		"keep_alive_timeout_ms": optionalNat(millis(s.KeepAliveTimeout)),
		"max_messages":          optionalNat(s.MaxMessages),
		"max_calls_in_flight":   optionalNat(s.MaxCallsInFlight),
		"resume_ms":             optionalNat(millis(s.Resume)),
		"resume_tag":            optionalText(s.ResumeTag),
		"interface":             uint32(Interface),
	}).Bytes()
}

func values[T any](list []T, value func(T) candid.Fields) []candid.Fields {
	out := make([]candid.Fields, len(list))
	for i, element := range list {
		out[i] = value(element)
	}
	return out
}

func (c Call) value() candid.Fields {
	return candid.Fields{
		"target":      c.Canister,
		"method":      c.Method,
		"tag":         optionalText(c.Tag),
		"pass_client": optional(true, c.PassClient),
		"reply":       optional(replyTags[c.Reply], c.Reply != ReplyNobody),
		"reply_tag":   optionalText(c.ReplyTag),
		"error_tag":   optionalText(c.ErrorTag),
	}
}

func (f Feed) value() candid.Fields {
	return candid.Fields{
		"target":      f.Canister,
		"method":      f.Method,
		"tag":         optionalText(f.Tag),
		"recipient":   optionalText(f.Recipient),
		"last":        optionalNat(f.Last),
		"interval_ms": optionalNat(millis(f.Interval)),
	}
}

func (h Hook) value() candid.Fields {
	return candid.Fields{"target": h.Canister, "open": optionalText(h.Open), "close": optionalText(h.Close)}
}

// pullArgument is the argument of relay_pull. Messages below delivered are in
// the gateway's hands and need not be kept.
func (t Target) pullArgument(delivered uint64) ([]byte, error) {
	return candid.NewBuilder().Add(pullType, candid.Fields{
		"target":    t.Canister,
		"method":    t.Method,
		"delivered": optionalNat(delivered),
		"interface": uint32(Interface),
	}).Bytes()
}

func millis(d time.Duration) uint64 { return uint64(max(0, d.Milliseconds())) } //nolint:gosec // not negative

// optional is null, the canister's own default, where nothing is set.
func optional(value any, isSet bool) any {
	if !isSet {
		return nil
	}
	return value
}

func optionalNat(n uint64) any { return optional(n, n != 0) }

func optionalText(text string) any { return optional(text, text != "") }
