package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// watchCallTimeout bounds each query and pull of the watch.
const watchCallTimeout = 30 * time.Second

// statusInterval is how often the relay canister's own state is read beside
// the feeds: somebody else may have pulled, and calls may have been rejected.
const statusInterval = 5 * time.Second

// Watch asks the feeds' queries and tells the relay canister to pull when one
// has something new. The queries are free; the pull is an update call of the
// relay canister, which fetches the items itself, so that nobody has to trust
// the gateway with them. Feeds with an interval are the relay canister's own
// business: of them only the problems that it has are logged.
//
// Each feed has a goroutine of its own, so that one that hangs holds up no
// other; Watch waits for them. It returns when ctx ends.
func (a *Adapter) Watch(ctx context.Context, canister candid.Principal, changed func()) error {
	w := &watch{Adapter: a, canister: canister, changed: changed, pulls: make(map[Target]time.Time)}
	w.readStatus(ctx)

	var feeds sync.WaitGroup
	defer feeds.Wait()
	var nudges []chan struct{}
	for _, feed := range a.settings.Feeds {
		if feed.Interval != 0 {
			continue
		}
		nudge := make(chan struct{}, 1)
		nudges = append(nudges, nudge)
		feeds.Go(func() { w.watchFeed(ctx, feed.Target, nudge) })
	}

	ticker := time.NewTicker(w.readEvery)
	defer ticker.Stop()
	read := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.sent:
			for _, nudge := range nudges {
				select {
				case nudge <- struct{}{}:
				default:
				}
			}
			if time.Since(read) < a.settings.WatchInterval {
				continue // while many messages come
			}
		case <-ticker.C:
		}
		w.readStatus(ctx)
		read = time.Now()
	}
}

// watch is the state of one Watch.
type watch struct {
	*Adapter
	canister candid.Principal
	changed  func()

	// Of readStatus alone: what is logged already.
	problem string            // of the status
	timers  map[Target]string // problems of feeds with an interval

	mu    sync.Mutex
	feeds map[Target]feedStatus // nil until the status was read; a pull clears seeking
	pulls map[Target]time.Time  // when each feed was last pulled by this watch
}

// readStatus learns the cursors and logs what the relay canister has noted.
func (w *watch) readStatus(ctx context.Context) {
	start := time.Now()
	status, err := w.fetchStatus(ctx)
	if ctx.Err() != nil {
		return
	}
	if text := textOf(err); text != w.problem {
		w.problem = text
		if err != nil {
			w.log.Error("the relay canister's status cannot be read; its feeds are watched from where they were", "canister", w.canister.String(), "error", text)
		}
	}
	if err != nil {
		return
	}
	w.logTimers(status) // first: what is learnt belongs to the feeds' goroutines, too
	w.learn(status, start)
	w.logRejections(status.rejections)
}

// learn takes over a status that was asked for at a time.
func (w *watch) learn(status status, asked time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for feed, pulled := range w.pulls {
		if newer, ok := w.feeds[feed]; ok && pulled.After(asked) {
			status.feeds[feed] = newer
		}
	}
	w.feeds = status.feeds
}

func (w *watch) fetchStatus(ctx context.Context) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, watchCallTimeout)
	defer cancel()
	reply, err := w.client.Query(ctx, w.identity, w.canister, "relay_status", candid.EncodeEmpty())
	if err != nil {
		return status{}, fmt.Errorf("relay_status: %w", err)
	}
	s, err := decodeStatus(reply)
	if err != nil {
		return status{}, fmt.Errorf("relay_status: %w", err)
	}
	return s, nil
}

// logTimers logs problems of the feeds that the relay canister asks by itself.
func (w *watch) logTimers(status status) {
	for _, feed := range w.settings.Feeds {
		if feed.Interval == 0 {
			continue
		}
		text := sentence(status.feeds[feed.Target].problem)
		if _, ok := status.feeds[feed.Target]; !ok {
			text = notConfigured(feed.Target).Error()
		}
		if w.timers == nil {
			w.timers = make(map[Target]string)
		}
		w.logFeed(feed.Target, w.timers[feed.Target], text)
		w.timers[feed.Target] = text
	}
}

// logFeed logs a problem of a feed when it changes.
func (w *watch) logFeed(feed Target, before, now string) {
	switch {
	case now == before:
	case now != "":
		w.log.Error("feed does not work", "canister", w.canister.String(), "error", now)
	default:
		w.log.Info("feed works again", "canister", w.canister.String(), "feed", feed.String())
	}
}

func notConfigured(feed Target) error {
	return fmt.Errorf("feed %s is not in the relay canister's configuration: `relay canister configure` brings it there", feed)
}

// logRejections logs each rejected call once.
func (w *watch) logRejections(list []rejection) {
	w.rejectionsMu.Lock()
	defer w.rejectionsMu.Unlock()
	if n := len(list); n > 0 && list[n-1].id+1 < w.rejections {
		w.rejections = 0 // a relay canister that was reinstalled counts anew
	}
	for _, r := range list {
		if r.id < w.rejections {
			continue
		}
		w.rejections = r.id + 1
		w.log.Warn("a call was rejected by its target", "canister", w.canister.String(), "target", r.target.String(), "text", sentence(r.text))
	}
}

// watchFeed looks at one feed until ctx ends, more rarely while it does not
// work. A problem is logged when it changes.
func (w *watch) watchFeed(ctx context.Context, feed Target, nudge <-chan struct{}) {
	ticker := time.NewTicker(w.settings.WatchInterval)
	defer ticker.Stop()
	lookBack := newLookBack(w.readEvery)
	rest := rest{first: w.settings.WatchInterval, longest: max(w.readEvery, w.settings.WatchInterval)}
	problem := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-nudge:
			rest.shorten()
		}
		if !rest.over(time.Now()) {
			continue
		}
		err := w.pullIfNew(ctx, feed, &lookBack)
		if ctx.Err() != nil {
			return
		}
		rest.after(time.Now(), err)
		text := textOf(err)
		w.logFeed(feed, problem, text)
		problem = text
	}
}

