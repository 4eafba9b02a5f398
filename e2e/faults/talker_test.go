package faults

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
)

// ahead is how many messages of a talker may wait for their answers: more than
// fit into a relay canister's window, and not so many that a busy machine never
// catches up.
const ahead = 40

// A talker sends numbers to a canister that echoes them, and checks what it
// hears: each number once, in order, or once that the call failed.
type talker struct {
	t    *testing.T
	name string
	conn *client.Conn

	silence context.CancelFunc // ends the sending
	sending sync.WaitGroup
	running sync.WaitGroup // beside the sending

	mu      sync.Mutex
	sent    []time.Time // when each number was sent
	next    int         // the lowest number that may be heard
	echoes  int
	failed  int // numbers of which the canister says that the call failed
	missing int // numbers that were left out: these, one hopes
	times   []time.Duration
	last    time.Time     // when something was heard
	pause   time.Duration // the longest without
	problem string
}

// talk sends a number every so often, until finish, or the end of the connection.
func talk(t *testing.T, name string, conn *client.Conn, every time.Duration) *talker {
	t.Helper()
	ctx, silence := context.WithCancel(context.Background())
	k := &talker{t: t, name: name, conn: conn, silence: silence, last: time.Now()}
	k.sending.Go(func() { k.send(ctx, every) })
	k.running.Go(k.receive)
	t.Cleanup(func() {
		k.silence()
		_ = conn.Close()
		k.sending.Wait()
		k.running.Wait()
	})
	return k
}

// resume goes on sending after quiet.
func (k *talker) resume(every time.Duration) {
	var ctx context.Context
	ctx, k.silence = context.WithCancel(context.Background()) //nolint:gosec // the cleanup of talk calls it
	k.sending.Go(func() { k.send(ctx, every) })
}

func (g *gateway) talk(t *testing.T, name string, canister candid.Principal, every time.Duration) *talker {
	t.Helper()
	return talk(t, name, g.dial(t, canister), every)
}

func (k *talker) send(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		k.mu.Lock()
		n := len(k.sent)
		isAhead := n-k.echoes-k.failed >= ahead
		if !isAhead {
			k.sent = append(k.sent, time.Now())
		}
		k.mu.Unlock()
		if isAhead {
			// nothing is said this time
		} else if err := k.conn.Send(ctx, candid.EncodeText(strconv.Itoa(n))); err != nil {
			k.mu.Lock()
			k.sent = k.sent[:n]
			k.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-k.conn.Done():
			return
		case <-ticker.C:
		}
	}
}

func (k *talker) receive() {
	for {
		content, err := k.conn.Receive(context.Background())
		if err != nil {
			return
		}
		k.heard(content, time.Now())
	}
}

func (k *talker) heard(content []byte, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pause = max(k.pause, now.Sub(k.last))
	k.last = now
	text, err := candid.DecodeText(content)
	if err != nil {
		if isFailure(content) {
			k.failed++
		} else {
			k.wrong("heard %x", content)
		}
		return
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n >= len(k.sent):
		k.wrong("heard %q", text)
	case n < k.next:
		k.wrong("heard %d when %d was next", n, k.next)
	default:
		k.missing += n - k.next
		k.next = n + 1
		k.echoes++
		k.times = append(k.times, now.Sub(k.sent[n]))
	}
}

func isFailure(content []byte) bool {
	values, err := candid.Decode(content, candid.Limits{})
	if err != nil || len(values) != 1 {
		return false
	}
	_, ok := values[0].Tag(failedTag)
	return ok
}

func (k *talker) wrong(format string, args ...any) {
	if k.problem == "" {
		k.problem = fmt.Sprintf(format, args...)
	}
}

// numbers are how many were echoed and how many calls failed.
func (k *talker) numbers() (echoes, failed int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.echoes, k.failed
}

// goesOn waits until more of what is said is echoed.
func (k *talker) goesOn(more int) {
	k.t.Helper()
	before, _ := k.numbers()
	eventually(k.t, k.name+" is answered", func() bool {
		if err := k.conn.Err(); err != nil {
			k.t.Fatalf("%s: %v", k.name, err)
		}
		now, _ := k.numbers()
		return now >= before+more
	})
}

// forget begins a new measurement.
func (k *talker) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.times, k.pause, k.last = nil, 0, time.Now()
}

// quiet stops sending and waits until everything that was sent has been answered.
func (k *talker) quiet() {
	k.t.Helper()
	k.silence()
	k.sending.Wait()
	eventually(k.t, "all that "+k.name+" said is answered", func() bool {
		if err := k.conn.Err(); err != nil {
			k.t.Fatalf("%s: %v", k.name, err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.echoes+k.failed == len(k.sent)
	})
}

// finish wants that the connection is open, that everything was answered, once
// and in order, and ends it.
func (k *talker) finish() {
	k.t.Helper()
	k.quiet()
	stays(k.t, k.name, k.conn)
	if err := k.conn.Close(); err != nil {
		k.t.Errorf("%s: %v", k.name, err)
	}
	k.check()
}

// check wants that nothing came twice or out of order, or is missing before
// something that came.
func (k *talker) check() {
	k.t.Helper()
	k.sending.Wait()
	k.running.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem != "" {
		k.t.Errorf("%s: %s", k.name, k.problem)
	}
	if k.missing > k.failed {
		k.t.Errorf("%s has lost %d messages, and was told of %d", k.name, k.missing, k.failed)
	}
	if k.echoes+k.failed > len(k.sent) {
		k.t.Errorf("%s heard %d echoes and of %d failures, and said %d", k.name, k.echoes, k.failed, len(k.sent))
	}
}

// A figure is what a talker has measured since the last forget.
type figure struct {
	echoes             int
	median, p99, worst time.Duration
	pause              time.Duration // the longest without an answer
}

func (f figure) String() string {
	return fmt.Sprintf("%d echoes, median %s, p99 %s, longest %s, longest pause %s", f.echoes,
		f.median.Round(time.Millisecond), f.p99.Round(time.Millisecond), f.worst.Round(time.Millisecond), f.pause.Round(time.Millisecond))
}

func (k *talker) figure() figure {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := figure{echoes: len(k.times), pause: max(k.pause, time.Since(k.last))}
	if f.echoes > 0 {
		times := slices.Sorted(slices.Values(k.times))
		f.median, f.p99, f.worst = times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
	}
	return f
}
