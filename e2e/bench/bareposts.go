package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/histogram"
)

// barePostSettings say what a bare HTTP client posts to the network.
type barePostSettings struct {
	network  string
	canister string
	clients  int
	rate     float64 // messages a second; 0: as fast as answers come
	size     int     // bytes of the text in a message
	silent   bool    // send what the canister does not answer
	duration time.Duration
	poll     time.Duration // look for the echo: at once after the call (0), or at this interval; below 0: not at all
}

func barePostOptions(f *flag.FlagSet) *barePostSettings {
	var o barePostSettings
	f.StringVar(&o.network, "network", "", "")
	f.StringVar(&o.canister, "canister", "", "")
	f.IntVar(&o.clients, "clients", 1, "")
	f.Float64Var(&o.rate, "rate", 0, "")
	f.IntVar(&o.size, "size", 100, "")
	f.BoolVar(&o.silent, "silent", false, "")
	f.DurationVar(&o.duration, "duration", time.Second, "")
	f.DurationVar(&o.poll, "poll", -1, "")
	return &o
}

// poster is a bare HTTP client in the place of a gateway and its clients. It
// believes what it is told: nothing is verified.
type poster struct {
	settings barePostSettings
	canister candid.Principal
	gateway  ic.Identity
	content  []byte // of all messages
	http     *http.Client
	end      time.Time

	posts, polls atomic.Uint64
	failed       atomic.Int64
	latency      histogram.Histogram
	next         atomic.Uint64 // nonce of the next message in the gateway's queue

	mu      sync.Mutex
	waiting map[candid.ClientKey]arrival // who waits for an echo, where polls are made at an interval
}

type arrival struct {
	due  time.Time
	came chan struct{}
}

// caller is one client of the canister, with messages that are signed already.
type caller struct {
	identity ic.Identity
	key      candid.ClientKey
	bodies   [][]byte
}

func runBarePosts(ctx context.Context, o barePostSettings) (*bareResult, error) {
	canister, err := candid.ParsePrincipal(o.canister)
	if err != nil {
		return nil, err
	}
	gateway, err := ic.NewEd25519Identity()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConns: o.clients + 1, MaxIdleConnsPerHost: o.clients + 1}
	defer transport.CloseIdleConnections()
	p := &poster{settings: o, canister: canister, gateway: gateway, http: &http.Client{Transport: transport}, waiting: make(map[candid.ClientKey]arrival)}
	if p.content, err = o.content(); err != nil {
		return nil, err
	}
	callers := make([]*caller, o.clients)
	for i := range callers {
		if callers[i], err = p.open(ctx, uint64(i)+1); err != nil { //nolint:gosec // few
			return nil, err
		}
	}
	if err := p.signAll(callers); err != nil {
		return nil, err
	}
	p.next.Store(uint64(o.clients)) //nolint:gosec // the open messages are nobody's concern
	start := time.Now()
	p.end = start.Add(o.duration)
	var senders, poller sync.WaitGroup
	polling, stopPolling := context.WithCancel(ctx)
	defer stopPolling()
	if o.poll > 0 {
		poller.Go(func() { p.pollAtInterval(polling) })
	}
	for i, c := range callers {
		senders.Go(func() {
			if err := p.send(ctx, c, start, i); err != nil {
				p.failed.Add(1)
			}
		})
	}
	senders.Wait()
	seconds := time.Since(start).Seconds()
	stopPolling()
	poller.Wait()
	result := &bareResult{
		Sent:   float64(p.posts.Load()) / seconds,
		Polls:  float64(p.polls.Load()) / seconds,
		Errors: int(p.failed.Load()),
	}
	result.take(&p.latency)
	return result, nil
}

// content is what the messages contain.
func (o *barePostSettings) content() ([]byte, error) {
	text := strings.Repeat("0", o.size)
	if o.silent {
		const tag = "Nobody"
		return candid.NewBuilder().Add(candid.VariantOf(candid.Field{Label: tag, Type: candid.TextType}), candid.Tag{Label: tag, Value: text}).Bytes()
	}
	return candid.NewBuilder().Add(candid.TextType, text).Bytes()
}

// open opens a client.
func (p *poster) open(ctx context.Context, nonce uint64) (*caller, error) {
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		return nil, err
	}
	c := &caller{identity: identity, key: candid.ClientKey{Principal: identity.Principal(), Nonce: nonce}}
	body, err := p.sign(identity, candid.RequestCall, "ws_open", candid.EncodeOpenArgs(nonce, p.gateway.Principal()))
	if err != nil {
		return nil, err
	}
	if _, err := p.post(ctx, "call", body); err != nil {
		return nil, fmt.Errorf("ws_open: %w", err)
	}
	return c, nil
}

// signAll signs what the clients will send, on all cores: for the whole run, or
// more than any network is expected to take.
func (p *poster) signAll(callers []*caller) error {
	rate := p.settings.rate
	if rate == 0 {
		const fastest = 30_000 // a second
		rate = fastest
	}
	each := int(rate*p.settings.duration.Seconds()/float64(len(callers))) + 2
	var signers sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for n := range errs {
		signers.Go(func() {
			for i := n; i < len(callers); i += len(errs) {
				for range each {
					if errs[n] = callers[i].signNext(p); errs[n] != nil {
						return
					}
				}
			}
		})
	}
	signers.Wait()
	return errors.Join(errs...)
}

