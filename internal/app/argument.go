package app

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// Formats of an install argument.
const (
	FormatCandid = "candid" // text
	FormatHex    = "hex"
	FormatBin    = "bin"
)

// RelayArgument returns the install argument of a relay canister in a format,
// made from its route: the configuration's only relay route, or the one whose
// canister is named as there. The gateway's identity, created if need be,
// becomes an admin. A note, if there is one, is what the user has to know about it.
func RelayArgument(cfg *config.Config, canister, format string) (argument, note string, err error) {
	if !slices.Contains([]string{FormatCandid, FormatHex, FormatBin}, format) {
		return "", "", fmt.Errorf("%q is not a format: %s, %s or %s", format, FormatCandid, FormatHex, FormatBin)
	}
	route, err := relayRoute(cfg, canister)
	if err != nil {
		return "", "", err
	}
	identity, _, err := ic.LoadOrCreateIdentity(cfg.Gateway.Identity)
	if err != nil {
		return "", "", fmt.Errorf("gateway.identity: %w", err)
	}
	settings, err := deployedSettings(route, identity.Principal())
	if err != nil {
		return "", "", err
	}
	if format == FormatCandid {
		if settings.TextNeedsInterface() {
			note = interfaceNote
		}
		return settings.CandidText(), note, nil
	}
	raw, err := settings.Argument()
	if err != nil {
		return "", "", fmt.Errorf("the install argument: %w", err)
	}
	if format == FormatHex {
		return hex.EncodeToString(raw) + "\n", "", nil
	}
	return string(raw), "", nil
}

const interfaceNote = "this text must be read with the relay canister's interface; tools that do not, such as `icp canister install`, would encode it wrongly: " +
	"for these use --format hex or --format bin"

// deployedSettings is what a relay canister outside the embedded network gets.
func deployedSettings(route *config.Route, gateway candid.Principal) (relay.Settings, error) {
	settings, err := relaySettings(route.Relay, nil, gateway)
	if err != nil {
		return settings, fmt.Errorf("route.relay: %w (names of canisters exist on the embedded network only; a deployed relay canister needs principals)", err)
	}
	return settings, nil
}

// relayRoute finds the relay route whose canister is named, or the only one.
func relayRoute(cfg *config.Config, canister string) (*config.Route, error) {
	var found []*config.Route
	var names []string
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		if r.Relay == nil || canister != "" && r.Canister != canister {
			continue
		}
		found, names = append(found, r), append(names, r.Canister)
	}
	switch {
	case len(found) == 0 && canister != "":
		return nil, fmt.Errorf(`the configuration has no route with adapter = "relay" and canister = %q`, canister)
	case len(found) == 0:
		return nil, errors.New(`the configuration has no route with adapter = "relay"`)
	case len(found) > 1:
		return nil, fmt.Errorf("the configuration has several routes with adapter = \"relay\"; choose one with --canister: %s", strings.Join(names, ", "))
	}
	return found[0], nil
}
