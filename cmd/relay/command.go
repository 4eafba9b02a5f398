package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/config"
)

const longHelp = `relay holds your clients' WebSockets and speaks the IC WebSocket protocol with
them. It reaches your canisters in the way that each route of the
configuration names: with the CDK's own methods, or through a relay canister
that turns messages into ordinary calls of canisters that know nothing of
WebSockets; or through an adapter of your own, a process that it starts.

With network.url = "embedded" it brings a network of its own, so that nothing
else has to be installed.

On standard output it prints where everything is; the log goes to standard
error. SIGINT and SIGTERM close every connection in order and end it.
SIGHUP makes it read the configuration again: certificates, routes and adapters
change while clients stay connected.
Exit codes: 0 stopped, 1 could not start or go on, 2 the configuration is
wrong.`

const examples = `  relay --config config.toml
  relay check --config config.toml
  relay network --config config.toml
  relay canister config --config config.toml
  relay canister configure --config config.toml --dry-run
  relay adapter new gate
  relay adapter test ./gate/gate
  relay bench --gateway ws://127.0.0.1:8080 --canister <id> --clients 100`

func newCommand() *cobra.Command {
	var path string
	root := &cobra.Command{
		Use:           "relay",
		Short:         "A WebSocket gateway for canisters that never heard of WebSockets",
		Long:          longHelp,
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			collect(ofGateway)
			reload := hangups(ctx, stop)
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			log := newLog(cmd.ErrOrStderr(), cfg.Gateway.Log)
			return app.RunReloading(ctx, cfg, reload, cmd.OutOrStdout(), log)
		},
	}
	root.PersistentFlags().StringVar(&path, "config", "config.toml", "the configuration `file`")
	root.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Check the configuration and say everything that is wrong with it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := config.Load(path); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing to mend\n", path)
			return err
		},
	}, newNetworkCommand(&path), newCanisterCommand(&path), newAdapterCommand(&path), newBenchCommand())
	return root
}

func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // config has checked it
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
