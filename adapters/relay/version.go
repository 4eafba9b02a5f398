package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Version is what a relay canister says about itself.
type Version struct {
	Version   string
	Interface uint64
}

// Version asks the relay canister for its version. One whose interface this
// gateway does not know, or that has none, is refused with a sentence that
// names the remedy (a *bridge.RefusedError).
func (a *Adapter) Version(ctx context.Context, canister candid.Principal) (Version, error) {
	reply, err := a.client.Query(ctx, ic.AnonymousIdentity{}, canister, "relay_version", candid.EncodeEmpty())
	var reject *ic.RejectError
	var status *ic.HTTPError
	switch {
	case errors.As(err, &reject) && hasNoMethod(reject):
		return Version{}, bridge.Refused("canister %s has no method relay_version, so it is no relay canister, or one that is older than this gateway, "+
			"which speaks version %d of its interface: upgrade it to the one that `relay canister wasm` writes", canister, Interface)
	case errors.As(err, &reject) && (reject.Transient() || reject.Stopped()):
		return Version{}, &bridge.UnavailableError{Text: reject.Text, Err: err}
	case errors.As(err, &reject):
		return Version{}, &bridge.RefusedError{Text: reject.Text}
	case errors.As(err, &status) && !ic.Retryable(err):
		return Version{}, bridge.Refused("the network does not take relay_version: %v", status)
	case err != nil:
		return Version{}, err
	}
	v, ok := decodeVersion(reply)
	switch {
	case !ok:
		return Version{}, bridge.Refused("canister %s is no relay canister: its relay_version does not answer with a version", canister)
	case v.Interface > Interface:
		return v, bridge.Refused("relay canister %s (%s) speaks version %d of its interface, this gateway version %d: use a gateway as new as the canister, "+
			"or put the relay canister in its place that `relay canister wasm` writes", canister, v.Version, v.Interface, Interface)
	case v.Interface < Interface:
		return v, bridge.Refused("relay canister %s (%s) speaks version %d of its interface, this gateway version %d: upgrade the canister to the one that "+
			"`relay canister wasm` writes", canister, v.Version, v.Interface, Interface)
	}
	return v, nil
}

// hasNoMethod reports whether a canister was reached that does not have the
// method: IC0536, or the replica's words where there is no code.
func hasNoMethod(reject *ic.RejectError) bool {
	return reject.ErrorCode == "IC0536" || strings.Contains(reject.Text, "has no query method")
}

func decodeVersion(reply []byte) (Version, bool) {
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil || len(values) == 0 {
		return Version{}, false
	}
	version, isText := values[0].Field("version").Text()
	number, isNat := values[0].Field("interface").Uint64()
	const longest = 100 // bytes of a version in a sentence
	version = strings.ToValidUTF8(version[:min(len(version), longest)], "")
	return Version{Version: version, Interface: number}, isText && isNat
}

// A handshake remembers for a while what a relay canister's version means for
// clients that want to open a connection.
type handshake struct {
	turn chan struct{} // holds one token: who has it may ask

	mu       sync.Mutex
	canister candid.Principal
	problem  error // nil: the canister can be used
	until    time.Time
}

// Upgrades of canisters are rare. After a refusal somebody is about to mend it.
// A canister that is not reached is asked once for all who wait.
const (
	trusted    = time.Minute
	refused    = 5 * time.Second
	notReached = 500 * time.Millisecond
)

func newHandshake() *handshake {
	h := &handshake{turn: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	return h
}

// known returns what is known of a canister, if it is not too old.
func (h *handshake) known(canister candid.Principal) (ok bool, problem error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.canister != canister || time.Now().After(h.until) {
		return false, nil
	}
	return true, h.problem
}

func (h *handshake) note(canister candid.Principal, problem error, valid time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.canister, h.problem, h.until = canister, problem, time.Now().Add(valid)
}

// shakeHands returns an error if clients must not be connected with the relay
// canister. Many may ask at once; the canister is asked by one of them.
func (a *Adapter) shakeHands(ctx context.Context, canister candid.Principal) error {
	h := a.handshake
	if ok, problem := h.known(canister); ok {
		return problem
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.turn:
	}
	defer func() { h.turn <- struct{}{} }()
	if ok, problem := h.known(canister); ok {
		return problem
	}
	_, err := a.Version(ctx, canister)
	_, isRefusal := bridge.RefusalText(err)
	switch {
	case err == nil:
		h.note(canister, nil, trusted)
	case isRefusal:
		h.note(canister, err, refused)
	default:
		err = fmt.Errorf("relay_version: %w", err)
		if ctx.Err() == nil { // or it may be the caller's impatience
			h.note(canister, err, notReached)
		}
	}
	return err
}
