package main

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/config"
)

const adapterHelp = `An adapter of your own is a process that the relay starts for the routes that
name it ([[adapter]] in the configuration). It decides how clients' messages
reach a canister, and builds on the adapters that the relay has. It is written
in Go with the kit adapters/plugin/sdk, or in any language that has gRPC.

  relay adapter new gate
  cd gate
  go mod tidy && go build -o gate .
  relay adapter test ./gate`

const adapterTestHelp = `Run the suite that the relay's own adapters pass over an adapter: that opens,
messages, closes and polls do what the contract promises, in order, once, and
within their deadlines, also when the canister is stopped or the network is
gone. (What a stop of the canister does is seen with a canister that can be
stopped; the echo canister cannot.)

The relay starts the process three times, as it will run, for another gateway,
and with a network that is cut off, and gives it a route for each test, to a
canister of an embedded network that nobody has used yet.

With a command, the canister is the relay's own echo canister, or with
--base relay a relay canister whose messages go to a canister that takes them
all. --settings is what the adapter gets as [route.settings]: a JSON object, or
a file with one. Flags of the command itself come after its name.

With --config, command, environment, settings, base and canisters are those of
the configuration, on an embedded network in any case: for an adapter that asks
other canisters. Where the adapter has several routes, --canister chooses one;
what the route's relay canister does besides (feeds, limits to gateways) is left
out.

Messages are a number, as Candid. For an adapter or a canister that wants others,
--content is one that it takes.

Each test is a line. Below one that fails is what was wrong, and what the
process has logged meanwhile; with --verbose the log of all tests is shown.
Exit codes: 0 all passed, 1 some did not, or could not run.`

const adapterTestExamples = `  relay adapter test ./my-adapter
  relay adapter test --base relay --settings '{"minimum": 1}' python3 -u gate.py
  relay adapter test --config config.toml --adapter gate`

const adapterNewHelp = `Write a small adapter in Go to begin with: a folder with a program, its tests, a
go.mod and a configuration to try it with. It refuses long messages, and passes
everything else on to the built-in adapter. The folder must not exist.

The name is that of the adapter, of the folder unless --dir names another, and of
the program. With --replace the module uses a checkout of the relay's sources
instead of a published version.`

// newAdapterCommand helps those who write adapters of their own.
func newAdapterCommand(configPath *string) *cobra.Command {
	parent := &cobra.Command{
		Use:   "adapter",
		Short: "Write and test adapters of your own",
		Long:  adapterHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(newAdapterTestCommand(configPath), newAdapterNewCommand())
	return parent
}

func newAdapterTestCommand(configPath *string) *cobra.Command {
	var base, settings, adapter, canister, content string
	var verbose bool
	cmd := &cobra.Command{
		Use:     "test [flags] [COMMAND [ARGS...]]",
		Short:   "Test an adapter as the built-in ones are tested",
		Long:    adapterTestHelp,
		Example: adapterTestExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			trial, err := adapterTrial(cmd, args, *configPath, base, settings, adapter, canister)
			if err != nil {
				return err
			}
			trial.Verbose = verbose
			if trial.Content, err = hex.DecodeString(content); err != nil {
				return fmt.Errorf("--content must be the hexadecimal Candid of a message: %w", err)
			}
			return app.TestAdapter(cmd.Context(), trial, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringVar(&base, "base", "cdk", "the built-in `adapter` that it builds on: cdk or relay")
	flags.StringVar(&settings, "settings", "", "its settings: a JSON object, or the name of a `file` with one")
	flags.StringVar(&adapter, "adapter", "", "the `name` of an [[adapter]] of the configuration, instead of a command")
	flags.StringVar(&canister, "canister", "", "the `route` to test, by its canister; needed where the adapter has several")
	flags.StringVar(&content, "content", "", "the Candid of an application message, in `hex`")
	flags.BoolVarP(&verbose, "verbose", "v", false, "show the process's log of every test")
	return cmd
}

// adapterTrial is of a command, or of an adapter in the configuration.
func adapterTrial(cmd *cobra.Command, command []string, configPath, base, settings, adapter, canister string) (app.Trial, error) {
	given := cmd.Flags().Changed
	inFile := given("config") || given("adapter")
	switch {
	case len(command) == 0 && !inFile:
		return app.Trial{}, errors.New("name the adapter's command, for example `relay adapter test ./my-adapter`, or one of the configuration: `relay adapter test --config config.toml --adapter gate`")
	case len(command) > 0 && inFile:
		return app.Trial{}, errors.New("either a command, or an adapter of the configuration (--config, --adapter): not both")
	case len(command) > 0 && given("canister"):
		return app.Trial{}, errors.New("--canister chooses a route of the configuration; a command has none")
	case len(command) > 0:
		return app.NewTrial(command, base, settings)
	case given("base"), given("settings"):
		return app.Trial{}, errors.New("--base and --settings are for a command; the configuration has its own")
	}
	cfg, err := config.Load(configPath)
	if err != nil {
		return app.Trial{}, err
	}
	return app.TrialOf(cfg, adapter, canister)
}

func newAdapterNewCommand() *cobra.Command {
	var dir, replace string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the skeleton of an adapter in Go",
		Long:  adapterNewHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.NewAdapter(args[0], dir, replace, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` to write (default: the name)")
	cmd.Flags().StringVar(&replace, "replace", "", "a `folder` with the relay's sources to build with")
	return cmd
}
