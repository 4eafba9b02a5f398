package app

import (
	"errors"
	"fmt"

	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// RelayArgument returns the relay canister's install argument as Candid text,
// made from the configuration's one relay route. The gateway's identity,
// created if need be, becomes an admin.
func RelayArgument(cfg *config.Config) (string, error) {
	var found *config.Route
	for i := range cfg.Routes {
		if cfg.Routes[i].Relay == nil {
			continue
		}
		if found != nil {
			return "", errors.New("the configuration has several routes with adapter = \"relay\"; use a file with the one that you deploy")
		}
		found = &cfg.Routes[i]
	}
	if found == nil {
		return "", errors.New("the configuration has no route with adapter = \"relay\"")
	}
	settings, err := relaySettings(found.Relay, nil)
	if err != nil {
		return "", fmt.Errorf("route.relay: %w (names of canisters exist on the embedded network only; a deployed relay canister needs principals)", err)
	}
	identity, _, err := ic.LoadOrCreateIdentity(cfg.Gateway.Identity)
	if err != nil {
		return "", fmt.Errorf("gateway.identity: %w", err)
	}
	settings.Admins = append(settings.Admins, identity.Principal())
	return settings.CandidText(), nil
}
