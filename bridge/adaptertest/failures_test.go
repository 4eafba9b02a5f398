package adaptertest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The suite sees an adapter that breaks the promises about contexts and refusals.
func TestNotReached(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	for _, test := range []struct {
		name, want string
		run        func(context.Context) error
	}{
		{"as promised", "", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{"an error at once", "", func(context.Context) error { return errors.New("connection refused") }},
		{"no error", "want an error", func(context.Context) error { return nil }},
		{"a refusal", "want an error that is no refusal", func(context.Context) error { return bridge.Refused("no") }},
		{"no end", "does not return", func(context.Context) error { <-end; return errors.New("ended") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			err := notReached(ctx, call{"Open", test.run})
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("err = %v, want %q", err, test.want)
			}
		})
	}
}