func (c *caller) signNext(p *poster) error {
	body, err := p.sign(c.identity, candid.RequestCall, "ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{
		ClientKey: c.key, SequenceNum: uint64(len(c.bodies) + 1), Timestamp: uint64(time.Now().UnixNano()), Content: p.content, //nolint:gosec // positive
	}))
	c.bodies = append(c.bodies, body)
	return err
}

func (p *poster) sign(identity ic.Identity, kind, method string, arg []byte) ([]byte, error) {
	e := ic.NewCall(p.canister, method, arg, time.Now())
	e.RequestType = kind
	if err := ic.Sign(e, identity); err != nil {
		return nil, err
	}
	return e.Encode(), nil
}

// errSpent: a ceiling that is measured with too few messages is not one.
var errSpent = errors.New("all messages that were signed before have been sent")

// send posts a client's messages one after the other, at its share of the rate,
// until the time is over.
func (p *poster) send(ctx context.Context, c *caller, start time.Time, index int) error {
	interval := time.Duration(0)
	if p.settings.rate > 0 {
		interval = time.Duration(float64(p.settings.clients) / p.settings.rate * float64(time.Second))
		start = start.Add(interval * time.Duration(index) / time.Duration(p.settings.clients))
	}
	for n, body := range c.bodies {
		due := time.Now()
		if interval > 0 {
			due = start.Add(time.Duration(n) * interval)
			if !due.Before(p.end) {
				time.Sleep(time.Until(p.end)) // the time of the last message is part of what is measured
				return nil
			}
			time.Sleep(time.Until(due))
		}
		if !time.Now().Before(p.end) || ctx.Err() != nil {
			return nil
		}
		came := p.expect(c.key, due)
		if _, err := p.post(ctx, "call", body); err != nil {
			return err
		}
		p.posts.Add(1)
		if err := p.fetch(ctx, came); err != nil {
			return err
		}
		if p.settings.poll <= 0 {
			p.latency.Add(time.Since(due))
		}
	}
	return errSpent
}

// expect notes that a client waits, where polls are made at an interval.
func (p *poster) expect(key candid.ClientKey, due time.Time) <-chan struct{} {
	if p.settings.poll <= 0 {
		return nil
	}
	a := arrival{due, make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[key] = a
	return a.came
}

// fetchTimeout is for an echo to come where polls are made at an interval.
const fetchTimeout = 10 * time.Second

// fetch gets the echo of a message that was just answered.
func (p *poster) fetch(ctx context.Context, came <-chan struct{}) error {
	switch {
	case p.settings.poll < 0:
		return nil
	case p.settings.poll == 0:
		return p.pollOnce(ctx)
	}
	select {
	case <-came:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(fetchTimeout):
		return fmt.Errorf("no echo within %s", fetchTimeout)
	}
}

func (p *poster) pollAtInterval(ctx context.Context) {
	tick := time.NewTicker(p.settings.poll)
	defer tick.Stop()
	for {
		if err := p.pollOnce(ctx); err != nil && ctx.Err() == nil {
			p.failed.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pollOnce polls for what nobody has fetched yet.
func (p *poster) pollOnce(ctx context.Context) error {
	body, err := p.sign(p.gateway, candid.RequestQuery, "ws_get_messages", candid.EncodeGetMessagesArgs(p.next.Load()))
	if err != nil {
		return err
	}
	answer, err := p.post(ctx, "query", body)
	if err != nil {
		return err
	}
	p.polls.Add(1)
	response, err := ic.DecodeQueryResponse(answer)
	if err != nil {
		return err
	}
	batch, text, refused, err := candid.DecodeOutputMessages(response.Reply)
	if err != nil || refused {
		return errors.Join(err, errors.New(text))
	}
	for _, m := range batch.Messages {
		nonce, err := bridge.MessageNonce(m.Key)
		if err != nil {
			return err
		}
		p.advance(nonce + 1)
		p.arrive(m.ClientKey)
	}
	return nil
}

// advance moves on in the queue. Others may be further already.
func (p *poster) advance(next uint64) {
	for old := p.next.Load(); old < next; old = p.next.Load() {
		if p.next.CompareAndSwap(old, next) {
			return
		}
	}
}

func (p *poster) arrive(key candid.ClientKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, ok := p.waiting[key]; ok {
		delete(p.waiting, key)
		p.latency.Add(time.Since(a.due))
		close(a.came)
	}
}

// post posts a signed envelope. Only an answer that has a reply will do.
func (p *poster) post(ctx context.Context, kind string, body []byte) ([]byte, error) {
	version := map[string]string{"call": "v4", "query": "v3"}[kind]
	url := fmt.Sprintf("%s/api/%s/canister/%s/%s", p.settings.network, version, p.canister, kind)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/cbor")
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %.200s", resp.StatusCode, answer)
	}
	return answer, err
}
