package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/app"
	"github.com/icrelay/icrelay/internal/testnet"
)

const (
	patience    = 90 * time.Second // for what should take seconds at most, on a busy machine
	openTimeout = 60 * time.Second

	ackInterval      = 10 * time.Second
	keepAliveTimeout = 9 * time.Second
	lastPosts        = 20 // items that a newcomer gets
	lastTicks        = 5
)

// A world is the network, its canisters, the gateways, and the clients.
type world struct {
	t        *testing.T
	size     size
	network  *testnet.Network
	deployer ic.Identity // controls the canisters, as somebody with a deploy tool does
	relay    candid.Principal
	diary    candid.Principal
	gateways []*gateway
	workers  []*worker

	enter      gate          // closed: no new connections
	speak      gate          // closed: no new messages
	churn      sync.RWMutex  // held for reading by who ends a connection
	generation atomic.Uint64 // those who came in an earlier one leave
	enough     atomic.Bool   // nobody needs to say anything more
	began      time.Time
	troubles   []*trouble

	clock atomic.Uint64
	total atomic.Uint64 // messages that have certainly arrived
	heard atomic.Uint64 // messages to clients

	longest atomic.Uint64 // messages in the gateways' queues at a time, the most that was seen

	mu       sync.Mutex
	sessions []*session
	known    map[string]uint64 // of posts and ticks, how many somebody has received
	most     map[string]uint64 // and how many were asked for
	turned   map[string]int    // why connections could not be opened, and how often
	oddities map[string]bool   // failures that the relay canister has noted and nobody expects
}

func newWorld(t *testing.T, size size) *world {
	t.Helper()
	w := &world{
		t:        t,
		size:     size,
		network:  testnet.Start(t),
		deployer: testnet.Identity(t),
		known:    make(map[string]uint64),
		most:     make(map[string]uint64),
		turned:   make(map[string]int),
		oddities: make(map[string]bool),
	}
	w.enter.open()
	w.speak.open()
	log := newLog(t)
	for _, name := range []string{"A", "B"} {
		w.gateways = append(w.gateways, newGateway(t, name, w.network.URL(), log))
	}
	w.deploy()
	for _, g := range w.gateways {
		g.start()
	}
	var identities []ic.Identity
	for i := range size.clients {
		identity := testnet.Identity(t)
		// Some are a second connection of the same principal.
		if others := size.clients - size.clients/6; i >= others {
			identity = identities[i-others]
		}
		identities = append(identities, identity)
		w.workers = append(w.workers, &worker{
			world:    w,
			identity: identity,
			random:   rand.New(rand.NewPCG(size.seed, uint64(i))),
		})
	}
	return w
}

