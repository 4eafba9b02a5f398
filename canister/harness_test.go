package canister_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	controller = candid.Principal("\x01controller\x02")
	admin      = candid.Principal("\x02admin\x02")
	stranger   = candid.Principal("\x03stranger\x02")
	gateway1   = candid.Principal("\x04gateway one\x02")
	gateway2   = candid.Principal("\x05gateway two\x02")

	// certificate stands for the data certificate; that it is passed on is all
	// that these tests need of it.
	certificate = "the data certificate"
)

func client(n int) candid.Principal {
	return candid.Principal(fmt.Sprintf("\x06client%05d\x02", n))
}

// world is a relay canister and the canisters behind it, with a clock that
// stands still until a test moves it.
type world struct {
	t       testing.TB
	machine *execution.Machine
	relay   candid.Principal

	mu    sync.Mutex
	now   time.Time
	count atomic.Uint64 // of messages
	// onExecution, unless nil, is told of each execution of canister code.
	onExecution func(execution.Execution)
}

// settings is the relay canister's Config; zero fields are left out.
type settings struct {
	calls, feeds                    []method // plain ones
	routed                          []call
	shaped                          []feed
	hooks                           []hook
	pushers, gateways               []candid.Principal
	ackMs, keepAliveMs, maxMessages uint64
	maxInFlight                     uint64
	resumeMs                        uint64
	resumeTag                       string
	version                         uint32 // of the interface
}

type call struct {
	method
	tag                string
	passClient         bool
	reply              string // Nobody, Sender, Everybody
	replyTag, errorTag string
}

type feed struct {
	method
	tag, recipient   string
	last, intervalMs uint64
}

type hook struct {
	target      candid.Principal
	open, close string
}

