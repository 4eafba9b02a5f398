package bench

import (
	"fmt"
	"io"
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
		line("sent", "%d, %.0f/s%s", m.Sent, m.SentPerSecond, frameText(m.BytesOut))
		line("received", "%d, %.0f/s%s", m.Received, m.ReceivedPerSecond, frameText(m.BytesIn))
		line("latency", "%s", m.Latency)
		if m.Strange > 0 {
			line("strange", "%d messages that this run has not sent", m.Strange)
		}
	}
	if p := r.Process; p != nil {
		line("memory", "%s before, %s open, %s end, %s at most; %.1f KB a session", size(p.RSSBefore), size(p.RSSOpen), size(p.RSSEnd), size(p.RSSMost), p.RSSPerSession/1024)
		line("cpu", "%.1f %% of a core; %.2f ms an open, %.0f µs a message", 100*p.Cores, p.CPUMsPerOpen, p.CPUPerMessage)
	}
	line("generator", "%.1f %% of a core; %s", 100*r.Self.Cores, checkText(r))
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

func checkText(r *Report) string {
	text := "every message's certification verified"
	if r.CheckEvery > 1 {
		text = fmt.Sprintf("1 in %d of each client's messages verified, the others believed", r.CheckEvery)
	}
	if r.Self.SignedLate > 0 && r.Pattern != "churn" {
		text += fmt.Sprintf("; %d messages not signed ahead", r.Self.SignedLate)
	}
	return text
}
