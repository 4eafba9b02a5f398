package app

import (
	"strings"
	"sync"
)

// A logTail keeps the last lines of a log.
type logTail struct {
	mu     sync.Mutex
	lines  []string
	missed int // lines before them
}

const mostTail = 200 // lines

// Write takes one or more lines.
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(string(p)) {
		l.lines = append(l.lines, strings.TrimSuffix(line, "\n"))
	}
	if more := len(l.lines) - mostTail; more > 0 {
		l.missed += more
		l.lines = l.lines[more:]
	}
	return len(p), nil
}

// take returns the lines and forgets them.
func (l *logTail) take() (lines []string, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, missed = l.lines, l.missed
	l.lines, l.missed = nil, 0
	return lines, missed
}