type method struct {
	target candid.Principal
	name   string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	opts := execution.Options{
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
		// instructions are the bound here, not the load of the machine that tests run on
		Limits:          execution.Limits{MessageTime: time.Minute, QueryTime: time.Minute},
		DataCertificate: func(candid.Principal) ([]byte, []byte) { return []byte(certificate), nil },
		OnExecution: func(x execution.Execution) {
			w.mu.Lock()
			f := w.onExecution
			w.mu.Unlock()
			if f != nil {
				f(x)
			}
		},
	}
	if os.Getenv("CANISTER_LOG") != "" {
		opts.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.machine = execution.New(opts)
	t.Cleanup(func() {
		if err := w.machine.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// observe has f told of each execution of canister code from now on; nil: nobody.
func (w *world) observe(f func(execution.Execution)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onExecution = f
}

// hold makes the next execution last until release is called, so that what is
// submitted meanwhile comes all at once.
func (w *world) hold() (release func()) {
	released := make(chan struct{})
	w.observe(func(execution.Execution) { <-released })
	release = sync.OnceFunc(func() {
		w.observe(nil)
		close(released)
	})
	w.t.Cleanup(release)
	return release
}

// newRelay is a world with a relay canister that uses the settings.
func newRelay(t testing.TB, s settings) *world {
	t.Helper()
	w := newWorld(t)
	w.installRelay(s)
	return w
}

func (w *world) installRelay(s settings) {
	w.t.Helper()
	w.relay = w.install(relayWasm(), s.argument(w.t))
}

func (w *world) install(wasm, arg []byte) candid.Principal {
	w.t.Helper()
	id, err := w.machine.CreateCanister([]candid.Principal{controller})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.machine.Install(context.Background(), id, execution.ModeInstall, wasm, arg, controller); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// installFile installs a canister of this repository without argument.
func (w *world) installFile(path string) candid.Principal {
	w.t.Helper()
	return w.install(readFile(w.t, path), candid.EncodeEmpty())
}

// readFile reads a file of this repository.
func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (w *world) installTarget() candid.Principal {
	w.t.Helper()
	return w.installFile("e2e/canisters/target/target.wasm")
}

func (s settings) argument(t testing.TB) []byte {
	t.Helper()
	optNat64, optText := candid.OptOf(candid.Nat64Type), candid.OptOf(candid.TextType)
	reply := candid.VariantOf(
		candid.Field{Label: "Nobody", Type: candid.NullType},
		candid.Field{Label: "Sender", Type: candid.NullType},
		candid.Field{Label: "Everybody", Type: candid.NullType},
	)
	callType := candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "tag", Type: optText},
		candid.Field{Label: "pass_client", Type: candid.OptOf(candid.BoolType)},
		candid.Field{Label: "reply", Type: candid.OptOf(reply)},
		candid.Field{Label: "reply_tag", Type: optText},
		candid.Field{Label: "error_tag", Type: optText},
	)
	feedType := candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "tag", Type: optText},
		candid.Field{Label: "recipient", Type: optText},
		candid.Field{Label: "last", Type: optNat64},
		candid.Field{Label: "interval_ms", Type: optNat64},
	)
	hookType := candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "open", Type: optText},
		candid.Field{Label: "close", Type: optText},
	)
	optPrincipals := candid.OptOf(candid.VecOf(candid.PrincipalType))

	calls, feeds, hooks := []candid.Fields{}, []candid.Fields{}, []candid.Fields{}
	for _, m := range s.calls {
		calls = append(calls, call{method: m}.value())
	}
	for _, c := range s.routed {
		calls = append(calls, c.value())
	}
	for _, m := range s.feeds {
		feeds = append(feeds, feed{method: m}.value())
	}
	for _, f := range s.shaped {
		feeds = append(feeds, f.value())
	}
	for _, h := range s.hooks {
		hooks = append(hooks, candid.Fields{"target": h.target, "open": optionalText(h.open), "close": optionalText(h.close)})
	}
	var version any
	if s.version != 0 {
		version = s.version
	}
	b, err := candid.NewBuilder().Add(candid.RecordOf(
		candid.Field{Label: "calls", Type: candid.VecOf(callType)},
		candid.Field{Label: "feeds", Type: candid.VecOf(feedType)},
		candid.Field{Label: "admins", Type: candid.VecOf(candid.PrincipalType)},
		candid.Field{Label: "hooks", Type: candid.OptOf(candid.VecOf(hookType))},
		candid.Field{Label: "pushers", Type: optPrincipals},
		candid.Field{Label: "gateways", Type: optPrincipals},
		candid.Field{Label: "ack_interval_ms", Type: optNat64},
		candid.Field{Label: "keep_alive_timeout_ms", Type: optNat64},
		candid.Field{Label: "max_messages", Type: optNat64},
		candid.Field{Label: "max_calls_in_flight", Type: optNat64},
		candid.Field{Label: "resume_ms", Type: optNat64},
		candid.Field{Label: "resume_tag", Type: optText},
		candid.Field{Label: "interface", Type: candid.OptOf(candid.Nat32Type)},
	), candid.Fields{
		"calls":                 calls,
		"feeds":                 feeds,
		"admins":                []candid.Principal{admin},
		"hooks":                 hooks,
		"pushers":               append([]candid.Principal{}, s.pushers...),
		"gateways":              append([]candid.Principal{}, s.gateways...),
		"ack_interval_ms":       optional(s.ackMs),
		"keep_alive_timeout_ms": optional(s.keepAliveMs),
		"max_messages":          optional(s.maxMessages),
		"max_calls_in_flight":   optional(s.maxInFlight),
		"resume_ms":             optional(s.resumeMs),
		"resume_tag":            optionalText(s.resumeTag),
		"interface":             version,
	}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c call) value() candid.Fields {
	var reply any
	if c.reply != "" {
		reply = candid.Tag{Label: c.reply}
	}
	return candid.Fields{
		"target": c.target, "method": c.name, "tag": optionalText(c.tag), "pass_client": c.passClient,
		"reply": reply, "reply_tag": optionalText(c.replyTag), "error_tag": optionalText(c.errorTag),
	}
}

func (f feed) value() candid.Fields {
	return candid.Fields{
		"target": f.target, "method": f.name, "tag": optionalText(f.tag), "recipient": optionalText(f.recipient),
		"last": optional(f.last), "interval_ms": optional(f.intervalMs),
	}
}

func optionalText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func optional(n uint64) any {
	if n == 0 {
		return nil
	}
	return n
}

// advance moves the clock and waits until the timers that are due have run.
func (w *world) advance(d time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.machine.Tick()
	// A timer runs as a message of the canister to itself: a few rounds later it is done.
	for range 4 {
		w.settle()
	}
}

// settle waits until messages sent before have had their turn.
func (w *world) settle() {
	w.t.Helper()
	for range 3 {
		<-w.start(stranger, w.relay, "ws_close", candid.EncodeCloseArgs(candid.ClientKey{Principal: stranger}))
	}
}

