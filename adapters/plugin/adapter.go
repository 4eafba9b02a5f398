package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Adapter is a route's adapter in another process. Methods that the process does
// not handle go to the route's base.
type Adapter struct {
	process *Process
	number  uint64
	route   Route

	state     atomic.Pointer[state] // nil while the process does not have the route
	confirmed bool                  // it has had it once; guarded by process.mu
	window    atomic.Pointer[window]
	calls     atomic.Int64 // under way
	called    atomic.Int64 // when the last one began or ended, Unix nanoseconds
	ending    atomic.Bool
	ended     atomic.Bool

	mu        sync.Mutex
	delivered uint64                            // by the gateway: nonces below
	fetched   uint64                            // by the process, from the base
	opened    map[candid.Principal]*incarnation // whom a canister's sessions were opened with
}

var (
	_ bridge.Adapter   = (*Adapter)(nil)
	_ bridge.Checker   = (*Adapter)(nil)
	_ bridge.Watcher   = (*Adapter)(nil)
	_ bridge.Pipeliner = (*Adapter)(nil)
	_ bridge.Resumer   = (*Adapter)(nil)
	_ bridge.Confirmer = (*Adapter)(nil)
)

// state is a route in an incarnation of the process.
type state struct {
	*incarnation
	handles atomic.Uint32 // bits of methods
}

type window struct{ messages, bytes int }

// What a process can ask for at most: envelopes wait in memory.
const (
	maxWindowMessages = 256
	maxWindowBytes    = 8 << 20
)

func newAdapter(p *Process, number uint64, r Route) *Adapter {
	if len(r.Settings) == 0 {
		r.Settings = []byte("{}")
	}
	a := &Adapter{process: p, number: number, route: r, opened: make(map[candid.Principal]*incarnation)}
	a.window.Store(baseWindow(r.Base))
	return a
}

func baseWindow(base bridge.Adapter) *window {
	if p, ok := base.(bridge.Pipeliner); ok {
		messages, bytes := p.Window()
		return &window{messages, bytes}
	}
	return &window{messages: 1}
}

// startRoute gives the process the route.
func (a *Adapter) startRoute(ctx context.Context) error {
	for {
		i, err := a.process.running(ctx)
		if err != nil {
			return err
		}
		s, err := a.startIn(ctx, i)
		if err != nil {
			if i.ctx.Err() != nil && ctx.Err() == nil {
				continue // it has ended meanwhile
			}
			return err
		}
		if a.enter(i, s) {
			return nil
		}
	}
}

// startRouteAgain gives the route to a process that was started anew, as often as it takes.
func (a *Adapter) startRouteAgain(i *incarnation) {
	pauses := pauses{first: a.process.timing.retry, longest: a.process.timing.maxRetry}
	for !a.ending.Load() {
		s, err := a.startIn(i.ctx, i)
		if err == nil {
			a.enter(i, s)
			return
		}
		if i.ctx.Err() != nil {
			return
		}
		pause := pauses.next()
		a.process.log.Error("the adapter has been started anew, but does not take a route that it had", "route", a.name(), "error", err, "retry_in", pause.Round(time.Millisecond))
		if sleep(i.ctx, pause) != nil {
			return
		}
	}
}

// name is the route's, for logs.
func (a *Adapter) name() string {
	if a.route.Canister == "" {
		return "*"
	}
	return a.route.Canister.String()
}

// enter lets calls through to an incarnation, unless it is lost already.
func (a *Adapter) enter(i *incarnation, s *state) bool {
	a.process.mu.Lock()
	defer a.process.mu.Unlock()
	if a.process.current != i {
		return false
	}
	if a.ended.Load() {
		return true
	}
	a.state.Store(s)
	a.confirmed = true
	return true
}