// A rest is the pause after looks at a feed that failed: it doubles with each,
// and begins anew with one that does not fail.
type rest struct {
	first, longest time.Duration

	errs int       // in a row
	soon time.Time // where shorten moves the end to
	end  time.Time
}

func (r *rest) over(now time.Time) bool { return r.errs == 0 || now.After(r.end) }

// shorten is for when a message went through: the network is there, though it
// may not like to be asked at once.
func (r *rest) shorten() {
	if r.soon.Before(r.end) {
		r.end = r.soon
	}
}

func (r *rest) after(now time.Time, err error) {
	if err == nil {
		r.errs = 0
		return
	}
	r.errs++
	pause := r.first
	for range r.errs {
		pause = min(2*pause, r.longest)
	}
	asked := ic.RetryAfter(err)
	r.soon = now.Add(asked + r.first)
	r.end = now.Add(asked + pause/2 + rand.N(pause/2+1)) //nolint:gosec // jitter needs no secrecy
}

// A lookBack says when it is time to look whether a target still has what it
// had. After a pull that was of no use the pauses become longer.
type lookBack struct {
	first, wait time.Duration
	next        time.Time
}

const longestLookBack = 5 * time.Minute

func newLookBack(wait time.Duration) lookBack { return lookBack{first: wait, wait: wait} }

func (l *lookBack) due() bool { return time.Now().After(l.next) }

func (l *lookBack) again(useful bool) {
	l.wait = min(2*l.wait, longestLookBack)
	if useful {
		l.wait = l.first
	}
	l.next = time.Now().Add(l.wait)
}

// pullIfNew asks the feed's query and has its new items pulled.
func (w *watch) pullIfNew(ctx context.Context, feed Target, lookBack *lookBack) error {
	ctx, cancel := context.WithTimeout(ctx, watchCallTimeout)
	defer cancel()
	at, known, err := w.position(feed)
	if err != nil || !known {
		return err // without a status, its own problem is logged
	}
	page, err := w.page(ctx, feed, at.cursor)
	if err != nil {
		// A target that was reinstalled may refuse to look beyond its end. The relay
		// canister finds that out; a pull from a target that is as ever only fails.
		if refusedByTarget(err) && at.cursor > 0 && lookBack.due() {
			next, err := w.pull(ctx, feed)
			lookBack.again(err == nil && next != at.cursor)
			return err
		}
		return err
	}
	switch isNew := page.Items > 0 || page.HasNext && page.Next != at.cursor; {
	case isNew || at.seeking:
		_, err = w.pull(ctx, feed)
		return err
	case !page.HasNext && at.cursor > 0 && lookBack.due():
		if !w.isShorter(ctx, feed, at.cursor) {
			lookBack.again(true)
			return nil
		}
		next, err := w.pull(ctx, feed)
		lookBack.again(err == nil && next != at.cursor)
		return err
	}
	return nil
}

// position is where the relay canister stands in a feed.
func (w *watch) position(feed Target) (at feedStatus, known bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.feeds[feed]
	switch {
	case w.feeds == nil:
		return at, false, nil
	case !ok:
		return at, false, notConfigured(feed)
	case at.cursor == noCursor:
		return at, false, fmt.Errorf("feed %s has no end that the relay canister could find", feed)
	}
	// A search for the end that failed is taken up again, once for each status:
	// until it is done the feed relays nothing.
	rest := at
	rest.seeking = false
	w.feeds[feed] = rest
	return at, true, nil
}

// isShorter reports whether a target that counts its items no longer has the
// last one that was relayed: it was reinstalled. The relay canister looks for
// itself and starts over; this only tells when to have it look.
func (w *watch) isShorter(ctx context.Context, feed Target, cursor uint64) bool {
	page, err := w.page(ctx, feed, cursor-1)
	if err != nil {
		return refusedByTarget(err) // some refuse to look past their end
	}
	return page.Items == 0 && !page.HasNext
}

// refusedByTarget reports whether a query failed for a reason that lasts.
func refusedByTarget(err error) bool {
	var reject *ic.RejectError
	return errors.As(err, &reject) && !reject.Transient()
}

// pull has the relay canister fetch what is new.
func (w *watch) pull(ctx context.Context, feed Target) (cursor uint64, err error) {
	arg, err := feed.pullArgument(w.delivered())
	if err != nil {
		return 0, err
	}
	reply, err := w.client.Call(ctx, w.identity, w.canister, "relay_pull", arg)
	if err == nil {
		cursor, err = decodePulled(reply)
	}
	if err != nil {
		return 0, fmt.Errorf("pull of feed %s: %w", feed, err)
	}
	w.mu.Lock()
	w.feeds[feed] = feedStatus{cursor: cursor}
	w.pulls[feed] = time.Now()
	w.mu.Unlock()
	w.changed()
	return cursor, nil
}

// textOf is an error as one sentence, "" for none: replicas put stack traces
// and links to their documentation into the following lines.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	return localAddress.ReplaceAllString(sentence(err.Error()), "")
}

// localAddress is this end of a TCP connection in an error's text: another one
// each time, although the problem is the same.
var localAddress = regexp.MustCompile(`(\[[0-9a-fA-F:.%a-z]*\]|\d+(\.\d+){3}):\d+->`)

func sentence(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
