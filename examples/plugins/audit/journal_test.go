package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestJournalWritesAllLinesInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte("{\"n\":-1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	const lines = 1000
	for n := range lines {
		j.note(map[string]int{"n": n})
	}
	j.close()
	raw, err := os.ReadFile(path) //nolint:gosec // a test's own file
	if err != nil {
		t.Fatal(err)
	}
	written := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	if len(written) != lines+1 {
		t.Fatalf("%d lines, want %d", len(written), lines+1)
	}
	for i, line := range written {
		var v struct{ N int }
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.N != i-1 {
			t.Fatalf("line %d is %q: %v", i, line, err)
		}
	}
}

func TestJournalWithoutAFile(t *testing.T) {
	if _, err := openJournal(filepath.Join(t.TempDir(), "absent", "audit.jsonl"), slog.New(slog.DiscardHandler)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
}

// A disk takes what it has room for, and tells of each write that it was asked for.
type disk struct {
	mu      sync.Mutex
	content bytes.Buffer
	room    int
	asked   chan struct{}
}

func (d *disk) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		select {
		case d.asked <- struct{}{}:
		default:
		}
	}()
	n := min(len(b), d.room)
	d.content.Write(b[:n])
	d.room -= n
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (d *disk) Close() error { return nil }

func (d *disk) grow(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room += room
}

func TestJournalOnAFullDisk(t *testing.T) {
	d := &disk{room: 100, asked: make(chan struct{}, 1)}
	var log bytes.Buffer
	j := newJournal(d, slog.New(slog.NewTextHandler(&log, nil)))
	var want strings.Builder
	for n := 0; !j.isFull(); n++ {
		line := fmt.Sprintf("line %d %s", n, strings.Repeat("x", 1000))
		fmt.Fprintf(&want, "%q\n", line)
		j.note(line)
	}
	if n := len(j.waiting); n > maxWaiting+2000 {
		t.Fatalf("%d bytes wait", n)
	}
	for len(d.asked) > 0 {
		<-d.asked
	}
	d.grow(10 << 20)
	<-d.asked // it tries again by itself
	j.close()
	if d.content.String() != want.String() {
		t.Fatalf("%d bytes are written, want %d", d.content.Len(), want.Len())
	}
	if j.isFull() {
		t.Fatal("full, with nothing that waits")
	}
	if text := log.String(); strings.Count(text, "cannot be written") != 1 || strings.Count(text, "can be written again") != 1 {
		t.Fatalf("log:\n%s", text)
	}
}