// startIn asks StartRoute.
func (a *Adapter) startIn(ctx context.Context, i *incarnation) (*state, error) {
	p := a.process
	ctx, cancel := context.WithTimeout(ctx, p.cfg.StartTimeout)
	defer cancel()
	request := &contract.StartRouteRequest{
		Route:        a.number,
		Adapter:      p.cfg.Name,
		Canister:     a.route.Canister.Bytes(),
		Settings:     a.route.Settings,
		Gateway:      p.host.Gateway.Bytes(),
		Base:         a.route.BaseName,
		BaseWindow:   windowMessage(baseWindow(a.route.Base)),
		Canisters:    make(map[string][]byte, len(a.route.Canisters)),
		RelayVersion: p.host.Version,
	}
	for name, id := range a.route.Canisters {
		request.Canisters[name] = id.Bytes()
	}
	response, err := i.plugin.StartRoute(ctx, request)
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil, errors.New("it does not serve icrelay.adapter.v1.Plugin, the first of the contract's services")
	case status.Code(err) == codes.DeadlineExceeded:
		return nil, fmt.Errorf("it has not answered StartRoute within start_timeout (%s)", p.cfg.StartTimeout)
	case err != nil:
		return nil, fmt.Errorf("StartRoute: %s", shorten(status.Convert(err).Message(), maxText))
	case response.GetProblem() != "":
		return nil, errors.New(shorten(response.GetProblem(), maxText))
	}
	s := &state{incarnation: i}
	for _, method := range response.GetHandles() {
		if method > contract.Method_METHOD_UNSPECIFIED && method <= contract.Method_WATCH {
			s.handles.Or(1 << method)
		}
	}
	w := baseWindow(a.route.Base)
	if asked := response.GetWindow(); asked != nil {
		w = readWindow(asked)
	} else if s.does(contract.Method_MESSAGE) {
		w = &window{messages: 1}
	}
	a.window.Store(w)
	return s, nil
}

func windowMessage(w *window) *contract.Window {
	return &contract.Window{Messages: uint32(w.messages), Bytes: uint64(w.bytes)} //nolint:gosec // the base's own small numbers
}

// readWindow reads what a process asks for.
func readWindow(asked *contract.Window) *window {
	w := window{messages: int(min(max(asked.GetMessages(), 1), maxWindowMessages)), bytes: maxWindowBytes}
	if n := asked.GetBytes(); n > 0 && n < maxWindowBytes {
		w.bytes = int(n)
	}
	return &w
}

func (s *state) does(method contract.Method) bool { return s.handles.Load()&(1<<method) != 0 }

// lacks notes that the process has no such method after all: the base is asked from then on.
func (s *state) lacks(method contract.Method, err error) bool {
	if status.Code(err) != codes.Unimplemented || s.ctx.Err() != nil {
		return false
	}
	if s.handles.And(^uint32(1<<method))&(1<<method) != 0 {
		s.process.log.Warn("the adapter does not have a method that it says it handles; the base is asked instead", "method", method.String())
	}
	return true
}

// beginCall is for every call of the gateway. The state is nil if the process does not have the route.
func (a *Adapter) beginCall() (s *state, end func()) {
	a.calls.Add(1)
	a.called.Store(time.Now().UnixNano())
	s = a.state.Load()
	if s != nil {
		s.given.Add(1)
	}
	return s, func() {
		if s != nil {
			s.given.Add(-1)
		}
		a.called.Store(time.Now().UnixNano())
		a.calls.Add(-1)
	}
}

// Window implements bridge.Pipeliner.
func (a *Adapter) Window() (messages, bytes int) {
	w := a.window.Load()
	return w.messages, w.bytes
}

// Open implements bridge.Adapter.
func (a *Adapter) Open(ctx context.Context, env bridge.Envelope) error {
	s, end := a.beginCall()
	defer end()
	if s == nil {
		return a.down()
	}
	err := a.open(ctx, s, env)
	if err == nil && !a.noteOpened(env.Canister, s) {
		return a.down()
	}
	return err
}

