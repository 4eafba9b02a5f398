package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/icrelay/icrelay/internal/bench"
)

const benchHelp = `Load a gateway with clients and report what it carries. Any gateway of the IC
WebSocket protocol will do, and any canister that answers as the pattern needs:

  idle     clients connect and stay; nothing is sent
  echo     each client sends messages, and the canister sends each one back to
           its sender
  send     the same, but the canister sends back only 1 in 16: --content says
           which, and --silent the others. One that comes back confirms the 15
           before it
  fanout   one client sends messages, and the canister sends each one to all
  churn    each client connects, sends one message, waits for it to come back,
           leaves, and comes again

The clients are real ones: each signs with a key of its own, and verifies the
certification of what it receives, like a browser. Messages are signed before
the clock starts, and in long runs a minute ahead; those of churn after their
client has connected, since they name the connection. To spare the generator's
CPU, --check-every 100 has each client verify its first message and 1 in 100.

Messages. --size bytes of text, of which 36 characters tell the message apart
from others; they are found in whatever the canister sends back. --content says
what the text stands in: "text" and "blob" are Candid values of these types, and
a Candid value in text form with {payload} in a text or blob of it is encoded as
it is written. Numbers take a type, as in 5 : nat8; without one they are a nat,
with a sign an int. Of the values only references to services and functions are
not known.

Latency is the time from when a message was due to each arrival. With --rate it
is due at its time, even if the gateway makes the client wait. Without, each
client sends its next message when one of --in-flight has come back. Of an open
it is the time from dialing to the certified open message; a relay on a network
that is not mainnet holds that back for half a second.

Memory and CPU are those of the gateway's process, with --pid, on Linux. A relay
with an embedded network has network and canisters in the same process: run them
apart, with "relay network" and a gateway whose network.url is its address.

With wss:// the gateway's certificate has to be one that this machine trusts; the
environment variable SSL_CERT_FILE names a file with private authorities.

A gateway has limits that a load from one address reaches soon. Raise them for
the measurement: those of relay are max_connections, connection_rate and, where
the generator is on another machine, those per address.

Ctrl-C ends early, with the report so far. Exit codes: 0 without errors, 1
otherwise.`

const benchExamples = `  # the embedded network's echo canister (wasm = "builtin:echo")
  relay bench --gateway ws://127.0.0.1:8080 --canister <id> --pattern echo --clients 100 --rate 1000

  # it sends a variant with the tag Everybody to all
  relay bench --gateway ws://127.0.0.1:8080 --canister <id> --pattern fanout --clients 1000 \
      --content '(variant { Everybody = "{payload}" })' --check-every 100

  # the guestbook of examples/motoko: each entry goes to all
  relay bench --gateway ws://127.0.0.1:8080 --canister <id of relay> --pattern fanout --clients 50 --rate 2

  # what 10,000 idle clients cost, as JSON. The network is a process of its own;
  # network.url in gateway.toml is its address
  relay network --config network.toml &
  relay --config gateway.toml & gateway=$!
  relay bench --gateway ws://127.0.0.1:8080 --canister <id> --pattern idle --clients 10000 --ramp 500 \
      --duration 1m --pid $gateway --json`

func newBenchCommand() *cobra.Command {
	o := bench.Defaults()
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Load any gateway of the protocol with clients and report what it carries",
		Long:    benchHelp,
		Example: benchExamples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			collect(ofGenerator)
			if !quiet {
				o.Progress = cmd.ErrOrStderr()
				o.Line = isTerminal(o.Progress)
			}
			report, err := bench.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			return writeReport(cmd.OutOrStdout(), report, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Gateway, "gateway", o.Gateway, "`address` of the gateway, ws:// or wss://")
	f.StringVar(&o.Canister, "canister", o.Canister, "`id` of the canister that clients connect to")
	f.StringVar(&o.Network, "network", o.Network, "`URL` of the network, for its root key")
	f.StringVar(&o.RootKey, "root-key", o.RootKey, "root key, `hex` DER (default mainnet's, or asked from a network on this machine)")
	f.StringVar(&o.Pattern, "pattern", o.Pattern, strings.Join(bench.Patterns, ", "))
	f.IntVar(&o.Clients, "clients", o.Clients, "`number` of clients")
	f.Float64Var(&o.Ramp, "ramp", o.Ramp, "clients that connect in a second; 0: as fast as possible")
	f.Float64Var(&o.Rate, "rate", o.Rate, "messages that are sent in a second, by all clients; 0: as fast as answers come")
	f.IntVar(&o.InFlight, "in-flight", o.InFlight, "messages of one client under way at once, without --rate")
	f.IntVar(&o.Size, "size", o.Size, "`bytes` of the text in a message")
	f.StringVar(&o.Content, "content", o.Content, "text, blob, or a Candid `value` with {payload} in a text of it")
	f.StringVar(&o.Silent, "silent", o.Silent, "for those not sent back")
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long to measure, after all clients have connected")
	f.DurationVar(&o.Settle, "settle", o.Settle, "pause before the measurement")
	f.IntVar(&o.CheckEvery, "check-every", o.CheckEvery, "verify 1 in so many of each client's messages, and the first")
	f.DurationVar(&o.OpenTimeout, "open-timeout", o.OpenTimeout, "how long a client waits for its open message, from dialing")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "makes the clients' keys, the same in each run; 0: random ones")
	f.IntVar(&o.PID, "pid", o.PID, "process `id` of the gateway, for its memory and CPU")
	f.BoolVar(&asJSON, "json", false, "write the report as JSON")
	f.BoolVar(&quiet, "quiet", false, "write no progress to standard error")
	return cmd
}

func writeReport(w io.Writer, report *bench.Report, asJSON bool) error {
	write := report.WriteTable
	if asJSON {
		write = report.WriteJSON
	}
	if err := write(w); err != nil {
		return err
	}
	if report.Errors > 0 {
		return fmt.Errorf("bench: %d errors; the report says which", report.Errors)
	}
	return nil
}
