package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/backoff"

	"github.com/icrelay/icrelay/bridge"
)

// A Process is a program that serves the adapter contract. It is started anew,
// with growing pauses, whenever it ends, hangs or takes too much memory, until
// Stop. Its methods are safe for concurrent use.
type Process struct {
	cfg    Config
	host   Host
	log    *slog.Logger
	timing timing
	lines  *lineLog

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	done   chan struct{} // closed when the supervisor has ended
	tasks  sync.WaitGroup

	restarts atomic.Uint64

	mu      sync.Mutex
	stopped bool
	current *incarnation  // nil while there is none
	problem error         // why there is none
	changed chan struct{} // closed, and made anew, when current changes
	routes  map[uint64]*Adapter
	last    uint64 // number of the newest route
}

// timing is what tests cannot wait for.
type timing struct {
	ping, pingTimeout time.Duration // between signs of life, and for one
	weigh             time.Duration // between looks at the memory
	grace             time.Duration // for the process to end by itself
	pause, maxPause   time.Duration // before it is started anew: the first, and the longest
	settled           time.Duration // after which the pauses begin anew
	retry, maxRetry   time.Duration // before a route that was refused, or a watch that has ended, is tried again
	events            time.Duration // between two signals of a watch
	quiet             time.Duration // without a call, before EndRoute
}

var defaultTiming = timing{
	ping: 2 * time.Second, pingTimeout: 5 * time.Second,
	weigh: 250 * time.Millisecond,
	grace: 1500 * time.Millisecond,
	pause: 500 * time.Millisecond, maxPause: 30 * time.Second, settled: time.Minute,
	retry: time.Second, maxRetry: 30 * time.Second,
	events: 10 * time.Millisecond,
	quiet:  2 * time.Second,
}

// The connection to a process is made anew at once: it is on this machine.
const connectTimeout = 5 * time.Second

var connectBackoff = backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second}

// Start starts a process and watches over it. It returns when the process has
// said where it listens and answers there; ctx bounds that and nothing after. An
// error says what to change.
func Start(ctx context.Context, cfg Config, host Host) (*Process, error) {
	return start(ctx, cfg, host, defaultTiming)
}

func start(ctx context.Context, cfg Config, host Host, timing timing) (*Process, error) {
	if host.Log == nil {
		host.Log = slog.New(slog.DiscardHandler)
	}
	host.Log = host.Log.With("adapter", cfg.Name)
	p := &Process{
		cfg:     cfg.withDefaults(),
		host:    host,
		log:     host.Log,
		timing:  timing,
		lines:   newLineLog(host.Log),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		routes:  make(map[uint64]*Adapter),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	first, err := p.launch(ctx)
	if err != nil {
		p.cancel()
		return nil, fmt.Errorf("adapter %q: %w", cfg.Name, err)
	}
	p.log.Info("adapter started", "pid", first.program.ID())
	p.current = first
	go p.supervise(first)
	return p, nil
}

// supervise watches over incarnations, one after the other.
func (p *Process) supervise(i *incarnation) {
	defer close(p.done)
	pauses := pauses{first: p.timing.pause, longest: p.timing.maxPause}
	for {
		start := time.Now()
		cause := i.watch(p.ctx)
		if cause == nil {
			cause = errStopped
		}
		p.lost(i, cause)
		i.end(p.ctx.Err() != nil)
		if time.Since(start) >= p.timing.settled {
			pauses.reset()
		}
		for {
			if p.ctx.Err() != nil {
				return
			}
			pause := pauses.next()
			p.log.Error("the adapter is gone, and is started anew", "cause", cause, "in", pause.Round(time.Millisecond))
			if sleep(p.ctx, pause) != nil {
				return
			}
			p.restarts.Add(1)
			if i, cause = p.launch(p.ctx); cause == nil {
				break
			}
			p.lost(nil, cause)
		}
		p.log.Info("adapter started", "pid", i.program.ID())
		p.startRoutes(i)
	}
}

var errStopped = errors.New("the gateway stops")

// lost notes that there is no process, and why. From then on its routes do not
// ask it any more, and their watches end.
func (p *Process) lost(i *incarnation, cause error) {
	p.mu.Lock()
	p.current, p.problem = nil, cause
	for _, a := range p.routes {
		a.state.Store(nil)
	}
	p.change()
	p.mu.Unlock()
	if i != nil {
		i.lose()
	}
}

// startRoutes gives a new incarnation the routes that the process has had before.
func (p *Process) startRoutes(i *incarnation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.problem = i, nil
	p.change()
	for _, a := range p.routes {
		if a.confirmed {
			i.tasks.Go(func() { a.startRouteAgain(i) })
		}
	}
}

// change must be called with mu held.
func (p *Process) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// running waits for an incarnation.
func (p *Process) running(ctx context.Context) (*incarnation, error) {
	for {
		p.mu.Lock()
		i, problem, changed := p.current, p.problem, p.changed
		p.mu.Unlock()
		if i != nil {
			return i, nil
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return nil, errStopped
		case <-ctx.Done():
			return nil, fmt.Errorf("it does not run: %w", problem)
		}
	}
}

// Route gives the process a route. It returns when the process has taken it; an
// error has the process's own sentence otherwise. After each start of the
// process it is given the route again, until Adapter.End.
func (p *Process) Route(ctx context.Context, r Route) (*Adapter, error) {
	if r.Base == nil {
		return nil, errors.New("plugin.Route: no base")
	}
	p.mu.Lock()
	p.last++
	a := newAdapter(p, p.last, r)
	p.routes[a.number] = a
	p.mu.Unlock()
	if err := a.startRoute(ctx); err != nil {
		p.forget(a)
		return nil, fmt.Errorf("adapter %q: %w", p.cfg.Name, err)
	}
	return a, nil
}

func (p *Process) forget(a *Adapter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.routes, a.number)
}

// route finds the route of a number.
func (p *Process) route(number uint64) *Adapter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.routes[number]
}

// Name is the adapter's name in the configuration.
func (p *Process) Name() string { return p.cfg.Name }

// Up reports whether it runs and answers.
func (p *Process) Up() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current != nil
}

// Restarts is how often it was started anew, or tried to be.
func (p *Process) Restarts() uint64 { return p.restarts.Load() }

// Dropped is how many lines of its log were too many to be logged.
func (p *Process) Dropped() uint64 { return p.lines.dropped.Load() }

// Stop ends the process: it may finish in a second or so, and is killed then.
// Sessions should have ended before. Stop may be called more than once.
func (p *Process) Stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.cancel()
	<-p.done
	p.tasks.Wait()
}

// background runs something that ends with the process, unless it has ended.
func (p *Process) background(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.tasks.Go(f)
	}
}

// pauses double, with jitter.
type pauses struct{ first, longest, last time.Duration }

func (p *pauses) next() time.Duration {
	p.last = min(max(2*p.last, p.first), p.longest)
	return p.last/2 + rand.N(p.last/2+1) //nolint:gosec // jitter needs no secrecy
}

func (p *pauses) reset() { p.last = 0 }

// sleep ends with an error if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// gone is what clients are told while the process is not there.
func (p *Process) gone(cause error) error {
	return &bridge.UnavailableError{Text: p.goneText(), Err: cause}
}

func (p *Process) goneText() string {
	return "the gateway's adapter " + p.cfg.Name + " starts anew, try again later"
}
