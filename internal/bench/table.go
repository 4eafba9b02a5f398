package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"
)

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("pattern", "%s, %d clients, %d bytes, %.1f s%s", r.Pattern, r.Clients, r.Size, r.Seconds, interruptedText(r.Interrupted))
	line("opens", "%d of %s, %.0f/s   %s", r.Opens.Number, wanted(r), r.Opens.PerSecond, r.Opens.Latency)
	if m := r.Messages; r.Pattern != "idle" {
		line("sent", "%s%s", sentText(r), frameText(m.BytesOut))
		line("received", "%d, %.0f/s%s", m.Received, m.ReceivedPerSecond, frameText(m.BytesIn))
		line("latency", "%s%s", m.Latency, missingText(m))
		if m.Strange > 0 {
			line("strange", "%s", strangersText(m.Strangers))
		}
	}
	if p := r.Process; p != nil {
		if p.Gone {
			line("process", "it has gone; what is said of it is from before")
		}
		line("memory", "%s", memoryText(p))
		if text := cpuText(r); text != "" {
			line("cpu", "%s", text)
		}
	}
	line("generator", "%s", selfText(r))
	if r.Errors == 0 {
		line("errors", "none")
	} else {
		line("errors", "%d", r.Errors)
		for _, f := range r.Failures {
			line("", "%d x %s: %s", f.Count, printable(f.Kind), printable(f.First))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable keeps what the gateway says from writing lines or moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// String is how a table shows a latency.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  max %s", ms(l.P50), ms(l.P90), ms(l.P99), ms(l.Max))
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

func wanted(r *Report) string {
	if r.Pattern == "churn" {
		return "as many as would"
	}
	return fmt.Sprint(r.Clients)
}

func interruptedText(interrupted bool) string {
	if interrupted {
		return ", interrupted"
	}
	return ""
}

func frameText(bytes float64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("   %.0f bytes a frame", bytes)
}

func size(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }

// sentText says how much of what was wanted was sent.
func sentText(r *Report) string {
	m := r.Messages
	text := fmt.Sprintf("%d, %.0f/s", m.Sent, m.SentPerSecond)
	if r.Rate > 0 && r.Pattern != "churn" {
		text += fmt.Sprintf(" of %g/s wanted", r.Rate)
	}
	if r.Pattern == "send" {
		text += fmt.Sprintf("; %d more that no answer tells of", m.Unconfirmed)
	}
	if m.NotSent > 0 {
		text += fmt.Sprintf("; %d that were due were not sent", m.NotSent)
	}
	return text
}

func missingText(m Messages) string {
	if m.Missing == 0 {
		return ""
	}
	return fmt.Sprintf("   of %d that came, %d did not", m.Received, m.Missing)
}

func strangersText(s Strangers) string {
	parts := phrases{}
	parts.add(s.Again > 0, "%d a second time", s.Again)
	parts.add(s.Astray > 0, "%d at another client than their sender", s.Astray)
	parts.add(s.Silent > 0, "%d that were to stay with the canister", s.Silent)
	parts.add(s.Foreign > 0, "%d that this run has not sent", s.Foreign)
	return fmt.Sprintf("%d messages: %s", s.Strange, parts)
}

// phrases are parts of a line.
type phrases []string

func (p *phrases) add(known bool, format string, args ...any) {
	if known {
		*p = append(*p, fmt.Sprintf(format, args...))
	}
}

func (p phrases) String() string { return strings.Join(p, ", ") }

func memoryText(p *Process) string {
	parts := phrases{size(p.RSSBefore) + " before"}
	parts.add(p.RSSOpen > 0, "%s open", size(p.RSSOpen))
	parts.add(p.RSSEnd > 0, "%s end", size(p.RSSEnd))
	parts.add(true, "%s at most", size(p.RSSMost))
	parts.add(p.RSSPerSession > 0, "%.1f KB a session", p.RSSPerSession/1024)
	return parts.String()
}

func cpuText(r *Report) string {
	p := r.Process
	what := "an open"
	if r.Pattern == "churn" {
		what = "a visit"
	}
	var parts phrases
	parts.add(!math.IsNaN(p.Cores), "%.1f %% of a core", 100*p.Cores)
	parts.add(!math.IsNaN(p.CPUMsPerOpen), "%.2f ms %s", p.CPUMsPerOpen, what)
	parts.add(!math.IsNaN(p.CPUPerMessage), "%.0f µs a message", p.CPUPerMessage)
	return parts.String()
}

func selfText(r *Report) string {
	if r.Self.Cores == 0 {
		return checkText(r)
	}
	return fmt.Sprintf("%.1f %% of a core; %s", 100*r.Self.Cores, checkText(r))
}

func checkText(r *Report) string {
	text := "every message's certification verified"
	if r.CheckEvery > 1 {
		text = fmt.Sprintf("1 in %d of each client's messages verified, the others believed", r.CheckEvery)
	}
	switch {
	case r.Pattern == "churn":
		text += "; no message signed ahead"
	case r.Self.SignedLate > 0:
		text += fmt.Sprintf("; %d messages not signed ahead", r.Self.SignedLate)
	}
	return text
}
