package relay

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// watchCallTimeout bounds each query and pull of the watch.
const watchCallTimeout = 30 * time.Second

// statusInterval is how often the relay canister's own state is read beside
// the feeds: somebody else may have pulled, and calls may have been rejected.
const statusInterval = 5 * time.Second

// Watch asks the feeds' queries and tells the relay canister to pull when one
// has something new. The queries are free; the pull is an update call of the
// relay canister, which fetches the items itself, so that nobody has to trust
// the gateway with them.
//
// Each feed has a goroutine of its own, so that one that hangs holds up no
// other; Watch waits for them. It returns when ctx ends.
func (a *Adapter) Watch(ctx context.Context, canister candid.Principal, changed func()) error {
	w := &watch{Adapter: a, canister: canister, changed: changed}
	w.readStatus(ctx)

	var feeds sync.WaitGroup
	defer feeds.Wait()
	nudges := make([]chan struct{}, len(a.settings.Feeds))
	for i, feed := range a.settings.Feeds {
		nudges[i] = make(chan struct{}, 1)
		feeds.Go(func() { w.watchFeed(ctx, feed, nudges[i]) })
	}

	ticker := time.NewTicker(statusInterval)
	defer ticker.Stop()
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
		case <-ticker.C:
		}
		w.readStatus(ctx)
	}
}

// watch is the state of one Watch.
type watch struct {
	*Adapter
	canister candid.Principal
	changed  func()

	mu       sync.Mutex
	cursors  map[Target]uint64 // nil until the status was read
	seeking  map[Target]bool   // see status; cleared by a pull
	problem  string            // of the status, logged already
	lastPull map[Target]time.Time
}

// readStatus learns the cursors and logs calls that targets have rejected.
func (w *watch) readStatus(ctx context.Context) {
	start := time.Now()
	status, err := w.fetchStatus(ctx)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := textOf(err); text != w.problem {
		w.problem = text
		if err != nil {
			w.log.Error("the relay canister's status cannot be read; its feeds are watched from where they were", "canister", w.canister.String(), "error", text)
		}
	}
	if err != nil {
		return
	}
	for feed, pulled := range w.lastPull {
		if cursor, ok := w.cursors[feed]; ok && pulled.After(start) {
			status.cursors[feed] = cursor // newer than the status
		}
	}
	w.cursors, w.seeking = status.cursors, status.seeking
	w.logRejections(status.rejections)
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

// logRejections logs each rejected call once. It is called with w.mu held.
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
		w.log.Warn("a client's message was rejected by its target", "canister", w.canister.String(), "target", r.target.String(), "text", sentence(r.text))
	}
}

// watchFeed looks at one feed until ctx ends. A problem is logged when it changes.
func (w *watch) watchFeed(ctx context.Context, feed Target, nudge <-chan struct{}) {
	ticker := time.NewTicker(w.settings.WatchInterval)
	defer ticker.Stop()
	problem := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-nudge:
		}
		err := w.pullIfNew(ctx, feed)
		if ctx.Err() != nil {
			return
		}
		text := textOf(err)
		if text == problem {
			continue
		}
		problem = text
		if err != nil {
			w.log.Error("feed does not work", "canister", w.canister.String(), "error", text)
		} else {
			w.log.Info("feed works again", "canister", w.canister.String(), "feed", feed.String())
		}
	}
}

// pullIfNew asks the feed's query and has its new items pulled.
func (w *watch) pullIfNew(ctx context.Context, feed Target) error {
	ctx, cancel := context.WithTimeout(ctx, watchCallTimeout)
	defer cancel()
	w.mu.Lock()
	cursor, ok := w.cursors[feed]
	known := w.cursors != nil
	// A search for the end that failed is taken up again, once for each status:
	// until it is done the feed relays nothing.
	seeking := w.seeking[feed]
	delete(w.seeking, feed)
	w.mu.Unlock()
	switch {
	case !known:
		return nil // the status' own problem is logged
	case !ok:
		return fmt.Errorf("feed %s is not in the relay canister's configuration: it was installed with another one", feed)
	case cursor == noCursor:
		return fmt.Errorf("feed %s has no end that the relay canister could find", feed)
	}
	n, err := w.newItems(ctx, feed, cursor)
	if err != nil || n == 0 && !seeking {
		return err
	}
	next, err := w.pull(ctx, feed)
	if err != nil {
		return fmt.Errorf("pull of feed %s: %w", feed, err)
	}
	w.mu.Lock()
	w.cursors[feed] = next
	if w.lastPull == nil {
		w.lastPull = make(map[Target]time.Time)
	}
	w.lastPull[feed] = time.Now()
	w.mu.Unlock()
	w.changed()
	return nil
}

func (w *watch) pull(ctx context.Context, feed Target) (cursor uint64, err error) {
	arg, err := feed.pullArgument(w.delivered())
	if err != nil {
		return 0, err
	}
	reply, err := w.client.Call(ctx, w.identity, w.canister, "relay_pull", arg)
	if err != nil {
		return 0, err
	}
	return decodePulled(reply)
}

// textOf is an error as one sentence, "" for none: replicas put stack traces
// and links to their documentation into the following lines.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	return sentence(err.Error())
}

func sentence(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
