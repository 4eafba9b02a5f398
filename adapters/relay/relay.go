package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	sent         chan struct{} // holds one token: a client's message went through, look at the feeds now

	polled atomic.Uint64 // the nonce of the last poll: the gateway has what is below it

	rejectionsMu sync.Mutex
	rejections   uint64 // id after the last one that was logged
}

var (
	_ bridge.Adapter   = (*Adapter)(nil)
	_ bridge.Checker   = (*Adapter)(nil)
	_ bridge.Watcher   = (*Adapter)(nil)
	_ bridge.Pipeliner = (*Adapter)(nil)
)

// New returns an Adapter for the relay canister that was given settings.
func New(client *ic.Client, identity ic.Identity, settings Settings, log *slog.Logger) *Adapter {
	if settings.WatchInterval == 0 {
		settings.WatchInterval = 500 * time.Millisecond
	}
	return &Adapter{
		Adapter:  cdk.New(client, identity),
		client:   client,
		identity: identity,
		settings: settings,
		log:      log,
		sent:     make(chan struct{}, 1),
	}
}

// window stays below the 64 messages that the relay canister holds back, so
// that no order of arrival makes it drop a client.
const window = 32

// Window lets several messages of a client be under way at once.
func (a *Adapter) Window() int { return window }

// Message forwards a signed ws_message. The target has most likely something
// new afterwards, so the feeds are looked at.
func (a *Adapter) Message(ctx context.Context, env bridge.Envelope) error {
	err := a.Adapter.Message(ctx, env)
	select {
	case a.sent <- struct{}{}:
	default:
	}
	return err
}

// Poll notes how far the gateway has come, for the next pull to say.
func (a *Adapter) Poll(ctx context.Context, canister candid.Principal, from uint64) (bridge.Batch, error) {
	a.polled.Store(from)
	return a.Adapter.Poll(ctx, canister, from)
}

// delivered is the nonce below which the relay canister may forget messages.
// The last one that the gateway has stays: it is how the gateway recognises
// the queue.
func (a *Adapter) delivered() uint64 { return max(a.polled.Load(), 1) - 1 }

// Check asks the relay canister and every feed's query, so that a wrong
// method or type is known before the first client comes.
func (a *Adapter) Check(ctx context.Context, canister candid.Principal) error {
	var problems []error
	if err := a.Adapter.Check(ctx, canister); err != nil {
		problems = append(problems, err)
	}
	for _, feed := range a.settings.Feeds {
		if _, err := a.newItems(ctx, feed, 0); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// newItems asks how many items a feed's query returns from a cursor on.
func (a *Adapter) newItems(ctx context.Context, feed Target, cursor uint64) (int, error) {
	reply, err := a.client.Query(ctx, ic.AnonymousIdentity{}, feed.Canister, feed.Method, candid.EncodeNat(cursor))
	if err != nil {
		return 0, fmt.Errorf("feed %s cannot be asked: %w", feed, err)
	}
	n, err := candid.VecLen(reply)
	if err != nil {
		return 0, fmt.Errorf("feed %s must be a query (nat) -> (vec T): %w", feed, err)
	}
	return n, nil
}