func (a *Adapter) open(ctx context.Context, s *state, env bridge.Envelope) error {
	if s.does(contract.Method_OPEN) {
		request := &contract.OpenRequest{Route: a.number, Envelope: envelopeMessage(env)}
		if len(env.Bytes) > maxEnvelope {
			return errEnvelopeTooLarge(env)
		}
		defer s.underway.add(ctx, &env)()
		ctx, cancel := context.WithTimeout(ctx, a.process.cfg.CallTimeout)
		outcome, err := s.adapter.Open(ctx, request)
		cancel()
		if !s.lacks(contract.Method_OPEN, err) {
			return s.result("Open", outcome, err)
		}
	}
	return a.route.Base.Open(ctx, env)
}

// noteOpened remembers whom a canister's sessions depend on, if it is still
// there. Of several that is the oldest: sessions that nobody has told yet that
// theirs has gone are told then, and the new ones with them.
func (a *Adapter) noteOpened(canister candid.Principal, s *state) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	if a.opened[canister] == nil {
		a.opened[canister] = s.incarnation
	}
	return true
}

// forgetOpened is for a canister whose sessions have ended.
func (a *Adapter) forgetOpened(canister candid.Principal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.opened, canister)
}

// isLost reports whether a canister's sessions were opened with an incarnation
// that s is not.
func (a *Adapter) isLost(canister candid.Principal, s *state) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.opened[canister]
	return ok && i != s.incarnation
}

// Message implements bridge.Adapter.
func (a *Adapter) Message(ctx context.Context, env bridge.Envelope) error {
	s, end := a.beginCall()
	defer end()
	if s == nil {
		return a.down()
	}
	if s.does(contract.Method_MESSAGE) {
		request := &contract.MessageRequest{Route: a.number, Envelope: envelopeMessage(env), Header: header(env.Bytes)}
		if len(env.Bytes) > maxEnvelope {
			return errEnvelopeTooLarge(env)
		}
		defer s.underway.add(ctx, &env)()
		limited, cancel := context.WithTimeout(ctx, a.process.cfg.CallTimeout)
		outcome, err := s.adapter.Message(limited, request)
		cancel()
		if !s.lacks(contract.Method_MESSAGE, err) {
			if s.does(contract.Method_POLL) {
				ic.Answered(ctx) // the process may have messages that the base does not
			}
			return s.result("Message", outcome, err)
		}
	}
	return a.route.Base.Message(ctx, env)
}

// Close implements bridge.Adapter. If the process is not there, ends with the
// call, or says nothing for half of the time that there is, the base tells the
// canister: it would still count the client.
func (a *Adapter) Close(ctx context.Context, canister candid.Principal, client candid.ClientKey) error {
	return a.close(ctx, canister, client, false)
}

// Lost implements bridge.Resumer. A base that is none is asked to Close.
func (a *Adapter) Lost(ctx context.Context, canister candid.Principal, client candid.ClientKey) error {
	return a.close(ctx, canister, client, true)
}

func (a *Adapter) close(ctx context.Context, canister candid.Principal, client candid.ClientKey, lost bool) error {
	s, end := a.beginCall()
	defer end()
	if s != nil && s.does(contract.Method_CLOSE) {
		patience := a.process.cfg.CallTimeout
		if deadline, ok := ctx.Deadline(); ok {
			patience = min(patience, time.Until(deadline)/2)
		}
		request := &contract.CloseRequest{Route: a.number, Canister: canister.Bytes(), Client: keyMessage(client), Lost: lost}
		asked, cancel := context.WithTimeout(ctx, patience)
		outcome, err := s.adapter.Close(asked, request)
		isDeaf := asked.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !isDeaf && s.ctx.Err() == nil && !s.lacks(contract.Method_CLOSE, err) {
			return s.result("Close", outcome, err)
		}
	}
	if resumer, ok := a.route.Base.(bridge.Resumer); ok && lost {
		return resumer.Lost(ctx, canister, client)
	}
	return a.route.Base.Close(ctx, canister, client)
}

