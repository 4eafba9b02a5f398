package soak

import (
	"context"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// A history is what clients know, and what the diary knows.
type history struct {
	target   candid.Principal
	sessions []*session
	entries  []entry
	streams  map[string]*stream
}

// An entry is what the diary has written down of one call.
type entry struct {
	what   string // the method
	client candid.Principal
	note
}

// A stream is what the diary has sent, or offered, in an order.
type stream struct {
	items []sentItem
	last  uint64 // how many of them a newcomer gets
}

type sentItem struct {
	cause   note
	skipped bool // it did not reach anybody
}

// read asks the diary for everything.
func (w *world) read() *history {
	w.t.Helper()
	h := &history{target: w.diary, sessions: w.all(), streams: map[string]*stream{
		postStream:  {last: lastPosts},
		tickStream:  {last: lastTicks},
		"everybody": {},
	}}
	for _, v := range w.pages("entriesFrom", 1) {
		n := w.note(v)
		what, _ := v.Field("what").Text()
		e := entry{what: what, note: n}
		if client, some := v.Field("client").Opt(); some {
			e.client, _ = client.Principal()
		}
		h.entries = append(h.entries, e)
	}
	for _, v := range w.pages("postsSince", 1) {
		h.append(postStream, sentItem{cause: w.note(v.Field("cause"))})
	}
	for _, v := range w.pages("ticksAt", 7) {
		h.append(tickStream, sentItem{cause: w.note(v.Field("cause"))})
	}
	for _, v := range w.pages("pushesFrom", 1) {
		name, _ := v.Field("stream").Text()
		reached, known := v.Field("reached").Opt()
		count, _ := reached.Uint64()
		if !known {
			w.t.Errorf("a push to %s was never answered", name)
		}
		h.append(name, sentItem{cause: w.note(v.Field("cause")), skipped: count == 0})
	}
	for _, v := range w.pages("lettersSince", 1) {
		to, _ := v.Field("to").Principal()
		h.append(letterStream(to), sentItem{cause: w.note(v.Field("cause"))})
	}
	return h
}

func (h *history) append(name string, item sentItem) {
	s := h.streams[name]
	if s == nil {
		s = &stream{}
		h.streams[name] = s
	}
	s.items = append(s.items, item)
}

// pages asks one of the diary's queries until it has no more.
func (w *world) pages(method string, step uint64) []candid.Value {
	w.t.Helper()
	var all []candid.Value
	for {
		v := w.ask(ic.AnonymousIdentity{}, w.diary, method, candid.EncodeNat(step*uint64(len(all))))
		if items := v.Field("items"); items.Kind() != candid.KindNone {
			v = items
		}
		page, ok := v.Vec()
		if !ok {
			w.t.Fatalf("%s: %v", method, v)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func (w *world) note(v candid.Value) note {
	w.t.Helper()
	n, err := decodeNote(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// ask makes a query.
func (w *world) ask(identity ic.Identity, id candid.Principal, method string, arg []byte) candid.Value {
	w.t.Helper()
	v, err := w.tryAsk(identity, id, method, arg)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) tryAsk(identity ic.Identity, id candid.Principal, method string, arg []byte) (candid.Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := w.network.Client.Query(ctx, identity, id, method, arg)
	if err != nil {
		return candid.Value{}, err
	}
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil || len(values) == 0 {
		return candid.Value{}, err
	}
	return values[0], nil
}

// watch looks at the relay canister's status again and again until ctx ends.
func (w *world) watch(ctx context.Context) {
	for sleep(ctx, 200*time.Millisecond) == nil {
		_, _ = w.status() // it may be stopped just now
	}
}

// status is what the relay canister says about itself.
type status struct {
	clients, inFlight, waiting uint64
	queued                     uint64 // messages in all gateways' queues
	bytes                      uint64
	gateways                   int
}

func (w *world) status() (status, error) {
	v, err := w.tryAsk(w.deployer, w.relay, "relay_status", candid.EncodeEmpty())
	if err != nil {
		return status{}, err
	}
	number := func(v candid.Value, field string) uint64 {
		n, ok := v.Field(field).Uint64()
		if !ok {
			w.t.Errorf("relay_status has no %s: %v", field, v)
		}
		return n
	}
	s := status{clients: number(v, "clients"), inFlight: number(v, "calls_in_flight"), waiting: number(v, "calls_waiting")}
	gateways, _ := v.Field("gateways").Vec()
	s.gateways = len(gateways)
	for _, g := range gateways {
		s.queued += number(g, "next") - number(g, "first")
		s.bytes += number(g, "bytes")
	}
	w.longest.Store(max(w.longest.Load(), s.queued))
	rejections, _ := v.Field("rejections").Vec()
	for _, r := range rejections {
		code, _ := r.Field("code").Text()
		text, _ := r.Field("text").Text()
		w.rejected(code, text)
	}
	return s, nil
}

// rejected looks at a failure that the relay canister has noted: the target
// traps and refuses, and is stopped once. Nothing else may fail.
func (w *world) rejected(code, text string) {
	switch code {
	case "CANISTER_REJECT", "IC0503": // on purpose
	case "NOT_STARTED": // it waits
	case "IC0508", "IC0509":
		if !strings.Contains(text, w.diary.String()) {
			w.odd(code + ": " + text)
		}
	default:
		w.odd(code + ": " + text)
	}
}
