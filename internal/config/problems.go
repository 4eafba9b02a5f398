package config

import (
	"fmt"
	"slices"
	"strings"
)

// An Error is everything that is wrong with a configuration file.
type Error struct {
	File     string
	Problems []Problem
}

// A Problem is one thing to mend.
type Problem struct {
	Line int    // 0 if it has none
	Key  string // for example route[1].relay.call[0].target
	Text string
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot be used; %s to mend:", e.File, count(len(e.Problems), "thing"))
	for _, p := range e.Problems {
		b.WriteString("\n  " + e.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		if p.Key != "" {
			b.WriteString(": " + p.Key)
		}
		b.WriteString(": " + p.Text)
	}
	return b.String()
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// problems collects what is wrong while a file is read.
type problems struct {
	file   string
	lines  *lineIndex
	list   []Problem
	given  map[string]bool // keys that the file has, whatever their value
	unread map[string]bool // keys whose value is not what the user meant, because it could not be read
	broken bool            // not TOML: checks of values would only mislead
}

func (p *problems) fatal(line int, text string) {
	p.broken = true
	p.list = append(p.list, Problem{Line: line, Text: text})
}

// give notes that the file has a key.
func (p *problems) give(key string) {
	if p.given == nil {
		p.given = make(map[string]bool)
	}
	p.given[key] = true
}

// unreadable notes a value of a wrong type. No check speaks about it again.
func (p *problems) unreadable(key, want string, value any) {
	p.add(key, "must be %s, not %s", want, describe(value))
	if p.unread == nil {
		p.unread = make(map[string]bool)
	}
	p.unread[key] = true
}

// read reports whether what the file says at all these keys could be read. A
// check that compares values asks first.
func (p *problems) read(keys ...string) bool {
	for _, key := range keys {
		for ; key != "" && len(p.unread) > 0; key = parent(key) {
			if p.unread[key] {
				return false
			}
		}
	}
	return true
}

// add notes a problem with the value at key, on the line where key stands, or
// where the table stands that lacks it.
func (p *problems) add(key, format string, args ...any) {
	if p.read(key) {
		p.list = append(p.list, Problem{p.lines.line(key), key, fmt.Sprintf(format, args...)})
	}
}

// addToOne is add for a problem between several keys: it stands at the first
// that the file has.
func (p *problems) addToOne(keys []string, format string, args ...any) {
	key := keys[0]
	for _, other := range slices.Backward(keys) {
		if p.lines.has(other) {
			key = other
		}
	}
	p.add(key, format, args...)
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return a.Line - b.Line })
	return &Error{File: p.file, Problems: p.list}
}
