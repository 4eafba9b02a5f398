package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// RunNetwork runs the embedded network of a configuration alone, with its
// canisters, until ctx ends. Gateways and deploy tools reach it by its URL.
// That ctx ended is no error, not even during the start.
func RunNetwork(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger) error {
	return unlessStopped(ctx, runNetwork(ctx, cfg, out, log), log)
}

func runNetwork(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger) error {
	if !cfg.IsEmbedded() {
		return errors.New(`relay network runs the embedded network: set network.url = "embedded"`)
	}
	// The relay canister's admin: the identity of a gateway that uses this file.
	identity, err := loadIdentity(cfg, log)
	if err != nil {
		return err
	}
	network, err := connect(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer network.close()
	if err := network.install(ctx, cfg, identity.Principal(), log); err != nil {
		return err
	}
	printNetwork(out, network)
	<-ctx.Done()
	log.Info("stopping")
	return nil
}

func loadIdentity(cfg *config.Config, log *slog.Logger) (ic.Identity, error) {
	identity, created, err := ic.LoadOrCreateIdentity(cfg.Gateway.Identity)
	if err != nil {
		return nil, fmt.Errorf("gateway.identity: %w", err)
	}
	if created {
		log.Info("created the gateway's identity", "file", cfg.Gateway.Identity, "principal", identity.Principal().String())
	}
	return identity, nil
}
