package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/adapters/cdk"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Adapter reaches one relay canister.
type Adapter struct {
	*cdk.Adapter // the four methods
	client       *ic.Client
	identity     ic.Identity
	settings     Settings
	log          *slog.Logger
	handshake    *handshake
	readEvery    time.Duration // statusInterval, but for tests
	sent         chan struct{} // holds one token: a client's message went through, look at the feeds now

	next atomic.Uint64 // nonce of the first message that the gateway does not have

	rejectionsMu sync.Mutex
	rejections   uint64 // id after the last one that was logged
}

var (
	_ bridge.Adapter   = (*Adapter)(nil)
	_ bridge.Checker   = (*Adapter)(nil)
	_ bridge.Watcher   = (*Adapter)(nil)
	_ bridge.Pipeliner = (*Adapter)(nil)
	_ bridge.Resumer   = (*Adapter)(nil)
	_ bridge.Confirmer = (*Adapter)(nil)
)

// New returns an Adapter for the relay canister that has, or is to be given, settings.
func New(client *ic.Client, identity ic.Identity, settings Settings, log *slog.Logger) *Adapter {
	if settings.WatchInterval == 0 {
		settings.WatchInterval = 500 * time.Millisecond
	}
	return &Adapter{
		Adapter:   cdk.New(client, identity),
		client:    client,
		identity:  identity,
		settings:  settings,
		log:       log,
		handshake: newHandshake(),
		readEvery: statusInterval,
		sent:      make(chan struct{}, 1),
	}
}

// The window stays below the 64 messages and 4 MiB that the relay canister
// holds back, so that no order of arrival makes it drop a client.
const (
	windowMessages = 32
	windowBytes    = 3 << 20
)

// Window lets several messages of a client be under way at once.
func (a *Adapter) Window() (messages, bytes int) { return windowMessages, windowBytes }

// Open forwards a signed ws_open, unless the relay canister's interface is one
// that this gateway does not know.
func (a *Adapter) Open(ctx context.Context, env bridge.Envelope) error {
	const longWait = 2 * time.Second // a person waits
	for wait := notReached; ; wait = min(2*wait, longWait) {
		err := a.shakeHands(ctx, env.Canister)
		if err == nil {
			return a.Adapter.Open(ctx, env)
		}
		if _, isRefusal := bridge.RefusalText(err); isRefusal || ic.Pause(ctx, wait, err) != nil {
			return err
		}
	}
}

// Message forwards a signed ws_message. The target has most likely something
// new afterwards, so the feeds are looked at.
func (a *Adapter) Message(ctx context.Context, env bridge.Envelope) error {
	if err := a.Adapter.Message(ctx, env); err != nil {
		return err
	}
	select {
	case a.sent <- struct{}{}:
	default:
	}
	return nil
}

// Lost tells the relay canister that a client may come back. Where nothing is
// kept for it, and by a canister that does not know the difference, it is closed.
func (a *Adapter) Lost(ctx context.Context, canister candid.Principal, client candid.ClientKey) error {
	if a.settings.Resume == 0 {
		return a.Close(ctx, canister, client)
	}
	err := a.Leave(ctx, canister, "relay_lost", client)
	if _, refused := bridge.RefusalText(err); refused {
		return a.Close(ctx, canister, client)
	}
	return err
}

// Delivered notes how far the gateway has come, for the next pull to say.
func (a *Adapter) Delivered(_ candid.Principal, next uint64) { a.next.Store(next) }

// delivered is the nonce below which the relay canister may forget messages.
// The last one that the gateway has stays: it is how the gateway recognises
// the queue.
func (a *Adapter) delivered() uint64 { return max(a.next.Load(), 1) - 1 }

// Check asks the relay canister for its version, and every watched feed's
// query, so that a wrong method or type is known before the first client
// comes. That the canister is configured otherwise is a line in the log.
func (a *Adapter) Check(ctx context.Context, canister candid.Principal) error {
	if err := a.shakeHands(ctx, canister); err != nil {
		if text, refused := bridge.RefusalText(err); refused {
			return fmt.Errorf("clients are turned away: %s", text)
		}
		return fmt.Errorf("relay canister %s does not answer: %w", canister, err)
	}
	var problems []error
	if err := a.Adapter.Check(ctx, canister); err != nil {
		problems = append(problems, err)
	}
	for _, feed := range a.settings.Feeds {
		if feed.Interval != 0 {
			continue // only the relay canister needs to reach it
		}
		if _, err := a.page(ctx, feed.Target, 0); err != nil {
			problems = append(problems, err)
		}
	}
	a.compare(ctx, canister)
	return errors.Join(problems...)
}

// compare logs where the relay canister's configuration is another. It may be
// none of this gateway's business: then nothing is said.
func (a *Adapter) compare(ctx context.Context, canister candid.Principal) {
	differences, err := a.Differences(ctx, canister)
	switch {
	case err != nil:
		a.log.Debug("the relay canister's configuration cannot be compared", "canister", canister.String(), "error", textOf(err))
	case len(differences) > 0:
		a.log.Warn("the relay canister is configured otherwise than here; `relay canister configure` applies this configuration", "canister", canister.String(), "differences", summary(differences))
	}
}

// summary puts the first of many differences on one line.
func summary(differences []string) string {
	const most = 8
	if len(differences) <= most {
		return strings.Join(differences, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(differences[:most], "; "), len(differences)-most)
}

// page asks a feed's query what it has from a cursor on.
func (a *Adapter) page(ctx context.Context, feed Target, cursor uint64) (candid.Page, error) {
	reply, err := a.client.Query(ctx, ic.AnonymousIdentity{}, feed.Canister, feed.Method, candid.EncodeNat(cursor))
	if err != nil {
		return candid.Page{}, fmt.Errorf("feed %s cannot be asked: %w", feed, err)
	}
	page, err := candid.DecodePage(reply)
	if err != nil {
		return candid.Page{}, fmt.Errorf("feed %s must be a query (nat) -> (vec T), or (nat) -> (record { items : vec T; next : nat }): %w", feed, err)
	}
	return page, nil
}
