package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/adapters/plugin/sdk/sdktest"
)

// TestAdapter runs the relay's own tests of adapters. This program is the adapter's process in them.
func TestAdapter(t *testing.T) {
	sdktest.Options{Base: "relay", Settings: map[string]any{"file": os.DevNull}}.Run(t, start)
}

func TestOutcome(t *testing.T) {
	tests := map[string]struct {
		err        error
		kind, text string
	}{
		"none":        {nil, "ok", ""},
		"refused":     {fmt.Errorf("open: %w", sdk.Refused("no")), "refused", "no"},
		"unavailable": {sdk.Unavailable("later"), "unavailable", "later"},
		"deadline":    {context.DeadlineExceeded, "not reached", "context deadline exceeded"},
		"anything":    {errors.New("x"), "not reached", "x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if kind, text := outcome(test.err); kind != test.kind || text != test.text {
				t.Fatalf("%q, %q", kind, text)
			}
		})
	}
}

// A full journal holds up what would have to be noted, and does not ask the canister.
func TestFullJournal(t *testing.T) {
	a := &audit{journal: &journal{waiting: make([]byte, maxWaiting)}}
	for name, err := range map[string]error{
		"Open":    a.Open(t.Context(), sdk.Envelope{}),
		"Message": a.Message(t.Context(), sdk.Envelope{}),
	} {
		if text, unavailable := sdk.UnavailableText(err); !unavailable || text == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