// idle waits until no feed looks for its end and no call is open or waits.
func (w *world) idle() {
	w.t.Helper()
	for range 5_000 {
		status := w.status(controller)
		busy := number(w.t, status, "calls_in_flight")+number(w.t, status, "calls_waiting") > 0
		for _, feed := range list(w.t, status, "feeds") {
			seeking, _ := feed.Field("is_seeking").Bool()
			busy = busy || seeking && text(w.t, feed, "last_error") == ""
		}
		if !busy {
			return
		}
		w.settle()
	}
	w.t.Fatalf("not idle: %v", w.status(controller))
}

// nextID is an id for a message.
func (w *world) nextID() [32]byte { return sha256.Sum256(fmt.Appendf(nil, "%d", w.count.Add(1))) }

// start submits an update and returns where its result will come.
func (w *world) start(sender, target candid.Principal, name string, arg []byte) <-chan execution.Result {
	w.t.Helper()
	id := w.nextID()
	done := make(chan execution.Result, 1)
	in := execution.Ingress{ID: id, Sender: sender, Canister: target, Method: name, Arg: arg}
	if err := w.machine.Submit(in, func(r execution.Result) { done <- r }); err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) wait(done <-chan execution.Result) execution.Result {
	w.t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(time.Minute):
		w.t.Fatal("no result after a minute")
		return execution.Result{}
	}
}

// call submits an update, which must not be rejected.
func (w *world) call(sender, target candid.Principal, name string, arg []byte) []byte {
	w.t.Helper()
	return w.reply(name, w.wait(w.start(sender, target, name, arg)))
}

func (w *world) reply(name string, r execution.Result) []byte {
	w.t.Helper()
	if r.Reject != nil {
		w.t.Fatalf("%s: rejected: %v", name, r.Reject)
	}
	return r.Reply
}

// ask makes a query, which must not be rejected.
func (w *world) ask(sender, target candid.Principal, name string, arg []byte) []byte {
	w.t.Helper()
	return w.reply(name, w.machine.Query(context.Background(), sender, target, name, arg))
}

// refusal is the text of an Err, or "".
func (w *world) refusal(reply []byte) string {
	w.t.Helper()
	text, refused, err := candid.DecodeResult(reply)
	if err != nil {
		w.t.Fatal(err)
	}
	if refused && text == "" {
		w.t.Fatal("refused without a text")
	}
	return text
}

// result is an update's refusal, or "".
func (w *world) result(done <-chan execution.Result) string {
	w.t.Helper()
	return w.refusal(w.reply("update", w.wait(done)))
}

// conn is a client's connection.
type conn struct {
	w       *world
	key     candid.ClientKey
	gateway candid.Principal
	sent    uint64
}

// open connects a client, which must be accepted.
func (w *world) open(principal candid.Principal, nonce uint64, gateway candid.Principal) *conn {
	w.t.Helper()
	if text := w.tryOpen(principal, nonce, gateway); text != "" {
		w.t.Fatalf("ws_open: %s", text)
	}
	return &conn{w: w, key: candid.ClientKey{Principal: principal, Nonce: nonce}, gateway: gateway}
}

func (w *world) tryOpen(principal candid.Principal, nonce uint64, gateway candid.Principal) string {
	w.t.Helper()
	return w.result(w.start(principal, w.relay, "ws_open", candid.EncodeOpenArgs(nonce, gateway)))
}

func (w *world) tryClose(gateway candid.Principal, key candid.ClientKey) string {
	w.t.Helper()
	return w.result(w.start(gateway, w.relay, "ws_close", candid.EncodeCloseArgs(key)))
}

// start submits the message with this number.
func (c *conn) start(number uint64, content []byte) <-chan execution.Result {
	c.w.t.Helper()
	return c.startMessage(candid.WebsocketMessage{ClientKey: c.key, SequenceNum: number, Content: content})
}

func (c *conn) startMessage(m candid.WebsocketMessage) <-chan execution.Result {
	c.w.t.Helper()
	return c.w.start(c.key.Principal, c.w.relay, "ws_message", candid.EncodeMessageArgs(m))
}

// send sends the next message, which must be accepted.
func (c *conn) send(content []byte) {
	c.w.t.Helper()
	c.sent++
	if text := c.w.result(c.start(c.sent, content)); text != "" {
		c.w.t.Fatalf("ws_message %d: %s", c.sent, text)
	}
}

// keepAlive sends a keep-alive message as the next one.
func (c *conn) keepAlive() {
	c.w.t.Helper()
	c.has(1)
}

