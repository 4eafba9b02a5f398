package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// A process is one [[adapter]] that runs.
type process struct {
	cfg config.Adapter
	*plugin.Process
}

// past is what was counted of processes that are no more.
type past struct{ restarts, dropped uint64 }

// processes are those of all [[adapter]]s, in the order of the file.
type processes struct {
	host plugin.Host

	mu   sync.Mutex
	list []*process
	past map[string]past // of processes that others have replaced, by name

	ending sync.WaitGroup // of processes that others have replaced
}

func newProcesses(n *network, identity ic.Identity, log *slog.Logger) *processes {
	return &processes{
		host: plugin.Host{Client: n.client, Identity: identity, Gateway: identity.Principal(), Version: Version(), Log: log},
		past: make(map[string]past),
	}
}

// all returns the processes in force.
func (ps *processes) all() []*process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.list
}

// find returns a process of the list by its name.
func find(list []*process, name string) *process {
	for _, p := range list {
		if p.cfg.Name == name {
			return p
		}
	}
	return nil
}

// startAll starts the processes and gives them their routes. An error leaves
// them to stop.
func (ps *processes) startAll(ctx context.Context, cfg *config.Config, routes []*route, n *network) error {
	list, err := ps.prepare(ctx, cfg)
	if err != nil {
		return err
	}
	ps.replace(ctx, list)
	return startRoutes(ctx, routes, list, n)
}

// prepare returns a process for each [[adapter]]: the one in force where the
// table and its program have not changed, otherwise a new one. An error leaves
// nothing new behind.
func (ps *processes) prepare(ctx context.Context, cfg *config.Config) ([]*process, error) {
	dir, err := filepath.Abs(cfg.Dir())
	if err != nil {
		return nil, err
	}
	list := make([]*process, len(cfg.Adapters))
	errs := make([]error, len(cfg.Adapters))
	var starting sync.WaitGroup
	for i, a := range cfg.Adapters {
		if old := find(ps.all(), a.Name); old != nil && reflect.DeepEqual(old.cfg, a) {
			list[i] = old
			continue
		}
		starting.Go(func() {
			started, err := ps.start(ctx, a, dir)
			if err != nil {
				errs[i] = fmt.Errorf("adapter[%d].command: %w", i, err)
				return
			}
			list[i] = started
		})
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		ps.discard(list)
		return nil, err
	}
	return list, nil
}

func (ps *processes) start(ctx context.Context, a config.Adapter, dir string) (*process, error) {
	p, err := plugin.Start(ctx, pluginConfig(a, dir), ps.host)
	if err != nil {
		return nil, err
	}
	return &process{cfg: a, Process: p}, nil
}

func pluginConfig(a config.Adapter, dir string) plugin.Config {
	c := plugin.Config{
		Name:         a.Name,
		Command:      append([]string{a.Executable()}, a.Command[1:]...),
		Dir:          dir,
		Env:          a.Env,
		Memory:       int64(a.Memory),
		StartTimeout: time.Duration(a.StartTimeout),
		CallTimeout:  time.Duration(a.CallTimeout),
		MaxCalls:     a.MaxCalls,
	}
	if a.SHA256 != "" {
		c.SHA256, _ = hex.DecodeString(a.SHA256) // checked by Load
	}
	return c
}

// discard stops what prepare has started and nobody will use.
func (ps *processes) discard(list []*process) {
	var fresh []*process
	for _, p := range list {
		if p != nil && !slices.Contains(ps.all(), p) {
			fresh = append(fresh, p)
		}
	}
	stopAll(fresh)
}

// farewell is how long a process that another one replaces goes on: for calls
// under way, and to hear of the ends of its sessions.
const farewell = 5 * time.Second

// replace puts a prepared list into force. Processes that are not in it end in
// the background, soon after or when ctx ends.
func (ps *processes) replace(ctx context.Context, list []*process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old := ps.list
	ps.list = list
	for _, p := range old {
		if slices.Contains(list, p) {
			continue
		}
		sum := ps.past[p.cfg.Name]
		ps.past[p.cfg.Name] = past{sum.restarts + p.Restarts(), sum.dropped + p.Dropped()}
		ps.ending.Go(func() {
			late := time.NewTimer(farewell)
			defer late.Stop()
			select {
			case <-late.C:
			case <-ctx.Done():
			}
			p.Stop()
		})
	}
}

// stop ends all processes. It takes as long as the slowest, about two seconds.
func (ps *processes) stop() {
	stopAll(ps.all())
	ps.ending.Wait()
}

func stopAll(list []*process) {
	var stopping sync.WaitGroup
	for _, p := range list {
		stopping.Go(p.Stop)
	}
	stopping.Wait()
}
