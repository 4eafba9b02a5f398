package testlog

import (
	"log/slog"
	"sync"
	"testing"
)

func TestBook(t *testing.T) {
	var b Book
	log := b.Logger(slog.LevelInfo)
	var writers sync.WaitGroup
	for range 10 {
		writers.Go(func() { log.Info("said so", "key", "value") })
	}
	log.Debug("not so loud")
	writers.Wait()
	if n := b.Count("msg=\"said so\" key=value\n"); n != 10 || b.Contains("loud") || !b.Contains("said") {
		t.Errorf("%d times:\n%s", n, &b)
	}
}
