package main

import (
	"github.com/spf13/cobra"

	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/config"
)

const networkHelp = `Run the embedded network of the configuration alone, with its canisters and
without the gateway, until it is stopped. It listens on network.listen. Other
programs use it like a local replica: deploy tools, agents, or a gateway whose
configuration names its address as network.url.

It forgets everything when it stops.`

func newNetworkCommand(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "network",
		Short: "Run the embedded network alone, for other tools and gateways",
		Long:  networkHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			collect(ofNetwork)
			cfg, err := config.Load(*configPath)
			if err != nil {
				return err
			}
			return app.RunNetwork(cmd.Context(), cfg, cmd.OutOrStdout(), newLog(cmd.ErrOrStderr(), cfg.Gateway.Log))
		},
	}
}
