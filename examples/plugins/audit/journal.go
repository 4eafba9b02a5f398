package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	maxWaiting   = 1 << 20 // bytes that wait for the disk
	retryAfter   = time.Second
	closeTimeout = 500 * time.Millisecond
)

// A journal writes lines to the end of a file in the background, so that nobody
// waits for the disk. While the disk takes nothing, lines wait up to a bound,
// and are tried again.
type journal struct {
	file io.WriteCloser
	log  *slog.Logger
	wake chan struct{} // something waits
	stop chan struct{}
	done chan struct{} // what could be written is

	mu      sync.Mutex
	waiting []byte
}

// openJournal starts a goroutine that writes; close ends it.
func openJournal(path string, log *slog.Logger) (*journal, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the path is a setting
	if err != nil {
		return nil, err
	}
	return newJournal(file, log.With("file", path)), nil
}

func newJournal(file io.WriteCloser, log *slog.Logger) *journal {
	j := &journal{file: file, log: log, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go j.run()
	return j
}

// isFull reports that too much waits for the disk.
func (j *journal) isFull() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.waiting) >= maxWaiting
}

// note appends a line. What was begun before the journal was full is noted all the same.
func (j *journal) note(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		j.log.Error("a line of the audit cannot be encoded", "error", err)
		return
	}
	j.mu.Lock()
	j.waiting = append(append(j.waiting, line...), '\n')
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default: // it is awake
	}
}

// close writes what waits, if the disk takes it soon.
func (j *journal) close() {
	close(j.stop)
	select {
	case <-j.done:
	case <-time.After(closeTimeout):
		j.log.Error("the end of the audit may be missing")
	}
}

func (j *journal) run() {
	defer close(j.done)
	var failed error
	for open := true; open; {
		wake, retry := j.wake, (<-chan time.Time)(nil)
		if failed != nil {
			wake, retry = nil, time.After(retryAfter)
		}
		select {
		case <-wake:
		case <-retry:
		case <-j.stop:
			open = false
		}
		err := j.flush()
		switch {
		case err != nil && failed == nil:
			j.log.Error("the audit cannot be written, and waits", "error", err)
		case err == nil && failed != nil:
			j.log.Info("the audit can be written again")
		}
		failed = err
	}
	if err := j.file.Close(); err != nil {
		j.log.Error("the end of the audit may be missing", "error", err)
	}
}

func (j *journal) flush() error {
	j.mu.Lock()
	lines := j.waiting // stays there, and counts, until it is written
	j.mu.Unlock()
	n, err := j.file.Write(lines)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting = j.waiting[n:]; len(j.waiting) == 0 {
		j.waiting = nil
	}
	return err
}
