package execution

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/localnet/wasm"
)

// installed is a module with the state it has built up: what an installation
// makes and the next one replaces. Queries that have started go on with the
// installed that they found.
type installed struct {
	module *canisterModule

	// main runs replicated messages. It belongs to the machine's goroutine, and
	// between messages is equal to image, or nil.
	main wasm.Instance

	// state guards what queries copy: image, stable and certVersion change
	// together, and certified changes while it is held.
	state       sync.RWMutex
	image       wasm.Image
	stable      *stableRoot
	certVersion uint64

	// What Info and canister_status read without state: a query may hold that
	// while it waits for Machine.mu.
	certified   atomic.Pointer[[]byte]
	wasmBytes   atomic.Int64  // of the committed memory
	stablePages atomic.Uint64 // of the committed stable memory

	// pool holds instances for queries, each in whatever state the last query left.
	poolMu  sync.Mutex
	pool    []wasm.Instance
	queries int  // under way
	retired bool // no longer the canister's: close with the last query
}

func newInstalled(module *canisterModule) *installed {
	i := &installed{module: module, stable: &stableRoot{}}
	i.setCertified(nil)
	return i
}

func (i *installed) setCertified(data []byte) {
	b := append([]byte{}, data...)
	i.certified.Store(&b)
	i.certVersion++
}

func (i *installed) certifiedData() []byte { return *i.certified.Load() }

// instance returns main, in the committed state.
func (i *installed) instance(ctx context.Context) (wasm.Instance, error) {
	if i.main != nil {
		return i.main, nil
	}
	inst, err := i.module.Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := i.image.Restore(inst); err != nil {
		return nil, errors.Join(err, inst.Close())
	}
	i.main = inst
	return inst, nil
}

// rollback gives main the committed state again.
func (i *installed) rollback() {
	if i.main == nil {
		return
	}
	if i.module.Pure() {
		if _, err := i.image.Restore(i.main); err == nil {
			return
		}
	}
	i.dropMain()
}

func (i *installed) dropMain() {
	if i.main != nil {
		_ = i.main.Close() // only frees memory
		i.main = nil
	}
}

// commit makes what main and the message did the committed state. changed is
// called while queries are still kept out, if the certified data changed.
func (i *installed) commit(stable *stableRoot, certified []byte, changed func()) {
	i.state.Lock()
	i.image.Commit(i.main)
	i.wasmBytes.Store(int64(i.image.Size()))
	i.stable = stable
	i.stablePages.Store(stable.pages)
	if certified != nil {
		i.setCertified(certified)
		changed()
	}
	i.state.Unlock()
	if !i.module.Pure() {
		i.dropMain()
	}
}

// snapshot is the state that one query reads.
type snapshot struct {
	instance    wasm.Instance
	stable      *stableRoot
	certVersion uint64
}

// holding says what acquire does with the lock of the state.
type holding int

const (
	holdShortly holding = iota // while it copies
	holdLong                   // until release, so that nothing changes while the query runs
	holdAlready                // a query further up has it: to take it once more could wait for a commit that waits for that query
)

// acquire returns an instance in the committed state for a query, which must
// release it.
func (i *installed) acquire(ctx context.Context, hold holding) (*snapshot, error) {
	i.poolMu.Lock()
	var inst wasm.Instance
	if n := len(i.pool); n > 0 {
		inst, i.pool = i.pool[n-1], i.pool[:n-1]
	}
	i.poolMu.Unlock()
	if inst == nil {
		var err error
		if inst, err = i.module.Instantiate(ctx); err != nil {
			return nil, err
		}
	}
	if hold != holdAlready {
		i.state.RLock()
	}
	s := &snapshot{instance: inst, stable: i.stable, certVersion: i.certVersion}
	_, err := i.image.Restore(inst)
	if hold == holdShortly || hold == holdLong && err != nil {
		i.state.RUnlock()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a query: %w", err), inst.Close())
	}
	return s, nil
}

// release takes back what acquire gave out.
func (i *installed) release(s *snapshot, hold holding, keep int) {
	if hold == holdLong {
		i.state.RUnlock()
	}
	i.poolMu.Lock()
	if i.module.Pure() && !i.retired && len(i.pool) < keep {
		i.pool = append(i.pool, s.instance)
		s.instance = nil
	}
	i.poolMu.Unlock()
	if s.instance != nil {
		_ = s.instance.Close() // only frees memory
	}
}

// isStale reports that the certified data changed since the snapshot, or the
// module altogether.
func (i *installed) isStale(s *snapshot, hold holding) bool {
	i.poolMu.Lock()
	retired := i.retired
	i.poolMu.Unlock()
	if hold != holdShortly || retired {
		return retired
	}
	i.state.RLock()
	defer i.state.RUnlock()
	return i.certVersion != s.certVersion
}

// enter and leave count the queries; the last one to leave a retired module frees it.
func (i *installed) enter() {
	i.poolMu.Lock()
	i.queries++
	i.poolMu.Unlock()
}

func (i *installed) leave() {
	i.poolMu.Lock()
	i.queries--
	free := i.retired && i.queries == 0
	i.poolMu.Unlock()
	if free {
		i.free()
	}
}

// retire ends the use of the module; the machine's goroutine calls it once.
func (i *installed) retire() {
	i.dropMain()
	i.poolMu.Lock()
	i.retired = true
	free := i.queries == 0
	i.poolMu.Unlock()
	if free {
		i.free()
	}
}

func (i *installed) free() {
	i.trim()
	i.module.Release()
}

// trim closes the instances that wait for queries.
func (i *installed) trim() {
	i.poolMu.Lock()
	pool := i.pool
	i.pool = nil
	i.poolMu.Unlock()
	for _, inst := range pool {
		_ = inst.Close() // only frees memory
	}
}

// budget is what one message may use.
func budget(instructions uint64, d time.Duration) wasm.Budget {
	return wasm.Budget{Instructions: instructions, Deadline: time.Now().Add(d)}
}

// hasInstances reports whether there is something for dropMain or trim to do.
func (i *installed) hasInstances() bool {
	i.poolMu.Lock()
	defer i.poolMu.Unlock()
	return i.main != nil || len(i.pool) > 0
}
