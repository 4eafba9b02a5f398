package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/internal/config"
)

// A Trial says which adapter TestAdapter tests.
type Trial struct {
	Config  *config.Config // with the adapter and its canisters
	Adapter string         // the name of an [[adapter]]
	Route   int            // the index of the route whose settings and base it gets

	// Content is the Candid of an application message that the canister and the
	// adapter accept; nil for one number, another for each message.
	Content []byte

	Verbose bool // show the process's log of all tests, not only of those that fail
}

// NewTrial is the trial of a command that stands in no configuration. settings
// is a JSON object, or names a file with one; "" is none.
func NewTrial(command []string, base, settings string) (Trial, error) {
	const name = "adapter"
	object, err := readSettings(settings)
	if err != nil {
		return Trial{}, err
	}
	a, err := config.NewAdapter(name, command, ".")
	if err != nil {
		return Trial{}, err
	}
	cfg := config.Config{
		Adapters: []config.Adapter{a},
		Routes:   []config.Route{{Canister: "canister", Adapter: name, Base: base, Settings: object}},
	}
	switch base {
	case "cdk":
	case "relay":
		cfg.Routes[0].Relay = &config.Relay{WatchInterval: config.Duration(500 * time.Millisecond)}
	default:
		return Trial{}, fmt.Errorf("%q is no built-in adapter to build on: cdk or relay", base)
	}
	return Trial{Config: &cfg, Adapter: name}, nil
}

func readSettings(text string) (config.Settings, error) {
	if text == "" {
		return nil, nil
	}
	data := []byte(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		var err error
		if data, err = os.ReadFile(text); err != nil { //nolint:gosec // the user names the file
			return nil, fmt.Errorf("the settings are neither a JSON object like {\"token\":\"token\"} nor a file with one: %w", err)
		}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, fmt.Errorf("the settings are no JSON object: %w", err)
	}
	return data, nil
}

// TrialOf is the trial of an adapter that a configuration names, with the
// settings of one of its routes: the only one, or that whose canister is named
// as there.
func TrialOf(cfg *config.Config, adapter, canister string) (Trial, error) {
	var names []string
	for _, a := range cfg.Adapters {
		names = append(names, a.Name)
	}
	switch {
	case len(names) == 0:
		return Trial{}, errors.New("the configuration has no [[adapter]]")
	case adapter == "" && len(names) == 1:
		adapter = names[0]
	case adapter == "":
		return Trial{}, fmt.Errorf("the configuration has several adapters; choose one with --adapter: %s", strings.Join(names, ", "))
	case !slices.Contains(names, adapter):
		return Trial{}, fmt.Errorf("the configuration has no adapter %q, but %s", adapter, strings.Join(names, ", "))
	}
	found, canisters := -1, []string(nil)
	for i, r := range cfg.Routes {
		if r.Adapter == adapter && (canister == "" || r.Canister == canister) {
			found, canisters = i, append(canisters, r.Canister)
		}
	}
	switch {
	case found < 0:
		return Trial{}, fmt.Errorf("adapter %s has no route with canister = %q", adapter, canister)
	case len(canisters) > 1:
		return Trial{}, fmt.Errorf("adapter %s has several routes; choose one with --canister: %s", adapter, strings.Join(canisters, ", "))
	}
	return Trial{Config: cfg, Adapter: adapter, Route: found}, nil
}

// TestAdapter runs the suite that all adapters have to pass over one of
// somebody's own, on an embedded network, and prints a line for each test. The
// error says that some have failed, or why they could not run.
func TestAdapter(ctx context.Context, trial Trial, out io.Writer) error {
	lines := new(logTail)
	log := slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
	stage, err := newStage(ctx, trial, log)
	if err != nil {
		printTail(out, lines)
		return err
	}
	defer stage.close()
	if trial.Verbose {
		printTail(out, lines)
	}
	passed, all, start := 0, 0, time.Now()
	run := adaptertest.NewTrial(ctx, func(r adaptertest.Result) {
		all++
		mark := "ok  "
		if len(r.Failures) > 0 {
			mark = "FAIL"
		} else {
			passed++
		}
		_, _ = fmt.Fprintf(out, "%s  %-55s %7s\n", mark, r.Name, r.Took.Round(time.Millisecond))
		for _, text := range r.Failures {
			_, _ = fmt.Fprintf(out, "      %s\n", strings.ReplaceAll(text, "\n", "\n      "))
		}
		if len(r.Failures) > 0 || trial.Verbose {
			printTail(out, lines)
		}
		lines.take()
	})
	adaptertest.Run(run, func(t *adaptertest.Trial) adaptertest.Target { return stage.target(t) })
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %d tests", all)
	}
	_, _ = fmt.Fprintf(out, "%d of %d tests passed in %s\n", passed, all, time.Since(start).Round(10*time.Millisecond))
	if passed < all {
		return fmt.Errorf("%d of %d tests failed", all-passed, all)
	}
	return nil
}

// RunSuite runs the same suite as part of a go test.
func RunSuite[X adaptertest.Runner[X]](t X, trial Trial, log *slog.Logger) {
	t.Helper()
	stage, err := newStage(t.Context(), trial, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stage.close)
	adaptertest.Run(t, func(t X) adaptertest.Target {
		t.Helper()
		return stage.target(t)
	})
}

// withoutTime leaves out what would say nothing in a test's few lines.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}

// printTail shows what was logged since the last test.
func printTail(out io.Writer, lines *logTail) {
	tail, missed := lines.take()
	if missed > 0 {
		_, _ = fmt.Fprintf(out, "      | (%d lines before)\n", missed)
	}
	for _, line := range tail {
		_, _ = fmt.Fprintf(out, "      | %s\n", line)
	}
}
