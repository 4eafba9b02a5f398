package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin"
	"github.com/icrelay/icrelay/bridge/adaptertest"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/localnet/execution"
)

// A stage is where an adapter is tested: an embedded network, with canisters
// of its own for each test, and the adapter's process three times: as it will
// run, for another gateway, and with a network that can be cut off.
type stage struct {
	trial   Trial
	log     *slog.Logger // of the processes
	network *network     // without canisters
	inbox   candid.Principal

	adapter, unrelated, unreachable actor
	valve                           *valve // to the network of unreachable
}

// nowhere is the log of what is not the adapter's.
var nowhere = slog.New(slog.DiscardHandler)

// An actor is one process and who it works for.
type actor struct {
	*process
	client   *ic.Client
	identity ic.Identity
}

// newStage starts everything that all tests share.
func newStage(ctx context.Context, trial Trial, log *slog.Logger) (*stage, error) {
	s := &stage{trial: trial, log: log}
	if err := s.start(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// start fills s; after an error s still has to be closed.
func (s *stage) start(ctx context.Context) error {
	embedded := &config.Config{Network: config.Network{URL: config.Embedded, Listen: "127.0.0.1:0"}}
	var err error
	if s.network, err = connect(ctx, embedded, nowhere); err != nil {
		return err
	}
	if s.inbox, err = s.network.embedded.CreateCanister(); err != nil {
		return err
	}
	if err := s.network.embedded.InstallBuiltin(ctx, s.inbox, newInbox()); err != nil {
		return err
	}
	address, err := url.Parse(s.network.url)
	if err != nil {
		return err
	}
	if s.valve, err = newValve(address.Host); err != nil {
		return err
	}
	cut, err := ic.NewClient(ic.Options{URL: "http://" + s.valve.address(), Verifier: s.network.verifier})
	if err != nil {
		return err
	}
	s.unreachable.client = cut
	gateway, err := ic.NewEd25519Identity()
	if err != nil {
		return err
	}
	other, err := ic.NewEd25519Identity()
	if err != nil {
		return err
	}
	s.adapter = actor{client: s.network.client, identity: gateway}
	s.unrelated = actor{client: s.network.client, identity: other}
	s.unreachable.identity = gateway
	if err := s.startProcesses(ctx); err != nil {
		return err
	}
	return s.tryRoute(ctx)
}

// tryRoute finds out whether the process takes the route at all: a setting that
// is wrong is to be said once, not by each test.
func (s *stage) tryRoute(ctx context.Context) error {
	network, route, err := s.build(ctx)
	if err != nil {
		return err
	}
	own, err := s.give(ctx, s.adapter, route, s.canisterOf(network, route), network)
	if err != nil {
		return fmt.Errorf("the adapter does not take its route: %w", err)
	}
	own.End()
	return nil
}

// canisterOf is what a process is told of the route's canister: "" for any.
func (s *stage) canisterOf(n *network, r config.Route) candid.Principal {
	if s.trial.Config.Routes[s.trial.Route].IsAny() {
		return ""
	}
	return n.canisters[r.Canister]
}

func (s *stage) startProcesses(ctx context.Context) error {
	i := slices.IndexFunc(s.trial.Config.Adapters, func(a config.Adapter) bool { return a.Name == s.trial.Adapter })
	if i < 0 {
		return fmt.Errorf("there is no adapter %q", s.trial.Adapter)
	}
	a := s.trial.Config.Adapters[i]
	dir, err := filepath.Abs(s.trial.Config.Dir())
	if err != nil {
		return err
	}
	actors := []*actor{&s.adapter, &s.unrelated, &s.unreachable}
	errs := make([]error, len(actors))
	var starting sync.WaitGroup
	for i, one := range actors {
		starting.Go(func() {
			started, err := plugin.Start(ctx, pluginConfig(a, dir), plugin.Host{
				Client: one.client, Identity: one.identity, Gateway: one.identity.Principal(), Version: Version(), Log: s.log,
			})
			if err != nil {
				errs[i] = err
				return
			}
			one.process = &process{cfg: a, Process: started}
		})
	}
	starting.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others say the same
		}
	}
	return nil
}

func (s *stage) close() {
	var running []*process
	for _, one := range []actor{s.adapter, s.unrelated, s.unreachable} {
		if one.process != nil {
			running = append(running, one.process)
		}
	}
	stopAll(running)
	if s.unreachable.client != nil {
		s.unreachable.client.Close()
	}
	if s.valve != nil {
		s.valve.close()
	}
	if s.network != nil {
		s.network.close()
	}
}

// missing is the id of a canister that the embedded network does not have.
const missing = candid.Principal("\x00\x00\x00\x00\x00\x00\xff\xff\x01\x01")

