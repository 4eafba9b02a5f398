// Package sdktest runs the tests that the relay's own adapters pass over an
// adapter written with package sdk. A test is one line:
//
//	func TestAdapter(t *testing.T) { sdktest.Run(t, start) }
//
// where start is what main gives to sdk.Serve. The test program itself is
// started as the adapter's process, as the relay starts it, so everything is
// real: the handshake, the certificates, gRPC, and the canisters of an embedded
// network. Each promise of the contract is a subtest.
package sdktest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/config"
)

// Options are for adapters that need more than the defaults.
type Options struct {
	// Base is the relay's own adapter to build on, "cdk" or "relay"; "" is cdk.
	Base string

	// Settings become the table [route.settings]: what encoding/json makes an
	// object of, or nil.
	Settings any

	// Canisters are further canisters of the embedded network, by name, each a
	// Wasm file. The adapter finds them in Route.Canisters.
	Canisters map[string]string

	// Content is the Candid of an application message that the adapter lets
	// pass; nil is one number, another for each message.
	Content []byte
}

// Run runs all tests over the adapter that start makes.
func Run(t *testing.T, start func(context.Context, *sdk.Route) (any, error)) {
	t.Helper()
	Options{}.Run(t, start)
}

// Run runs all tests over the adapter that start makes.
func (o Options) Run(t *testing.T, start func(context.Context, *sdk.Route) (any, error)) {
	t.Helper()
	if os.Getenv("ICRELAY_ADAPTER") != "" { // this is the adapter's process
		sdk.Serve(start)
		os.Exit(0)
	}
	trial, err := o.trial(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	level := slog.LevelInfo
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	app.RunSuite(t, trial, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})))
}

// trial is what the relay is told about the test program, which runs the named
// test and comes to Run again.
func (o Options) trial(test string) (app.Trial, error) {
	program, err := os.Executable()
	if err != nil {
		return app.Trial{}, err
	}
	var settings []byte
	if o.Settings != nil {
		if settings, err = json.Marshal(o.Settings); err != nil {
			return app.Trial{}, fmt.Errorf("the settings: %w", err)
		}
	}
	base := o.Base
	if base == "" {
		base = "cdk"
	}
	trial, err := app.NewTrial([]string{program, "-test.run=" + only(test), "-test.timeout=0"}, base, string(settings))
	if err != nil {
		return app.Trial{}, err
	}
	trial.Content = o.Content
	for _, name := range slices.Sorted(maps.Keys(o.Canisters)) {
		wasm, err := filepath.Abs(o.Canisters[name])
		if err != nil {
			return app.Trial{}, err
		}
		trial.Config.Network.Canisters = append(trial.Config.Network.Canisters, config.Canister{Name: name, Wasm: wasm})
	}
	return trial, nil
}

// only is a pattern that matches one test.
func only(test string) string {
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}
