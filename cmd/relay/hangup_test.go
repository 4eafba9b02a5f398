//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// A SIGHUP is a wish to reload, not the end. Several at once are one.
func TestHangups(t *testing.T) {
	keep := make(chan os.Signal, 1)
	signal.Notify(keep, syscall.SIGHUP) // the test process survives it afterwards, too
	defer signal.Stop(keep)

	ctx, cancel := context.WithCancel(t.Context())
	reload := hangups(ctx, func() { t.Error("stopped") })
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-keep:
		case <-time.After(20 * time.Second):
			t.Fatal("no signal")
		}
	}
	for range 3 {
		hangUp()
	}
	select {
	case <-reload:
	case <-time.After(20 * time.Second):
		t.Fatal("no reload")
	}
	cancel()
	hangUp() // nobody waits for it
}
