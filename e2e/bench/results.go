package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// A figure is one thing that was measured, beside what bounds it.
type figure struct {
	name    string
	value   string
	ceiling string // what else was measured, in words; "" for nothing
	target  string // "" for none
	reached bool
}

// results prints figures as they come.
type results struct {
	out    io.Writer
	missed []string
	failed []string // errors of runs
}

func (r *results) begin(s settings) error {
	_, err := fmt.Fprintf(r.out, "%d cores, %s; everything on this machine at once, %s each\n\n%-48s %-26s %-74s %s\n",
		runtime.NumCPU(), runtime.Version(), s.seconds, "", "measured", "in the same run", "target")
	return err
}

func (r *results) add(f figure) {
	verdict := ""
	if f.target != "" {
		verdict = f.target + ": reached"
		if !f.reached {
			verdict = f.target + ": NOT reached"
			r.missed = append(r.missed, f.name)
		}
	}
	line := fmt.Sprintf("%-48s %-26s %-74s %s", f.name, f.value, f.ceiling, verdict)
	_, _ = fmt.Fprintln(r.out, strings.TrimRight(line, " "))
}

// errors notes that a run had errors, which a measurement must not have.
func (r *results) errors(run string, n int, first string) {
	if n > 0 {
		r.failed = append(r.failed, fmt.Sprintf("%s: %d errors, first: %s", run, n, first))
	}
}

func (r *results) end() error {
	if len(r.missed) > 0 {
		_, _ = fmt.Fprintf(r.out, "\n%d targets not reached: %s\n", len(r.missed), strings.Join(r.missed, ", "))
	}
	if len(r.failed) > 0 {
		return fmt.Errorf("with errors:\n  %s", strings.Join(r.failed, "\n  "))
	}
	return nil
}

// share is a part of a ceiling, in percent.
func share(value, ceiling float64) float64 {
	if ceiling <= 0 {
		return 0
	}
	return 100 * value / ceiling
}
