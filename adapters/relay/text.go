package relay

import (
	"fmt"
	"strings"
)

// CandidText is the settings as Candid text, for deploy tools that take an
// install argument in that form. It says the same as Argument.
func (s Settings) CandidText() string {
	var b strings.Builder
	b.WriteString("(record {\n")
	targetsText(&b, "calls", s.Calls)
	targetsText(&b, "feeds", s.Feeds)
	b.WriteString("  admins = vec {")
	for i, admin := range s.Admins {
		if i > 0 {
			b.WriteString(";")
		}
		fmt.Fprintf(&b, " principal %q", admin.String())
	}
	b.WriteString(" };\n")
	optionalText(&b, "ack_interval_ms", millis(s.AckInterval))
	optionalText(&b, "keep_alive_timeout_ms", millis(s.KeepAliveTimeout))
	optionalText(&b, "max_messages", s.MaxMessages)
	b.WriteString("})\n")
	return b.String()
}

func targetsText(b *strings.Builder, name string, targets []Target) {
	fmt.Fprintf(b, "  %s = vec {", name)
	for _, t := range targets {
		fmt.Fprintf(b, "\n    record { target = principal %q; method = %s };", t.Canister.String(), quote(t.Method))
	}
	if len(targets) > 0 {
		b.WriteString("\n  ")
	}
	b.WriteString("};\n")
}

func optionalText(b *strings.Builder, name string, n uint64) {
	if n == 0 {
		fmt.Fprintf(b, "  %s = null;\n", name)
		return
	}
	fmt.Fprintf(b, "  %s = opt (%d : nat64);\n", name, n)
}

// quote writes a text literal: Candid has the escapes \" and \\, and takes
// other characters as they are.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + `"`
}
