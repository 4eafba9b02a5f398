package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
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
	broken bool // not TOML: checks of values would only mislead
}

func (p *problems) at(line int, key, text string) {
	p.list = append(p.list, Problem{line, key, text})
}

func (p *problems) fatal(line int, key, text string) {
	p.broken = true
	p.at(line, key, text)
}

// add notes a problem with the value at key, on the line where key stands, or
// where the table stands that lacks it.
func (p *problems) add(key, format string, args ...any) {
	p.at(p.lines.line(key), key, fmt.Sprintf(format, args...))
}

// unknownKeys reports each place where one of the keys stands. Package toml
// names them without the indices of [[tables]].
func (p *problems) unknownKeys(keys []toml.Key) {
	seen := make(map[string]bool)
	for _, key := range keys {
		name := strings.Join(key, ".")
		if seen[name] {
			continue
		}
		seen[name] = true
		places := p.lines.places(name)
		if len(places) == 0 {
			p.add(name, "unknown key")
		}
		for _, place := range places {
			if !seen[parent(place)] { // its table is reported already
				p.add(place, "unknown key")
			}
			seen[place] = true
		}
	}
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return a.Line - b.Line })
	return &Error{File: p.file, Problems: p.list}
}
