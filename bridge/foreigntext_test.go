package bridge

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
)

// counted is a log of which only the size matters.
type counted struct{ bytes atomic.Int64 }

func (c *counted) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}

// TestForeignTextsInLogs: a canister may write megabytes into its refusals and keys;
// the log gets the beginning.
func TestForeignTextsInLogs(t *testing.T) {
	const (
		long = 2 << 20
		most = 16 << 10 // bytes of log
	)
	var log counted
	b := newBench(t, func(o *Options, c *testCanister) {
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.onMessage = func(context.Context, Envelope) error { return Refused("%s", strings.Repeat("r", long)) }
	})
	bystander, p := b.open(), b.open()
	p.send("x")
	p.closed(CloseMessageRefused, "rrr")
	if n := log.bytes.Load(); n > most {
		t.Errorf("a refused message: %d bytes of log", n)
	}

	failed := b.gateway.count.pollErrors.Load()
	b.canister.set(func() {
		lies := 0
		b.canister.corrupt = func(batch *Batch) error {
			if lies++; lies > 1 {
				return nil
			}
			return &RefusedError{Text: strings.Repeat("r", long)}
		}
	})
	before := log.bytes.Load()
	b.canister.send(bystander.key, []byte("hello"))
	bystander.message()
	if n := b.gateway.count.pollErrors.Load() - failed; n != 1 {
		t.Errorf("%d polls failed", n)
	}
	if n := log.bytes.Load() - before; n > most {
		t.Errorf("a poll that failed: %d bytes of log", n)
	}
}