// Poll implements bridge.Adapter.
func (a *Adapter) Poll(ctx context.Context, canister candid.Principal, from uint64) (bridge.Batch, error) {
	s, end := a.beginCall()
	defer end()
	if s == nil || a.isLost(canister, s) {
		a.forgetOpened(canister)
		return bridge.Batch{}, a.lost()
	}
	if s.does(contract.Method_POLL) {
		polling, cancel := context.WithTimeout(ctx, a.process.cfg.CallTimeout)
		batch, err := a.poll(polling, s, canister, from)
		cancel()
		if !s.lacks(contract.Method_POLL, err) {
			if err != nil && s.ctx.Err() != nil {
				return bridge.Batch{}, a.lost()
			}
			return batch, err
		}
	}
	return a.route.Base.Poll(ctx, canister, from)
}

// Delivered implements bridge.Confirmer. A process that handles Poll may count
// messages of its own, so the base hears of no more than the process has fetched.
func (a *Adapter) Delivered(canister candid.Principal, next uint64) {
	a.confirm(canister, func() { a.delivered = next })
}

// hasFetched notes that the process has polled the base from a nonce on.
func (a *Adapter) hasFetched(canister candid.Principal, from uint64) {
	a.confirm(canister, func() { a.fetched = from })
}

func (a *Adapter) confirm(canister candid.Principal, note func()) {
	confirmer, ok := a.route.Base.(bridge.Confirmer)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	note()
	next := a.delivered
	if s := a.state.Load(); s != nil && s.does(contract.Method_POLL) {
		next = min(next, a.fetched)
	}
	confirmer.Delivered(canister, next)
}

// Check implements bridge.Checker.
func (a *Adapter) Check(ctx context.Context, canister candid.Principal) error {
	s, end := a.beginCall()
	defer end()
	if s == nil {
		return a.down()
	}
	if s.does(contract.Method_CHECK) {
		ctx, cancel := context.WithTimeout(ctx, a.process.cfg.CallTimeout)
		outcome, err := s.adapter.Check(ctx, &contract.CheckRequest{Route: a.number, Canister: canister.Bytes()})
		cancel()
		if !s.lacks(contract.Method_CHECK, err) {
			return s.result("Check", outcome, err)
		}
	}
	if checker, ok := a.route.Base.(bridge.Checker); ok {
		return checker.Check(ctx, canister)
	}
	return nil
}

// down says that the process is not there, or does not have the route.
func (a *Adapter) down() error {
	p := a.process
	p.mu.Lock()
	problem := p.problem
	p.mu.Unlock()
	switch {
	case a.ended.Load():
		return errRouteEnded
	case problem == nil:
		problem = errors.New("it has not taken the route (again)")
	}
	return p.gone(problem)
}

var errRouteEnded = errors.New("the route is no more")

// lost says that whatever the process knew of its sessions is gone.
func (a *Adapter) lost() error { return &bridge.LostError{Text: a.process.goneText()} }

// End tells the process that the route is no more, when the last call for it
// has returned. It does not wait. Calls that come late all the same, such as
// those for sessions that the route's end has ended, are still served for a
// moment; a Close even later goes to the base.
func (a *Adapter) End() {
	if !a.ending.Swap(true) {
		a.process.background(func() { a.finish(a.process.ctx) })
	}
}

// finish waits until no calls come, and sends EndRoute.
func (a *Adapter) finish(ctx context.Context) {
	p := a.process
	defer p.forget(a)
	quiet, patience := p.timing.quiet, p.cfg.CallTimeout
	a.called.Store(time.Now().UnixNano())
	for begin := time.Now(); time.Since(begin) < patience; {
		rest := quiet - time.Since(time.Unix(0, a.called.Load()))
		if rest <= 0 && a.calls.Load() == 0 {
			break
		}
		if sleep(ctx, max(rest, quiet/10)) != nil {
			return
		}
	}
	a.ended.Store(true)
	p.mu.Lock()
	s := a.state.Swap(nil)
	a.confirmed = false
	p.mu.Unlock()
	for begin := time.Now(); a.calls.Load() > 0 && time.Since(begin) < patience; {
		if sleep(ctx, quiet/10) != nil {
			return
		}
	}
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := s.plugin.EndRoute(ctx, &contract.EndRouteRequest{Route: a.number}); err != nil && s.ctx.Err() == nil {
		p.log.Warn("EndRoute failed", "route", a.name(), "error", describe(err))
	}
}
