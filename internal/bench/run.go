package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// run is one measurement.
type run struct {
	options  Options
	crowd    *crowd
	exchange *exchange
	failed   *failures
	watch    *watch

	open     []*member // after the opening
	supplies []*supply // of those that send

	opened struct{ took time.Duration }
	clock  struct { // while messages are counted
		took           time.Duration
		sent, received uint64
		in, out        uint64 // bytes
		from, to       usage  // of the gateway
		own            float64
	}
	before, full usage // of the gateway: with no client, with all
}

// Run measures a gateway until the duration or ctx has ended, and reports. An
// error means that nothing could be measured; what went wrong on the way is in
// the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{options: o, failed: &failures{}}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	stopWatching := r.watch.start(r)
	defer stopWatching()
	if o.Pattern == "churn" {
		r.measure(ctx, func(clock context.Context) { r.churn(clock, ctx) })
	} else {
		r.openAndMeasure(ctx)
	}
	stopWatching()
	return r.report(ctx.Err() != nil), nil
}

// prepare does everything that needs no gateway.
func (r *run) prepare(ctx context.Context) error {
	canister, err := candid.ParsePrincipal(r.options.Canister)
	if err != nil {
		return fmt.Errorf("--canister: %w", err)
	}
	var id [runLength / 2]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	answered, err := newTemplate("--content", r.options.Content, r.options.Size, id)
	if err != nil {
		return err
	}
	var silent *template
	if r.options.Pattern == "send" {
		if silent, err = newTemplate("--silent", r.options.Silent, r.options.Size, id); err != nil {
			return err
		}
	}
	if err := allowFiles(r.options.Clients); err != nil {
		return err
	}
	if r.options.PID != 0 {
		if r.before, err = readUsage(r.options.PID); err != nil {
			return err
		}
	}
	verifier, err := newVerifier(ctx, r.options)
	if err != nil {
		return err
	}
	r.exchange = newExchange(answered, silent, r.options.Clients)
	r.crowd = newCrowd(r.options, canister, verifier, r.exchange, r.failed)
	r.watch = newWatch(r.options)
	return nil
}

// openAndMeasure is for the patterns whose clients stay.
func (r *run) openAndMeasure(ctx context.Context) {
	r.watch.phase("opening")
	start := time.Now()
	r.open = r.crowd.openAll(ctx)
	r.opened.took = time.Since(start)
	defer func() {
		r.watch.phase("closing")
		closeAll(r.open)
	}()
	if len(r.open) == 0 || ctx.Err() != nil {
		return
	}
	attending, stop := context.WithCancel(ctx)
	var attendants sync.WaitGroup
	for _, m := range r.open {
		attendants.Go(func() { r.crowd.attend(attending, m) })
	}
	defer attendants.Wait()
	defer stop()

	r.watch.phase("signing")
	r.supply(ctx)
	sleepUntil(ctx, time.Now().Add(r.options.Settle))
	r.full = r.look()
	switch r.options.Pattern {
	case "idle":
		r.measure(ctx, r.idle)
	case "echo", "send":
		r.measure(ctx, r.echo)
	case "fanout":
		r.measure(ctx, r.fanout)
	}
	r.drain(ctx)
}

// supply has messages signed for those that will send.
func (r *run) supply(ctx context.Context) {
	senders := r.open
	switch r.options.Pattern {
	case "idle":
		return
	case "fanout":
		senders = senders[:1]
	}
	target := supplyTarget(r.options, len(senders))
	for _, m := range senders {
		r.supplies = append(r.supplies, &supply{exchange: r.exchange, sender: m.index, conn: m.conn, target: target})
	}
	stock(ctx, r.supplies, r.failed)
}

// measure lets the clock run while a pattern does.
func (r *run) measure(ctx context.Context, pattern func(context.Context)) {
	r.watch.phase(r.options.Pattern)
	// No deadline: a dialer would make it one of its own, whose end looks like a failure.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(r.options.Duration, cancel).Stop()
	var signer sync.WaitGroup
	signer.Go(func() { restock(ctx, r.supplies) })

	c := &r.clock
	own, _ := readUsage(os.Getpid())
	in, out := r.crowd.traffic()
	c.from = r.look()
	start := time.Now()
	pattern(ctx)
	c.took = min(time.Since(start), r.options.Duration) // visits may end later
	c.to = r.look()
	c.sent, c.received = r.exchange.sent.Load(), r.exchange.received.Load()
	c.in, c.out = r.crowd.traffic()
	c.in, c.out = c.in-in, c.out-out
	now, _ := readUsage(os.Getpid())
	c.own = cores(own, now)
	signer.Wait()
}

// look reads what the gateway has used, if its process is known. One that has
// gone is seen by its clients.
func (r *run) look() usage {
	if r.options.PID == 0 {
		return usage{}
	}
	u, _ := readUsage(r.options.PID)
	return u
}

// drainTimeout is for what is under way when the time is over.
const drainTimeout = 10 * time.Second

// drain waits until everything has arrived, and counts what has not.
func (r *run) drain(ctx context.Context) {
	r.watch.phase("draining")
	end := time.Now().Add(drainTimeout)
	missing := r.exchange.missing()
	for missing > 0 && time.Now().Before(end) && sleepUntil(ctx, time.Now().Add(10*time.Millisecond)) {
		missing = r.exchange.missing()
	}
	if missing > 0 && ctx.Err() == nil {
		r.failed.addKind("no answer", fmt.Sprintf("a message had not come %s after the end; does the canister answer %q contents as the pattern needs it?", drainTimeout, r.options.Content), missing)
	}
}
