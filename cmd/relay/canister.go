package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/config"
)

const canisterHelp = `The relay canister is what your own deploy tool installs beside your canisters
on mainnet or a local network. (The embedded network installs it by itself.)

  relay canister wasm > relay.wasm
  relay canister did > relay.did
  relay canister config --config config.toml > argument.txt

Then name the deployed canister by its principal in the route.`

// newCanisterCommand gives what a deploy tool needs.
func newCanisterCommand(configPath *string) *cobra.Command {
	parent := &cobra.Command{
		Use:   "canister",
		Short: "The relay canister for your own deploy tool: its Wasm, interface and install argument",
		Long:  canisterHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(&cobra.Command{
		Use:   "wasm",
		Short: "Write the relay canister's Wasm module to standard output",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if isTerminal(cmd.OutOrStdout()) {
				return errors.New("this is a binary file: redirect it, for example `relay canister wasm > relay.wasm`")
			}
			_, err := cmd.OutOrStdout().Write(canister.Wasm())
			return err
		},
	}, &cobra.Command{
		Use:   "did",
		Short: "Write the relay canister's Candid interface",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), canister.Interface())
			return err
		},
	}, &cobra.Command{
		Use:   "config",
		Short: "Write the relay canister's install argument, as Candid text, made from the route",
		Long: `Write the install argument of the relay canister as Candid text, made from the
route with adapter = "relay". Targets must be principals: names exist on the
embedded network only. The gateway's identity, created if need be, becomes an
admin of the relay canister.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*configPath)
			if err != nil {
				return err
			}
			text, err := app.RelayArgument(cfg)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	})
	return parent
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
