package relay

import (
	"time"

	"github.com/icrelay/icrelay/candid"
)

// The types of canister/relay.did that the adapter speaks.
var (
	targetType = candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
	)
	pullType = candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "delivered", Type: candid.OptOf(candid.Nat64Type)},
	)
	configType = candid.RecordOf(
		candid.Field{Label: "calls", Type: candid.VecOf(targetType)},
		candid.Field{Label: "feeds", Type: candid.VecOf(targetType)},
		candid.Field{Label: "admins", Type: candid.VecOf(candid.PrincipalType)},
		candid.Field{Label: "ack_interval_ms", Type: candid.OptOf(candid.Nat64Type)},
		candid.Field{Label: "keep_alive_timeout_ms", Type: candid.OptOf(candid.Nat64Type)},
		candid.Field{Label: "max_messages", Type: candid.OptOf(candid.Nat64Type)},
	)
)

// Argument encodes the settings as the relay canister's Config, the argument
// of its installation and of relay_configure.
func (s Settings) Argument() ([]byte, error) {
	return candid.NewBuilder().Add(configType, candid.Fields{
		"calls":                 targetValues(s.Calls),
		"feeds":                 targetValues(s.Feeds),
		"admins":                s.Admins,
		"ack_interval_ms":       optional(millis(s.AckInterval)),
		"keep_alive_timeout_ms": optional(millis(s.KeepAliveTimeout)),
		"max_messages":          optional(s.MaxMessages),
	}).Bytes()
}

func targetValues(targets []Target) []candid.Fields {
	values := make([]candid.Fields, len(targets))
	for i, t := range targets {
		values[i] = t.value()
	}
	return values
}

func (t Target) value() candid.Fields {
	return candid.Fields{"target": t.Canister, "method": t.Method}
}

// pullArgument is the argument of relay_pull. Messages below delivered are in
// the gateway's hands and need not be kept.
func (t Target) pullArgument(delivered uint64) ([]byte, error) {
	value := t.value()
	value["delivered"] = optional(delivered)
	return candid.NewBuilder().Add(pullType, value).Bytes()
}

func millis(d time.Duration) uint64 { return uint64(max(0, d.Milliseconds())) } //nolint:gosec // not negative

// optional is null for the canister's own default.
func optional(n uint64) any {
	if n == 0 {
		return nil
	}
	return n
}
