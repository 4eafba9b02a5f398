// Package testlog keeps logs that tests read while they are written.
package testlog

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// A Book keeps what is logged. The zero value is empty.
type Book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write makes it a place to log to.
func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was logged so far.
func (b *Book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count says how often a part was logged.
func (b *Book) Count(part string) int { return strings.Count(b.String(), part) }

// Contains reports whether a part was logged.
func (b *Book) Contains(part string) bool { return b.Count(part) > 0 }

// Logger writes into the book from a level on.
func (b *Book) Logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: level}))
}