// has is keepAlive that says what the client has received.
func (c *conn) has(number uint64) {
	c.w.t.Helper()
	c.sent++
	m := candid.WebsocketMessage{ClientKey: c.key, SequenceNum: c.sent, IsServiceMessage: true, Content: candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.KeepAliveMessage, LastIncoming: number})}
	if text := c.w.result(c.startMessage(m)); text != "" {
		c.w.t.Fatalf("keep-alive: %s", text)
	}
}

// poll asks for a gateway's messages, and checks their certificate and witness.
func (w *world) poll(gateway candid.Principal, nonce uint64) candid.OutputMessages {
	w.t.Helper()
	reply := w.ask(gateway, w.relay, "ws_get_messages", candid.EncodeGetMessagesArgs(nonce))
	got, text, refused, err := candid.DecodeOutputMessages(reply)
	if err != nil {
		w.t.Fatal(err)
	}
	if refused {
		w.t.Fatalf("ws_get_messages: %s", text)
	}
	if len(got.Messages) == 0 {
		if len(got.Cert) != 0 || len(got.Tree) != 0 || !got.EndOfQueue {
			w.t.Fatalf("an empty poll has certificate %q, tree %x, end %v", got.Cert, got.Tree, got.EndOfQueue)
		}
		return got
	}
	if string(got.Cert) != certificate {
		w.t.Fatalf("certificate %q", got.Cert)
	}
	tree, err := ic.DecodeHashTree(got.Tree)
	if err != nil {
		w.t.Fatal(err)
	}
	info, _ := w.machine.Info(w.relay)
	if digest := tree.Digest(); string(digest[:]) != string(info.CertifiedData) {
		w.t.Fatalf("the witness has root %x, certified is %x", digest, info.CertifiedData)
	}
	for _, m := range got.Messages {
		hash := sha256.Sum256(m.Content)
		if leaf, found := tree.Lookup([]byte("websocket"), []byte(m.Key)); found != ic.Found || string(leaf) != string(hash[:]) {
			w.t.Fatalf("key %s: lookup %v, leaf %x, content %x", m.Key, found, leaf, hash)
		}
	}
	return got
}

// pollAll polls everything from nonce on.
func (w *world) pollAll(gateway candid.Principal, nonce uint64) []candid.OutputMessage {
	w.t.Helper()
	var all []candid.OutputMessage
	for {
		got := w.poll(gateway, nonce)
		for _, m := range got.Messages {
			all = append(all, m)
			nonce = keyNonce(w.t, gateway, m.Key) + 1
		}
		if got.EndOfQueue {
			return all
		}
	}
}

func keyNonce(t testing.TB, gateway candid.Principal, key string) uint64 {
	t.Helper()
	digits, ok := strings.CutPrefix(key, gateway.String()+"_")
	var n uint64
	if _, err := fmt.Sscanf(digits, "%d", &n); !ok || err != nil || len(digits) != 20 {
		t.Fatalf("key %q of gateway %s", key, gateway)
	}
	return n
}

// inbox is what the gateway still has for one client, decoded; the sequence
// numbers must run without gaps.
func (c *conn) inbox() []candid.WebsocketMessage {
	c.w.t.Helper()
	var got []candid.WebsocketMessage
	for _, m := range c.w.pollAll(c.gateway, 0) {
		if m.ClientKey != c.key {
			continue
		}
		decoded, err := candid.DecodeWebsocketMessage(m.Content)
		if err != nil {
			c.w.t.Fatal(err)
		}
		if decoded.ClientKey != c.key {
			c.w.t.Fatalf("message to %s with the key of %s", c.key, decoded.ClientKey)
		}
		if len(got) > 0 && decoded.SequenceNum != got[len(got)-1].SequenceNum+1 {
			c.w.t.Fatalf("sequence number %d after %d", decoded.SequenceNum, got[len(got)-1].SequenceNum)
		}
		got = append(got, decoded)
	}
	return got
}

// texts are the application's messages in the inbox, which must be texts.
func (c *conn) texts() []string {
	c.w.t.Helper()
	texts := []string{}
	for _, m := range c.inbox() {
		if m.IsServiceMessage {
			continue
		}
		text, err := candid.DecodeText(m.Content)
		if err != nil {
			c.w.t.Fatal(err)
		}
		texts = append(texts, text)
	}
	return texts
}

