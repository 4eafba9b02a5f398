package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/icrelay/icrelay/internal/bench"
)

// suite is a run of everything. Each measurement has a network and a gateway of its
// own: a network that remembers the calls of others answers less evenly, and takes
// no more than 400,000 in five minutes.
type suite struct {
	settings
	dir              string
	network, gateway *process
	gateways         int      // started so far
	server           *process // bare
	results          results
	figures          map[string]float64 // for tests: by name
}

// broadcast is what the echo canister sends to everybody.
const broadcast = `(variant { Everybody = "{payload}" })`

func runSuite(ctx context.Context, s settings, out io.Writer) error {
	u := &suite{settings: s, results: results{out: out}, figures: make(map[string]float64)}
	return u.run(ctx)
}

func (u *suite) run(ctx context.Context) (err error) {
	if u.dir, err = os.MkdirTemp("", "relay-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(u.dir) }()
	defer u.stop()
	if u.server, err = launch([]string{"bare"}, u.self, partServer); err != nil {
		return err
	}
	defer u.server.stop()
	if err := u.results.begin(u.settings); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{u.fanout, u.send, u.echo, u.latency, u.polling, u.crowd} {
		if err := u.fresh(); err != nil {
			return err
		}
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return u.results.end()
}

// fresh starts a network and a gateway, and stops those before.
func (u *suite) fresh() (err error) {
	u.stop()
	if u.network, err = startNetwork(u.settings, u.dir); err != nil {
		return err
	}
	return u.freshGateway()
}

func (u *suite) stop() {
	for _, p := range []**process{&u.gateway, &u.network} {
		if *p != nil {
			(*p).stop()
			*p = nil
		}
	}
}

func (u *suite) freshGateway() (err error) {
	if u.gateway != nil {
		u.gateway.stop()
	}
	u.gateways++
	u.gateway, err = startGateway(u.settings, u.dir, "127.0.0.1:0", u.gateways, u.network)
	return err
}

// measured runs `relay bench` and notes its errors.
func (u *suite) measured(ctx context.Context, name string, args ...string) (*bench.Report, error) {
	report, err := u.load(ctx, append(args, "--duration", u.seconds.String())...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if report.Errors > 0 {
		u.results.errors(name, report.Errors, report.Failures[0].Kind+": "+report.Failures[0].First)
	}
	return report, nil
}

// ceiling runs another part and notes its errors.
func (u *suite) ceiling(ctx context.Context, name, part string, args ...string) (*bareResult, error) {
	result, err := u.bare(ctx, part, append(args, "--duration", u.seconds.String())...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	u.results.errors(name, result.Errors, "the bare part does not say more")
	return result, nil
}

// inTurn makes two measurements in turn, some times, and returns those of the turn
// whose comparison lies in the middle: what else the machine does meanwhile changes
// single ones by a fifth.
func (u *suite) inTurn(measure func() (*bench.Report, error), ceiling func() (*bareResult, error), compare func(*bench.Report, *bareResult) float64) (
	report *bench.Report, bare *bareResult, value float64, err error,
) {
	type turn struct {
		report *bench.Report
		bare   *bareResult
		value  float64
	}
	all := make([]turn, u.turns)
	for i := range all {
		if i > 0 {
			if err := u.fresh(); err != nil {
				return nil, nil, 0, err
			}
		}
		if report, err = measure(); err != nil {
			return nil, nil, 0, err
		}
		if bare, err = ceiling(); err != nil {
			return nil, nil, 0, err
		}
		all[i] = turn{report, bare, compare(report, bare)}
	}
	slices.SortFunc(all, func(a, b turn) int { return cmp.Compare(a.value, b.value) })
	middle := all[len(all)/2]
	return middle.report, middle.bare, middle.value, nil
}

func (u *suite) note(name string, value float64) { u.figures[name] = value }

// onNetwork adds which network and canister to the arguments of a part.
func (u *suite) onNetwork(args ...string) []string {
	return append([]string{"--network", u.network.said["network"], "--canister", u.network.said["canister"]}, args...)
}

// inFlight is how many messages each sender has under way. One would measure
// how long a message takes, and many only queue.
const inFlight = "4"

// fanout compares frames that come to clients with those of bare servers: one that
// answers each frame, and one that, like the gateway, sends each to everybody.
func (u *suite) fanout(ctx context.Context) error {
	clients := strconv.Itoa(u.fan)
	report, err := u.measured(ctx, "fan-out", "--pattern", "fanout", "--clients", clients, "--in-flight", inFlight, "--content", broadcast)
	if err != nil {
		return err
	}
	size := frameSize(report.Messages.BytesIn)
	echo, err := u.ceiling(ctx, "bare echo", partClients, "--server", u.server.said["bare"], "--clients", clients, "--in-flight", inFlight, "--out", size, "--in", size)
	if err != nil {
		return err
	}
	all, err := u.ceiling(ctx, "bare fan-out", partClients, "--server", u.server.said["bare"], "--pattern", "fanout", "--clients", clients, "--in-flight", inFlight,
		"--out", frameSize(report.Messages.BytesOut), "--in", size)
	if err != nil {
		return err
	}
	frames := report.Messages.ReceivedPerSecond
	percent := share(frames, echo.Received)
	u.note("fanout", percent)
	u.results.add(figure{
		name:    fmt.Sprintf("fan-out to %d clients", u.fan),
		value:   fmt.Sprintf("%.0f frames/s", frames),
		ceiling: fmt.Sprintf("bare echo server, %s bytes: %.0f frames/s, %.0f %%", size, echo.Received, percent),
		target:  ">= 60 %", reached: percent >= 60,
	})
	u.results.add(figure{ceiling: fmt.Sprintf("bare server that sends to all: %.0f frames/s, %.0f %%", all.Received, share(frames, all.Received))})
	u.cpu("fan-out, CPU of the gateway", report)
	return nil
}

func (u *suite) cpu(name string, report *bench.Report) {
	u.results.add(figure{name: "  " + name, value: fmt.Sprintf("%.0f µs a message", report.Process.CPUPerMessage),
		ceiling: fmt.Sprintf("%.0f %% of a core; generator %.0f %%", 100*report.Process.Cores, 100*report.Self.Cores)})
}

// frameSize is what is left of a frame without its WebSocket header.
func frameSize(bytes float64) string { return strconv.Itoa(max(headLength, int(bytes)-4)) }

// send compares messages to the canister with a bare client's posts of the same.
func (u *suite) send(ctx context.Context) error {
	clients := strconv.Itoa(u.senders)
	report, posts, percent, err := u.inTurn(func() (*bench.Report, error) {
		return u.measured(ctx, "client to canister", "--pattern", "send", "--clients", clients)
	}, func() (*bareResult, error) {
		return u.ceiling(ctx, "bare posts", partPosts, u.onNetwork("--clients", clients, "--silent")...)
	}, func(r *bench.Report, b *bareResult) float64 { return share(r.Messages.SentPerSecond, b.Sent) })
	if err != nil {
		return err
	}
	u.note("send", percent)
	u.results.add(figure{
		name:    fmt.Sprintf("client to canister, %d clients", u.senders),
		value:   fmt.Sprintf("%.0f messages/s", report.Messages.SentPerSecond),
		ceiling: fmt.Sprintf("bare HTTP: %.0f posts/s, %.0f %%", posts.Sent, percent),
		target:  ">= 70 %", reached: percent >= 70,
	})
	u.cpu("client to canister, CPU of the gateway", report)
	return nil
}

// echo compares messages to the canister and back with a bare client's posts, which
// nobody fetches the answers of, and with the echoes of a bare server.
func (u *suite) echo(ctx context.Context) error {
	clients := strconv.Itoa(u.senders)
	report, err := u.measured(ctx, "echo", "--pattern", "echo", "--clients", clients, "--in-flight", inFlight)
	if err != nil {
		return err
	}
	posts, err := u.ceiling(ctx, "bare posts", partPosts, u.onNetwork("--clients", clients)...)
	if err != nil {
		return err
	}
	bare, err := u.ceiling(ctx, "bare echo", partClients, "--server", u.server.said["bare"], "--clients", clients, "--in-flight", inFlight,
		"--out", frameSize(report.Messages.BytesOut), "--in", frameSize(report.Messages.BytesIn))
	if err != nil {
		return err
	}
	percent := share(report.Messages.SentPerSecond, posts.Sent)
	u.note("echo", percent)
	u.results.add(figure{
		name:    "  and back",
		value:   fmt.Sprintf("%.0f messages/s", report.Messages.SentPerSecond),
		ceiling: fmt.Sprintf("bare HTTP, not back: %.0f posts/s, %.0f %%", posts.Sent, percent),
	})
	u.results.add(figure{name: "", ceiling: fmt.Sprintf("bare WebSocket echo: %.0f messages/s", bare.Received)})
	u.cpu("echo, CPU of the gateway", report)
	return nil
}

// latency compares the time to an echo with that of the same call and a poll.
func (u *suite) latency(ctx context.Context) error {
	clients, rate := strconv.Itoa(u.senders), strconv.Itoa(u.rate)
	report, bare, added, err := u.inTurn(func() (*bench.Report, error) {
		return u.measured(ctx, "latency", "--pattern", "echo", "--clients", clients, "--rate", rate)
	}, func() (*bareResult, error) {
		return u.ceiling(ctx, "bare latency", partPosts, u.onNetwork("--clients", clients, "--rate", rate, "--poll", "0s")...)
	}, func(r *bench.Report, b *bareResult) float64 { return r.Messages.Latency.P99 - b.P99 })
	if err != nil {
		return err
	}
	l := report.Messages.Latency
	u.note("added p99", added)
	u.results.add(figure{
		name:    fmt.Sprintf("added p99 at %d messages/s", u.rate),
		value:   fmt.Sprintf("%.2f ms", added),
		ceiling: fmt.Sprintf("echo p50 %.2f, p99 %.2f ms; bare call and poll p50 %.2f, p99 %.2f ms", l.P50, l.P99, bare.P50, bare.P99),
		target:  "< 3 ms", reached: added < 3,
	})
	u.cpu("the same, CPU of the gateway", report)
	return nil
}

// polling compares queries and delays with those of a poll at a fixed interval.
func (u *suite) polling(ctx context.Context) error {
	const rate = "1.3" // messages a second: not in step with the polls
	before, err := u.polls(ctx)
	if err != nil {
		return err
	}
	report, err := u.measured(ctx, "polling", "--pattern", "echo", "--clients", "1", "--rate", rate, "--settle", "0s")
	if err != nil {
		return err
	}
	after, err := u.polls(ctx)
	if err != nil {
		return err
	}
	bare, err := u.ceiling(ctx, "fixed polling", partPosts, u.onNetwork("--clients", "1", "--rate", rate, "--poll", u.fixed.String())...)
	if err != nil {
		return err
	}
	polls := (after - before) / report.Seconds
	u.note("polls", share(polls, bare.Polls))
	u.note("polling delay", share(report.Messages.Latency.P50, bare.P50))
	u.results.add(figure{
		name:    "polls, and p50 of an echo, at 1.3 messages/s",
		value:   fmt.Sprintf("%.1f polls/s, %.1f ms", polls, report.Messages.Latency.P50),
		ceiling: fmt.Sprintf("every %s: %.1f polls/s, %.1f ms", u.fixed, bare.Polls, bare.P50),
		target:  "fewer and sooner", reached: polls < bare.Polls && report.Messages.Latency.P50 < bare.P50,
	})
	return nil
}

// crowdRate is how many messages a second a crowd sends.
const crowdRate = 500

// crowd opens more and more clients: what they cost while they are idle, and
// whether a message costs more among many.
func (u *suite) crowd(ctx context.Context) error {
	var sizes, costs []string
	var least, most float64
	for i, n := range u.crowds {
		if i > 0 {
			if err := u.freshGateway(); err != nil {
				return err
			}
		}
		clients := strconv.Itoa(n)
		idle, err := u.measured(ctx, fmt.Sprintf("%d idle clients", n), "--pattern", "idle", "--clients", clients, "--settle", u.settle.String())
		if err != nil {
			return err
		}
		if i == len(u.crowds)-1 {
			u.idle(n, idle)
		}
		busy, err := u.measured(ctx, fmt.Sprintf("%d clients", n), "--pattern", "echo", "--clients", clients, "--rate", strconv.Itoa(min(crowdRate, u.rate)))
		if err != nil {
			return err
		}
		cost := 1e6 * (busy.Process.Cores - idle.Process.Cores) / busy.Messages.SentPerSecond
		sizes, costs = append(sizes, clients), append(costs, fmt.Sprintf("%.0f", cost))
		if i == 0 || cost < least {
			least = cost
		}
		most = max(most, cost)
	}
	u.note("flat", share(most, least))
	u.results.add(figure{
		name:    fmt.Sprintf("CPU of a message among %s clients", strings.Join(sizes, ", ")),
		value:   strings.Join(costs, ", ") + " µs",
		ceiling: fmt.Sprintf("at %d messages/s, less what idle clients take", min(crowdRate, u.rate)),
		target:  "within 25 %", reached: most <= 1.25*least,
	})
	return nil
}

// idle judges what the largest crowd took.
func (u *suite) idle(n int, report *bench.Report) {
	p := report.Process
	kilobytes := p.RSSPerSession / 1024
	u.note("opened", float64(report.Opens.Number))
	u.note("idle KB", kilobytes)
	u.note("idle cores", p.Cores)
	u.results.add(figure{
		name:    fmt.Sprintf("%d opens at %d/s", n, u.opens),
		value:   fmt.Sprintf("%.0f/s, %d errors", report.Opens.PerSecond, report.Errors),
		ceiling: fmt.Sprintf("p50 %.0f, p99 %.0f ms, 500 ms of it on purpose; %.2f ms of CPU each", report.Opens.Latency.P50, report.Opens.Latency.P99, p.CPUMsPerOpen),
		target:  "no errors", reached: report.Errors == 0 && report.Opens.Number == uint64(n), //nolint:gosec // positive
	})
	u.results.add(figure{
		name:    "memory of an idle session",
		value:   fmt.Sprintf("%.1f KB", kilobytes),
		ceiling: fmt.Sprintf("%.0f MB resident, %.0f MB before", megabytes(p.RSSEnd), megabytes(p.RSSBefore)),
		target:  "< 14 KB", reached: kilobytes < 14,
	})
	u.results.add(figure{
		name:   fmt.Sprintf("CPU of %d idle sessions", n),
		value:  fmt.Sprintf("%.1f %% of a core", 100*p.Cores),
		target: "< 5 %", reached: p.Cores < .05,
	})
}

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
