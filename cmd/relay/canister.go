package main

import (
	"errors"
	"fmt"
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
  relay canister config --config config.toml --format hex > argument.hex

  icp canister install <id> --wasm relay.wasm --args-file argument.hex --args-format hex

Then name the deployed canister by its principal in the route. When the route's
settings have changed later, apply them with

  relay canister configure --config config.toml`

const wasmHelp = `Write the relay canister's Wasm module to standard output. It is what the Motoko
compiler emits by default: with a 64-bit memory that an upgrade keeps. A deploy
tool has to upgrade it with wasm_memory_persistence = keep, as the usual ones do.

With --wasm32 it is the other build of the same sources, for networks that run
32-bit memories only, such as the embedded one. Stay with the build that is
installed: neither can be upgraded to the other.`

const configHelp = `Write the install argument of the relay canister, made from the route with
adapter = "relay". Where there are several, --canister chooses one.

By default it is Candid text, for people and for tools that read it with the
canister's interface. "icp canister install" does not: give it the argument with
--format hex, or --format bin to a file, and the same --args-format.

Targets must be principals: names exist on the embedded network only. The
gateway's identity, created if need be, becomes an admin of the relay canister,
and one of its gateways where the route lists those.`

const configureHelp = `Apply the settings of the route with adapter = "relay" to the relay canister that
it names, which must be deployed already. Where there are several such routes,
--canister chooses one.

The call is signed with the gateway's identity (gateway.identity), which must be
an admin of the relay canister: it is one if the canister was installed with the
argument that "relay canister config" writes. Clients stay connected, and feeds
that stay keep their place.

What differed before is printed, one line each. With --dry-run nothing is changed.`

const canisterExamples = `  relay canister configure --config config.toml --dry-run
  relay canister configure --config config.toml --canister bkyz2-fmaaa-aaaaa-qaaaq-cai`

// newCanisterCommand gives what a deploy tool needs, and configures what it has deployed.
func newCanisterCommand(configPath *string) *cobra.Command {
	parent := &cobra.Command{
		Use:   "canister",
		Short: "The relay canister for your own deploy tool, and its configuration",
		Long:  canisterHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(newWasmCommand(), newDidCommand(), newConfigCommand(configPath), newConfigureCommand(configPath))
	return parent
}

func newWasmCommand() *cobra.Command {
	var wasm32 bool
	cmd := &cobra.Command{
		Use:   "wasm",
		Short: "Write the relay canister's Wasm module to standard output",
		Long:  wasmHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if isTerminal(cmd.OutOrStdout()) {
				return errors.New("this is a binary file: redirect it, for example `relay canister wasm > relay.wasm`")
			}
			module := canister.Wasm()
			if wasm32 {
				module = canister.Wasm32()
			}
			_, err := cmd.OutOrStdout().Write(module)
			return err
		},
	}
	cmd.Flags().BoolVar(&wasm32, "wasm32", false, "the build with a 32-bit memory")
	return cmd
}

func newDidCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "did",
		Short: "Write the relay canister's Candid interface to standard output",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), canister.Interface())
			return err
		},
	}
}

func newConfigCommand(configPath *string) *cobra.Command {
	var name, format string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write the relay canister's install argument, made from the route",
		Long:  configHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*configPath)
			if err != nil {
				return err
			}
			if format == app.FormatBin && isTerminal(cmd.OutOrStdout()) {
				return errors.New("this is binary: redirect it, or use --format hex")
			}
			argument, note, err := app.RelayArgument(cfg, name, format)
			if err != nil {
				return err
			}
			if note != "" {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "relay:", note)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), argument)
			return err
		},
	}
	addCanisterFlag(cmd, &name)
	cmd.Flags().StringVar(&format, "format", app.FormatCandid, "the `format`: candid (text), hex or bin")
	return cmd
}

func newConfigureCommand(configPath *string) *cobra.Command {
	var name string
	var dryRun bool
	cmd := &cobra.Command{
		Use:     "configure",
		Short:   "Apply the route's settings to the deployed relay canister",
		Long:    configureHelp,
		Example: canisterExamples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(*configPath)
			if err != nil {
				return err
			}
			log := newLog(cmd.ErrOrStderr(), cfg.Gateway.Log)
			return app.Configure(cmd.Context(), cfg, name, dryRun, cmd.OutOrStdout(), log)
		},
	}
	addCanisterFlag(cmd, &name)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	return cmd
}

func addCanisterFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "canister", "", "the relay canister, as its `route` names it; needed where several routes have one")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