// services are the service messages in the inbox in short form: open, ack 3, close reason.
func (c *conn) services() []string {
	c.w.t.Helper()
	var out []string
	for _, m := range c.inbox() {
		if !m.IsServiceMessage {
			continue
		}
		s, err := candid.DecodeServiceMessage(m.Content)
		if err != nil {
			c.w.t.Fatal(err)
		}
		switch s.Kind {
		case candid.OpenMessage:
			if s.ClientKey != c.key {
				c.w.t.Fatalf("OpenMessage of %s for %s", s.ClientKey, c.key)
			}
			out = append(out, "open")
		case candid.AckMessage:
			out = append(out, fmt.Sprintf("ack %d", s.LastIncoming))
		case candid.CloseMessage:
			out = append(out, "close "+s.Reason.String())
		default:
			out = append(out, s.Kind.String())
		}
	}
	return out
}

// pull asks the relay canister to fetch a feed; it must be willing.
func (w *world) pull(sender candid.Principal, feed method) uint64 {
	w.t.Helper()
	cursor, text := w.tryPull(sender, feed, nil)
	if text != "" {
		w.t.Fatalf("relay_pull: %s", text)
	}
	return cursor
}

func (w *world) tryPull(sender candid.Principal, feed method, delivered any) (cursor uint64, refusal string) {
	w.t.Helper()
	return w.pulled(w.startPull(sender, feed, delivered))
}

func (w *world) startPull(sender candid.Principal, feed method, delivered any) <-chan execution.Result {
	w.t.Helper()
	arg, err := candid.NewBuilder().Add(candid.RecordOf(
		candid.Field{Label: "target", Type: candid.PrincipalType},
		candid.Field{Label: "method", Type: candid.TextType},
		candid.Field{Label: "delivered", Type: candid.OptOf(candid.Nat64Type)},
	), candid.Fields{"target": feed.target, "method": feed.name, "delivered": delivered}).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return w.start(sender, w.relay, "relay_pull", arg)
}

func (w *world) pulled(done <-chan execution.Result) (cursor uint64, refusal string) {
	w.t.Helper()
	v := w.decode(w.reply("relay_pull", w.wait(done)))
	if text, ok := v.Tag("Err"); ok {
		refusal, _ = text.Text()
		return 0, refusal
	}
	ok, isOk := v.Tag("Ok")
	cursor, isNat := ok.Uint64()
	if !isOk || !isNat {
		w.t.Fatalf("relay_pull: %v", v)
	}
	return cursor, ""
}

// decode is the first value of a reply.
func (w *world) decode(reply []byte) candid.Value {
	w.t.Helper()
	v, err := candid.Decode(reply, candid.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(v) == 0 {
		w.t.Fatal("no value")
	}
	return v[0]
}

func (w *world) status(sender candid.Principal) candid.Value {
	w.t.Helper()
	return w.decode(w.ask(sender, w.relay, "relay_status", candid.EncodeEmpty()))
}

// list is the elements of a vec field.
func list(t testing.TB, v candid.Value, field string) []candid.Value {
	t.Helper()
	got, ok := v.Field(field).Vec()
	if !ok {
		t.Fatalf("%s is no vec: %v", field, v)
	}
	return got
}

func number(t testing.TB, v candid.Value, field string) uint64 {
	t.Helper()
	n, ok := v.Field(field).Uint64()
	if !ok {
		t.Fatalf("%s is no number: %v", field, v)
	}
	return n
}

func text(t testing.TB, v candid.Value, field string) string {
	t.Helper()
	f := v.Field(field)
	if inner, ok := f.Opt(); ok {
		f = inner
	}
	s, _ := f.Text()
	return s
}

// texts is the vec of texts that a query of a target returns.
func (w *world) texts(target candid.Principal, name string) []string {
	w.t.Helper()
	vec, ok := w.decode(w.ask(stranger, target, name, candid.EncodeEmpty())).Vec()
	if !ok {
		w.t.Fatalf("%s returns no vec", name)
	}
	texts := []string{}
	for _, v := range vec {
		s, _ := v.Text()
		texts = append(texts, s)
	}
	return texts
}

// upgrade stops the relay canister, gives it the same module again, and starts it.
func (w *world) upgrade(s settings) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(
		w.machine.Stop(ctx, w.relay),
		w.machine.Install(ctx, w.relay, execution.ModeUpgrade, relayWasm(), s.argument(w.t), controller),
		w.machine.Start(ctx, w.relay),
	)
}

func (w *world) installAt(id candid.Principal, s settings) error {
	w.t.Helper()
	return w.machine.Install(context.Background(), id, execution.ModeInstall, relayWasm(), s.argument(w.t), controller)
}
