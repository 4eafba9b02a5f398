package bench

import (
	"context"
	"crypto/rand"
	"fmt"
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
	gauge    *gauge
	watch    *watch

	open     []*member // after the opening
	supplies []*supply // of those that send

	before  *usage        // of the gateway: with no client
	opening time.Duration // until the last client was open
	opened  *usage        // of the gateway: at once after the opening
	settled *usage        // and after the pause
	clock   clock
}

// clock is what was counted while the pattern was measured.
type clock struct {
	start                     time.Time
	took                      time.Duration
	sent, confirmed, received uint64
	due                       uint64 // messages that should have been sent
	opened                    uint64
	open                      int64  // connections at the end
	from, to                  *usage // of the gateway
	own                       float64
}

// Run measures a gateway until the duration or ctx has ended, and reports. An
// error means that nothing could be measured; what went wrong on the way is in
// the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{options: o, failed: &failures{}, gauge: &gauge{pid: o.PID}}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	stopWatching := r.watch.start(r)
	defer stopWatching()
	if o.Pattern == "churn" {
		var finish func()
		r.measure(ctx, func(clock context.Context) { finish = r.churn(clock, ctx) })
		r.watch.phase("draining")
		finish()
	} else {
		r.openAndMeasure(ctx)
	}
	report := r.report(ctx.Err() != nil) // before the closing, which says nothing about the run
	r.watch.phase("closing")
	closeAll(ctx, r.open)
	return report, nil
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
		if _, err := readUsage(r.options.PID); err != nil {
			return err
		}
	}
	r.before = r.gauge.look()
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
	r.open, r.opening = r.crowd.openAll(ctx)
	r.opened = r.gauge.look()
	if len(r.open) == 0 || ctx.Err() != nil {
		return
	}
	if r.options.Pattern == "fanout" {
		r.exchange.speak(r.open[0].index, r.open)
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
	if !sleepUntil(ctx, time.Now().Add(r.options.Settle)) {
		return
	}
	r.settled = r.gauge.look()
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
	c := &r.clock
	own := ownUsage()
	c.from = r.gauge.look()
	c.start = time.Now()
	// No deadline: a dialer would make it one of its own, whose end looks like a failure.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(r.options.Duration, cancel).Stop()
	var signer sync.WaitGroup
	signer.Go(func() { restock(ctx, r.supplies) })

	pattern(ctx)
	c.took = time.Since(c.start)
	c.sent, c.confirmed, c.received = r.exchange.sent.Load(), r.exchange.confirmed.Load(), r.exchange.received.Load()
	c.opened, c.open = r.crowd.opened.Load(), r.crowd.live.Load()
	c.to = r.gauge.look()
	c.own = cores(own, ownUsage())
	for _, s := range r.supplies {
		c.due += uint64(s.pace.due(min(c.took, r.options.Duration))) //nolint:gosec // not negative
	}
	cancel()
	signer.Wait()
}

// drainTimeout is for what is under way when the time is over.
const drainTimeout = 10 * time.Second

// drain waits until everything has arrived that still can, and counts what has not.
func (r *run) drain(ctx context.Context) {
	r.watch.phase("draining")
	end := time.Now().Add(drainTimeout)
	missing := r.exchange.missing.Load()
	for missing > 0 && time.Now().Before(end) && sleepUntil(ctx, time.Now().Add(10*time.Millisecond)) {
		missing = r.exchange.missing.Load()
	}
	if missing > 0 && ctx.Err() == nil {
		r.failed.addKind("no answer", noAnswerText(r.exchange.received.Load(), r.options.Content), int(missing))
	}
}

// noAnswerText doubts the contents only where nothing has been answered.
func noAnswerText(received uint64, content string) string {
	text := fmt.Sprintf("a message had not come %s after the end", drainTimeout)
	if received > 0 {
		return text
	}
	return text + fmt.Sprintf(", and no other has; does the canister answer %q contents as the pattern needs it?", content)
}
