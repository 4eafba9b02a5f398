package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/icrelay/icrelay/internal/bench"
)

// comparison measures this relay and another gateway of the protocol in turn, with
// the same clients, canister and network.
type comparison struct {
	suite
	command []string // of the other gateway, with {address} and {network}
	number  int      // of gateways started
}

// contest is one thing that both are measured at.
type contest struct {
	name string
	args []string // of relay bench
	rows []row
}

// row is a figure of a report.
type row struct {
	name string
	of   func(*bench.Report) string
}

func runComparison(ctx context.Context, s settings, command []string, out io.Writer) error {
	if len(command) == 0 {
		return errors.New("compare with which gateway? Its program and arguments, with {address} for where it listens (127.0.0.1:port) and {network} for the network's URL")
	}
	if !strings.Contains(strings.Join(command, " "), "{address}") {
		return errors.New("the other gateway's arguments lack {address}: where it is to listen")
	}
	c := &comparison{suite: suite{settings: s, results: results{out: out}}, command: command}
	return c.run(ctx)
}

func (c *comparison) contests() []contest {
	senders, crowd := strconv.Itoa(c.senders), c.crowds[len(c.crowds)-1]
	calm := max(1, c.rate/10)
	seconds := []string{"--duration", c.seconds.String()}
	with := func(args ...string) []string { return append(args, seconds...) }
	sent := row{"messages/s", func(r *bench.Report) string { return fmt.Sprintf("%.0f", r.Messages.SentPerSecond) }}
	received := row{"frames/s", func(r *bench.Report) string { return fmt.Sprintf("%.0f", r.Messages.ReceivedPerSecond) }}
	times := row{"p50, p99", func(r *bench.Report) string {
		return fmt.Sprintf("%.1f, %.1f ms", r.Messages.Latency.P50, r.Messages.Latency.P99)
	}}
	cost := row{"CPU of each", func(r *bench.Report) string { return fmt.Sprintf("%.0f µs", r.Process.CPUPerMessage) }}
	size := row{"bytes of a frame", func(r *bench.Report) string { return fmt.Sprintf("%.0f", r.Messages.BytesIn) }}
	return []contest{
		{
			fmt.Sprintf("%d clients, %d messages/s and back", c.senders, calm),
			with("--pattern", "echo", "--clients", senders, "--rate", strconv.Itoa(calm)), []row{times, cost},
		},
		{
			fmt.Sprintf("%d clients, one message under way each", c.senders),
			with("--pattern", "echo", "--clients", senders), []row{sent, times, cost, size},
		},
		{
			fmt.Sprintf("%d clients, %s messages under way each", c.senders, inFlight),
			with("--pattern", "echo", "--clients", senders, "--in-flight", inFlight), []row{sent, times, cost},
		},
		{
			fmt.Sprintf("fan-out to %d clients", c.fan),
			with("--pattern", "fanout", "--clients", strconv.Itoa(c.fan), "--content", broadcast), []row{received, times, cost, size},
		},
		{
			fmt.Sprintf("%d clients, %d opens/s", crowd, c.opens),
			with("--pattern", "idle", "--clients", strconv.Itoa(crowd), "--settle", c.settle.String()),
			[]row{
				{"opened", func(r *bench.Report) string {
					return fmt.Sprintf("%d, %.0f/s", r.Opens.Number, r.Opens.PerSecond)
				}},
				{"p50, p99 of an open", func(r *bench.Report) string {
					return fmt.Sprintf("%.0f, %.0f ms", r.Opens.Latency.P50, r.Opens.Latency.P99)
				}},
				{"memory of a session", func(r *bench.Report) string {
					return fmt.Sprintf("%.1f KB", r.Process.RSSPerSession/1024)
				}},
				{"idle CPU", func(r *bench.Report) string {
					return fmt.Sprintf("%.1f %% of a core", 100*r.Process.Cores)
				}},
			},
		},
	}
}

func (c *comparison) run(ctx context.Context) (err error) {
	if c.dir, err = os.MkdirTemp("", "relay-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(c.dir) }()
	if c.network, err = startNetwork(c.settings, c.dir); err != nil {
		return err
	}
	defer c.network.stop()
	c.line(fmt.Sprintf("everything on this machine, %s each", c.seconds), "this relay", "the other")
	for _, contest := range c.contests() {
		ours, err := c.measure(ctx, contest, func(n int) (*process, error) {
			return startGateway(c.settings, c.dir, "127.0.0.1:0", n, c.network)
		})
		if err != nil {
			return err
		}
		theirs, err := c.measure(ctx, contest, func(int) (*process, error) {
			return startOther(ctx, c.dir, c.command, c.network)
		})
		if err != nil {
			return err
		}
		c.line("\n"+contest.name, "", "")
		for _, row := range contest.rows {
			c.line("  "+row.name, row.of(ours), row.of(theirs))
		}
		c.line("  errors", errorsOf(ours), errorsOf(theirs))
		if ours.Errors > 0 {
			c.results.errors(contest.name, ours.Errors, ours.Failures[0].First)
		}
	}
	return c.results.end()
}

// measure runs a contest with a gateway of its own.
func (c *comparison) measure(ctx context.Context, contest contest, begin func(n int) (*process, error)) (*bench.Report, error) {
	c.number++
	gateway, err := begin(c.number)
	if err != nil {
		return nil, err
	}
	defer gateway.stop()
	c.gateway = gateway
	report, err := c.load(ctx, contest.args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", contest.name, err)
	}
	return report, nil
}

// errorsOf is how many errors of which kinds a report has.
func errorsOf(report *bench.Report) string {
	if report.Errors == 0 {
		return "none"
	}
	kinds := make([]string, 0, len(report.Failures))
	for _, failure := range report.Failures {
		kinds = append(kinds, fmt.Sprintf("%d %s", failure.Count, failure.Kind))
	}
	return strings.Join(kinds, "; ")
}

func (c *comparison) line(name, ours, theirs string) {
	_, _ = fmt.Fprintln(c.results.out, strings.TrimRight(fmt.Sprintf("%-44s%-26s%s", name, ours, theirs), " "))
}
