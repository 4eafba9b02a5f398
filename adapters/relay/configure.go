package relay

import (
	"context"
	"fmt"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
)

// Differences says, one line each, where the relay canister's configuration is
// not what this adapter's settings want. It is for admins and controllers of
// the canister and for its gateways; the canister rejects others. The answer
// is that of a query: not certified.
func (a *Adapter) Differences(ctx context.Context, canister candid.Principal) ([]string, error) {
	reply, err := a.client.Query(ctx, a.identity, canister, "relay_config", candid.EncodeEmpty())
	if err != nil {
		return nil, fmt.Errorf("relay_config: %w", err)
	}
	current, err := decodeConfig(reply)
	if err != nil {
		return nil, fmt.Errorf("relay_config: %w", err)
	}
	return current.differences(a.settings), nil
}

// Configure gives the relay canister this adapter's settings. Clients stay
// connected, and feeds that stay keep their cursors. A *bridge.RefusedError has
// the canister's sentence: the identity is no admin, or the settings are wrong.
func (a *Adapter) Configure(ctx context.Context, canister candid.Principal) error {
	arg, err := a.settings.Argument()
	if err != nil {
		return fmt.Errorf("relay_configure: %w", err)
	}
	reply, err := a.client.Call(ctx, a.identity, canister, "relay_configure", arg)
	if err != nil {
		return fmt.Errorf("relay_configure: %w", err)
	}
	text, refused, err := candid.DecodeResult(reply)
	switch {
	case err != nil:
		return fmt.Errorf("relay_configure: %w", err)
	case refused:
		return &bridge.RefusedError{Text: text}
	}
	return nil
}
