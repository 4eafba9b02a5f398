package relay

import (
	"context"
	"fmt"
	"strings"
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
func (a *Adapter) Watch(ctx context.Context, canister candid.Principal, changed func()) error {
	w := watch{Adapter: a, canister: canister, changed: changed, reported: make(map[Target]string)}
	ticker := time.NewTicker(a.settings.WatchInterval)
	defer ticker.Stop()
	var lastStatus time.Time
	for {
		sent := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-a.sent:
			sent = true
		}
		if sent || time.Since(lastStatus) > statusInterval {
			if err := w.readStatus(ctx); err != nil {
				return err
			}
			lastStatus = time.Now()
		}
		for _, feed := range a.settings.Feeds {
			w.look(ctx, feed)
		}
	}
}

// watch is the state of one Watch.
type watch struct {
	*Adapter
	canister candid.Principal
	changed  func()
	cursors  map[Target]uint64
	reported map[Target]string // the problem of each feed that is logged already
}

// readStatus learns the cursors and logs calls that targets have rejected.
func (w *watch) readStatus(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchCallTimeout)
	defer cancel()
	reply, err := w.client.Query(ctx, w.identity, w.canister, "relay_status", candid.EncodeEmpty())
	if err != nil {
		return fmt.Errorf("relay_status: %w", err)
	}
	status, err := decodeStatus(reply)
	if err != nil {
		return fmt.Errorf("relay_status: %w", err)
	}
	w.cursors = status.cursors
	w.logRejections(status.rejections)
	return nil
}

// look asks one feed and has its new items pulled. A feed that fails is
// logged when its problem changes, and harms no other feed.
func (w *watch) look(ctx context.Context, feed Target) {
	err := w.pullIfNew(ctx, feed)
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = sentence(err.Error())
	}
	if text == w.reported[feed] {
		return
	}
	w.reported[feed] = text
	if err != nil {
		w.log.Error("feed does not work", "canister", w.canister.String(), "error", text)
	} else {
		w.log.Info("feed works again", "canister", w.canister.String(), "feed", feed.String())
	}
}

func (w *watch) pullIfNew(ctx context.Context, feed Target) error {
	ctx, cancel := context.WithTimeout(ctx, watchCallTimeout)
	defer cancel()
	cursor, ok := w.cursors[feed]
	if !ok {
		return fmt.Errorf("feed %s is not in the relay canister's configuration: it was installed with another one", feed)
	}
	if cursor == noCursor {
		return fmt.Errorf("feed %s has no end that the relay canister could find", feed)
	}
	n, err := w.newItems(ctx, feed, cursor)
	if err != nil || n == 0 {
		return err
	}
	arg, err := feed.argument()
	if err != nil {
		return err
	}
	reply, err := w.client.Call(ctx, w.identity, w.canister, "relay_pull", arg)
	if err != nil {
		return fmt.Errorf("pull of feed %s: %w", feed, err)
	}
	next, err := decodePulled(reply)
	if err != nil {
		return fmt.Errorf("pull of feed %s: %w", feed, err)
	}
	w.cursors[feed] = next
	w.changed()
	return nil
}

// sentence is the first line of a text: replicas put stack traces and links to
// their documentation into the following ones.
func sentence(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// logRejections logs each rejected call once.
func (w *watch) logRejections(list []rejection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range list {
		if r.id < w.rejections {
			continue
		}
		w.rejections = r.id + 1
		w.log.Warn("a client's message was rejected by its target", "canister", w.canister.String(), "target", r.target.String(), "text", sentence(r.text))
	}
}
