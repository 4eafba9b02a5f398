package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// configureTimeout bounds a configuration, retries of the call included.
const configureTimeout = 2 * time.Minute

// Configure applies the configuration to a deployed relay canister, with the
// gateway's identity, and says on out what it did: to the canister of the only
// relay route, or of the one whose canister is named as there. With dryRun it
// only says what would change.
func Configure(ctx context.Context, cfg *config.Config, canister string, dryRun bool, out io.Writer, log *slog.Logger) error {
	if cfg.IsEmbedded() {
		return errors.New(`network.url = "embedded": the embedded network's relay canister got this configuration when it was installed, and gets it anew at each start; ` +
			"`relay canister configure` is for relay canisters on other networks")
	}
	route, err := relayRoute(cfg, canister)
	if err != nil {
		return err
	}
	id, err := candid.ParsePrincipal(route.Canister)
	if err != nil {
		return fmt.Errorf("route.canister: %w", err)
	}
	identity, err := loadIdentity(cfg, log)
	if err != nil {
		return err
	}
	settings, err := deployedSettings(route, identity.Principal())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	network, err := connect(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer network.close()
	c := configuration{
		adapter:  relay.New(network.client, identity, settings, log),
		canister: id,
		gateway:  identity.Principal(),
		file:     cfg.Gateway.Identity,
		out:      out,
	}
	return c.apply(ctx, dryRun)
}

// A configuration is about to be applied to a relay canister.
type configuration struct {
	adapter  *relay.Adapter
	canister candid.Principal
	gateway  candid.Principal // who applies it
	file     string           // with the gateway's identity
	out      io.Writer
}

func (c *configuration) apply(ctx context.Context, dryRun bool) error {
	version, err := c.adapter.Version(ctx, c.canister)
	if err != nil {
		return sentence(err)
	}
	c.print("relay canister %s (%s, interface %d)", c.canister, version.Version, version.Interface)
	differences, differencesErr := c.adapter.Differences(ctx, c.canister)
	if differencesErr == nil {
		for _, difference := range differences {
			c.print("  %s", difference)
		}
	}
	if dryRun {
		return c.endOfDryRun(differences, differencesErr)
	}
	if err := c.adapter.Configure(ctx, c.canister); err != nil {
		return c.explain(err)
	}
	if left := c.notTaken(ctx); len(left) > 0 {
		return fmt.Errorf("relay canister %s has taken the configuration, but does not know all of it: %s\nIt is older than this gateway: upgrade it to the one that `relay canister wasm` writes",
			c.canister, strings.Join(left, "; "))
	}
	if differencesErr == nil && len(differences) == 0 {
		c.print("configured as in the file, which it was already")
	} else {
		c.print("configured as in the file")
	}
	return nil
}

// notTaken returns what is still different after the configuration was applied:
// settings that an older relay canister ignores. A query may be answered by a
// replica that is behind, so it is asked a few times.
func (c *configuration) notTaken(ctx context.Context) (left []string) {
	const tries, pause = 4, 500 * time.Millisecond
	for try := range tries {
		var err error
		if left, err = c.adapter.Differences(ctx, c.canister); err != nil || len(left) == 0 {
			return nil
		}
		if try < tries-1 && ic.Pause(ctx, pause, nil) != nil {
			return nil
		}
	}
	return left
}

func (c *configuration) endOfDryRun(differences []string, err error) error {
	switch {
	case isForAdmins(err):
		return fmt.Errorf("relay canister %s does not show this gateway its configuration\n%s", c.canister, c.remedy())
	case err != nil:
		return fmt.Errorf("relay canister %s: %w", c.canister, err)
	case len(differences) == 0:
		c.print("has this configuration already; nothing would change")
	default:
		c.print("nothing was changed: this was a dry run")
	}
	return nil
}

// explain says why the relay canister did not take the configuration.
func (c *configuration) explain(err error) error {
	text, refused := bridge.RefusalText(err)
	switch {
	case isForAdmins(err):
		return fmt.Errorf("relay canister %s does not let this gateway configure it: %s\n%s", c.canister, text, c.remedy())
	case refused:
		return fmt.Errorf("relay canister %s refuses the configuration: %s", c.canister, text)
	}
	return fmt.Errorf("relay canister %s: %w", c.canister, err)
}

// isForAdmins reports whether the relay canister said that the caller may not
// do this (canister/src/Errors.mo).
func isForAdmins(err error) bool {
	return err != nil && strings.Contains(err.Error(), " is only for controllers and admins of the relay canister")
}

// remedy says how the gateway's identity becomes an admin.
func (c *configuration) remedy() string {
	return fmt.Sprintf("The gateway's identity (%s) is %s.\n"+
		"A controller of the canister, or one of its admins, makes it an admin, once:\n"+
		"  - with a deploy tool: call relay_configure of %s, or upgrade it, with the argument that `relay canister config`\n"+
		"    writes; it has this principal among the admins\n"+
		"  - or with another gateway that is an admin: admins = [%q] in its [route.relay], then `relay canister configure` there",
		c.file, c.gateway, c.canister, c.gateway.String())
}

func (c *configuration) print(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format+"\n", args...)
}

// sentence is a refusal as the canister said it.
func sentence(err error) error {
	if text, refused := bridge.RefusalText(err); refused {
		return errors.New(text)
	}
	return err
}