// target is what one test needs: fresh canisters, and the adapter with a route
// to one of them.
func (s *stage) target(t adaptertest.T) adaptertest.Target {
	t.Helper()
	network, route, err := s.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	canister, to := network.canisters[route.Canister], s.canisterOf(network, route)
	give := func(one actor, to candid.Principal) *plugin.Adapter {
		t.Helper()
		own, err := s.give(t.Context(), one, route, to, network)
		if err != nil {
			t.Fatalf("the adapter does not take its route: %v", err)
		}
		t.Cleanup(own.End)
		return own
	}
	s.valve.set(true) // for what the process wants to know of its route
	unreachable := give(s.unreachable, to)
	s.valve.set(false)
	target := adaptertest.Target{
		Adapter:     give(s.adapter, to),
		Unrelated:   give(s.unrelated, to),
		Unreachable: unreachable,
		OfMissing:   give(s.adapter, missing),
		Canister:    canister,
		Missing:     missing,
		Gateway:     s.adapter.identity.Principal(),
		Verifier:    s.network.verifier,
		Content:     s.content,
	}
	if !isEcho(s.canisters(route), route.Canister) {
		machine := s.network.embedded.Machine()
		target.Stop = func(ctx context.Context) error { return machine.Stop(ctx, canister) }
		target.Start = func(ctx context.Context) error { return machine.Start(ctx, canister) }
	}
	return target
}

// give gives a process the route, to a canister or to any.
func (s *stage) give(ctx context.Context, one actor, r config.Route, to candid.Principal, n *network) (*plugin.Adapter, error) {
	made, err := makeRoute(r, &network{client: one.client, canisters: n.canisters}, one.identity, nowhere)
	if err != nil {
		return nil, err
	}
	made.to.Canister = to
	if err := made.start(ctx, one.process, n.canisters); err != nil {
		return nil, err
	}
	return made.own, nil
}

// content is an application message.
func (s *stage) content(n int) []byte {
	if s.trial.Content != nil {
		return s.trial.Content
	}
	return candid.EncodeNat(uint64(n)) //nolint:gosec // the suite counts from 0
}

// build makes the configuration's canisters anew, and says how the route that
// is tested is configured there.
func (s *stage) build(ctx context.Context) (*network, config.Route, error) {
	cfg := *s.trial.Config
	route := s.testable(cfg.Routes[s.trial.Route])
	cfg.Routes = slices.Clone(cfg.Routes)
	cfg.Routes[s.trial.Route] = route
	cfg.Network.Canisters = s.canisters(route)

	n := *s.network
	n.canisters, n.names = make(map[string]candid.Principal), nil
	if err := n.create(ctx, cfg.Network.Canisters, nowhere); err != nil {
		return nil, route, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := n.install(ctx, &cfg, s.adapter.identity.Principal(), nowhere); err != nil {
		return nil, route, err
	}
	return &n, route, nil
}

// testable is a route as the suite needs it: to a canister of the embedded
// network, through which nothing comes but what the suite asks for, and that
// takes every message.
func (s *stage) testable(r config.Route) config.Route {
	r.Allow, r.Deny = nil, nil
	if !s.isNamed(r.Canister) {
		r.Canister = s.freeName()
	}
	if r.Relay == nil {
		return r
	}
	settings := *r.Relay
	settings.Gateways = nil
	settings.Feeds = slices.Clone(settings.Feeds)
	for i := range settings.Feeds {
		settings.Feeds[i].Last, settings.Feeds[i].Interval = 0, 0
	}
	untagged := func(c config.Call) bool { return c.Tag == "" }
	if !slices.ContainsFunc(settings.Calls, untagged) {
		settings.Calls = append(slices.Clone(settings.Calls), config.Call{Target: s.inbox.String(), Method: inboxMethod})
	}
	r.Relay = &settings
	return r
}

func (s *stage) isNamed(canister string) bool {
	return slices.ContainsFunc(s.trial.Config.Network.Canisters, func(c config.Canister) bool { return c.Name == canister })
}

// freeName is a name for the canister of a route that leads to none of the
// configuration's.
func (s *stage) freeName() string {
	name := "canister"
	for i := 2; s.isNamed(name); i++ {
		name = "canister" + strconv.Itoa(i)
	}
	return name
}

// canisters are the configuration's, and that of the route.
func (s *stage) canisters(r config.Route) []config.Canister {
	list := slices.Clone(s.trial.Config.Network.Canisters)
	if s.isNamed(r.Canister) {
		return list
	}
	wasm := "builtin:echo"
	if r.Base == "relay" {
		wasm = "builtin:relay"
	}
	return append(list, config.Canister{Name: r.Canister, Wasm: wasm})
}

// isEcho reports whether a canister is the one that nobody can stop.
func isEcho(list []config.Canister, name string) bool {
	i := slices.IndexFunc(list, func(c config.Canister) bool { return c.Name == name })
	builtin, _ := list[i].Builtin()
	return builtin == "echo"
}

const inboxMethod = "take"

// newInbox is a canister that takes every message.
func newInbox() *execution.Native {
	return &execution.Native{
		Interface:   "service : {}",
		Independent: true,
		Methods: map[string]execution.NativeMethod{
			inboxMethod: {Run: func(*execution.NativeCall) ([]byte, *execution.Reject) { return candid.EncodeEmpty(), nil }},
		},
	}
}