// deploy installs the diary and the relay canister as somebody with a deploy
// tool does: with the argument that `relay canister config` gives.
func (w *world) deploy() {
	w.t.Helper()
	for _, id := range []*candid.Principal{&w.diary, &w.relay} {
		var err error
		if *id, err = w.network.CreateCanister(w.deployer.Principal()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.network.InstallFile(w.diary, "e2e/canisters/diary/diary.wasm", candid.EncodeEmpty())
	for _, g := range w.gateways {
		g.configure(w.route(ackInterval, keepAliveTimeout))
	}
	w.install(candid.Tag{Label: "install"}, w.argument())
}

// argument is what `relay canister config --format bin` writes.
func (w *world) argument() []byte {
	w.t.Helper()
	cfg := w.gateways[0].load()
	argument, _, err := app.RelayArgument(cfg, "", app.FormatBin)
	if err != nil {
		w.t.Fatal(err)
	}
	return []byte(argument)
}

// route is the part of the configuration that the gateways share.
func (w *world) route(ack, keepAlive time.Duration) string {
	var b strings.Builder
	var principals []string
	for _, g := range w.gateways {
		principals = append(principals, fmt.Sprintf("%q", g.principal))
	}
	all := strings.Join(principals, ", ")
	fmt.Fprintf(&b, `
[[route]]
canister = %q
adapter = "relay"
[route.relay]
admins = [%s]
gateways = [%s]
ack_interval = %q
keep_alive_timeout = %q
watch_interval = "250ms"
`, w.relay, all, all, ack, keepAlive)
	for _, k := range kinds {
		fmt.Fprintf(&b, "[[route.relay.call]]\ntarget = %q\nmethod = %q\nerror_tag = %q\n", w.diary, k.method, heardFailed)
		if k.tag != "" {
			fmt.Fprintf(&b, "tag = %q\npass_client = true\n", k.tag)
		}
		switch k.reply {
		case "sender":
			fmt.Fprintf(&b, "reply = %q\nreply_tag = %q\n", k.reply, heardNoted)
		case "everybody":
			fmt.Fprintf(&b, "reply = %q\nreply_tag = %q\n", k.reply, heardShouted)
		}
	}
	fmt.Fprintf(&b, "[[route.relay.feed]]\ntarget = %q\nmethod = \"postsSince\"\ntag = %q\nlast = %d\n", w.diary, heardPost, lastPosts)
	fmt.Fprintf(&b, "[[route.relay.feed]]\ntarget = %q\nmethod = \"ticksAt\"\ntag = %q\nlast = %d\ninterval = \"500ms\"\n", w.diary, heardTick, lastTicks)
	fmt.Fprintf(&b, "[[route.relay.feed]]\ntarget = %q\nmethod = \"lettersSince\"\ntag = %q\nrecipient = \"to\"\n", w.diary, heardLetter)
	fmt.Fprintf(&b, "[[route.relay.hook]]\ntarget = %q\nopen = \"opened\"\nclose = \"closed\"\n", w.diary)
	return b.String()
}

var (
	idType      = candid.RecordOf(candid.Field{Label: "canister_id", Type: candid.PrincipalType})
	installType = candid.RecordOf(
		candid.Field{Label: "mode", Type: candid.VariantOf(
			candid.Field{Label: "install", Type: candid.NullType},
			candid.Field{Label: "upgrade", Type: candid.OptOf(candid.RecordOf(
				candid.Field{Label: "wasm_memory_persistence", Type: candid.OptOf(candid.VariantOf(
					candid.Field{Label: "keep", Type: candid.NullType},
					candid.Field{Label: "replace", Type: candid.NullType},
				))},
			))},
		)},
		candid.Field{Label: "canister_id", Type: candid.PrincipalType},
		candid.Field{Label: "wasm_module", Type: candid.BlobType},
		candid.Field{Label: "arg", Type: candid.BlobType},
	)
)

func (w *world) install(mode candid.Tag, argument []byte) {
	w.t.Helper()
	w.manage("install_code", w.relay, installType, candid.Fields{
		"mode":        mode,
		"canister_id": w.relay,
		"wasm_module": relayWasm(),
		"arg":         argument,
	})
}

func (w *world) stopCanister(id candid.Principal) {
	w.t.Helper()
	w.manage("stop_canister", id, idType, candid.Fields{"canister_id": id})
}

func (w *world) startCanister(id candid.Principal) {
	w.t.Helper()
	w.manage("start_canister", id, idType, candid.Fields{"canister_id": id})
}

// upgrade gives the relay canister the same module again, as a deploy tool does.
func (w *world) upgrade() {
	w.t.Helper()
	w.stopCanister(w.relay)
	w.install(candid.Tag{Label: "upgrade", Value: upgradeOptions()}, w.argument())
	w.startCanister(w.relay)
}

// manage calls the management canister as the deployer.
func (w *world) manage(method string, effective candid.Principal, t candid.Type, value any) {
	w.t.Helper()
	arg, err := candid.NewBuilder().Add(t, value).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := w.network.Client.CallEffective(ctx, w.deployer, effective, candid.ManagementCanister, method, arg); err != nil {
		w.t.Fatal(err)
	}
}

// configure applies a configuration as `relay canister configure` does.
func (w *world) configure(ack, keepAlive time.Duration) {
	w.t.Helper()
	for _, g := range w.gateways {
		g.configure(w.route(ack, keepAlive))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := w.network.Client.Call(ctx, w.deployer, w.relay, "relay_configure", w.argument())
	if err != nil {
		w.t.Fatal(err)
	}
	if text, refused, err := candid.DecodeResult(reply); refused || err != nil {
		w.t.Fatal(text, err)
	}
}

// tick is a moment after every earlier one.
func (w *world) tick() uint64 { return w.clock.Add(1) }

// pick is a gateway that runs, and its URL.
func (w *world) pick(random *rand.Rand) (name, url string) {
	first := random.IntN(len(w.gateways))
	for i := range w.gateways {
		g := w.gateways[(first+i)%len(w.gateways)]
		if url = g.address(); url != "" {
			return g.name, url
		}
	}
	return "", ""
}

func (w *world) add(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions = append(w.sessions, s)
}

func (w *world) all() []*session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*session(nil), w.sessions...)
}

func (w *world) openSessions() int {
	n := 0
	for _, s := range w.all() {
		if s.isOpen() {
			n++
		}
	}
	return n
}

// refused notes that no connection could be opened.
func (w *world) refused(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turned[err.Error()]++
}

// odd notes a failure that nobody expects.
func (w *world) odd(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.oddities[text] {
		w.oddities[text] = true
		w.t.Errorf("the relay canister has noted a failure: %s", text)
	}
}

// willSend notes that there may be another item of a feed.
func (w *world) willSend(k *kind) {
	stream := map[string]string{"Post": postStream, "Tick": tickStream}[k.tag]
	if stream == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most[stream]++
}

// gained notes what a client has received, and how many of its messages that shows to have arrived.
func (w *world) gained(h heard, messages uint64) {
	w.total.Add(messages)
	w.heard.Add(1)
	if h.stream != postStream && h.stream != tickStream {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[h.stream] = max(w.known[h.stream], h.index+1)
}

func (w *world) know() knowledge {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := knowledge{at: w.tick(), known: make(map[string]uint64), most: make(map[string]uint64)}
	for _, stream := range []string{postStream, tickStream} {
		k.known[stream], k.most[stream] = w.known[stream], w.most[stream]
	}
	return k
}

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			status, err := w.status()
			w.t.Fatalf("%s: waited %s in vain: %s; %+v %v; %d connections are open; turned away: %v", w.progress(), patience, what, status, err, w.openSessions(), w.turned)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A gate lets through while it is open.
type gate struct {
	mu   sync.Mutex
	way  chan struct{} // closed while the gate is open
	wide bool
}

func (g *gate) channel() chan struct{} {
	if g.way == nil {
		g.way = make(chan struct{})
	}
	return g.way
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.wide {
		g.wide = true
		close(g.channel())
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wide {
		g.wide, g.way = false, nil
	}
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wide
}

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	way := g.channel()
	g.mu.Unlock()
	select {
	case <-way:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
