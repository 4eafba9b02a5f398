package adaptertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// A Target is an adapter with the canister that it is tested on. The canister
// is fresh: nobody has opened a connection with it yet.
type Target struct {
	Adapter  bridge.Adapter
	Canister candid.Principal
	Gateway  candid.Principal // the principal of the adapter's identity
	Verifier *ic.Verifier

	// Content is an application message that the canister accepts; different
	// for different n.
	Content func(n int) []byte

	// Unrelated is the same kind of adapter with another identity, which has
	// no clients.
	Unrelated bridge.Adapter

	// Unreachable is the same kind of adapter on a network that does not answer.
	Unreachable bridge.Adapter

	// Missing is the id of a canister that does not exist.
	Missing candid.Principal

	// OfMissing is the adapter for Missing, if Adapter is for one canister only.
	OfMissing bridge.Adapter

	// Stop and Start stop the canister and start it again, as for an upgrade;
	// nil for a builtin one, which nobody can stop.
	Stop, Start func(context.Context) error
}

// Run runs the suite; every test gets a Target of its own. t is a *testing.T,
// or a *Trial.
func Run[X Runner[X]](t X, newTarget func(t X) Target) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"an open brings a certified open message", (*suite).openMessage},
		{"the same open twice opens once", (*suite).openTwice},
		{"a second open of a key is refused by the canister", (*suite).openAgain},
		{"an anonymous open is refused by the canister", (*suite).openAnonymous},
		{"messages are accepted in order", (*suite).messages},
		{"the same message twice is delivered once", (*suite).messageTwice},
		{"a window of messages may arrive in any order", (*suite).window},
		{"a message of a stranger is refused by the canister", (*suite).stranger},
		{"a message out of sequence is refused by the canister", (*suite).outOfSequence},
		{"close forgets the client, and may be repeated", (*suite).close},
		{"poll starts at a nonce and changes nothing", (*suite).poll},
		{"poll for a gateway without clients is empty", (*suite).pollUnrelated},
		{"many clients at once", (*suite).concurrency},
		{"an ended context ends every call", (*suite).endedContext},
		{"a missing canister is a refusal", (*suite).missing},
		{"an unreachable network is not a refusal", (*suite).unreachable},
		{"a stopped canister is not a refusal", (*suite).stopped},
	}
	for _, test := range tests {
		t.Run(test.name, func(t X) {
			target := newTarget(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			test.run(&suite{T: t, Target: target, ctx: ctx})
		})
	}
}

type suite struct {
	T
	Target
	ctx context.Context
}

// A client signs envelopes as a stock client would.
type client struct {
	s        *suite
	identity ic.Identity
	key      candid.ClientKey
	sequence uint64
}

func (s *suite) client() *client {
	s.Helper()
	identity, err := ic.NewEd25519Identity()
	s.no(err)
	return s.clientOf(identity)
}

func (s *suite) clientOf(identity ic.Identity) *client {
	s.Helper()
	var nonce [8]byte
	_, err := rand.Read(nonce[:])
	s.no(err)
	return &client{s: s, identity: identity, key: candid.ClientKey{Principal: identity.Principal(), Nonce: binary.BigEndian.Uint64(nonce[:])}}
}

func (c *client) envelope(canister candid.Principal, method string, arg []byte) bridge.Envelope {
	c.s.Helper()
	env := ic.NewCall(canister, method, arg, time.Now())
	c.s.no(ic.Sign(env, c.identity))
	return bridge.Envelope{Canister: canister, Client: c.key, RequestID: env.RequestID(), Expiry: time.Unix(0, int64(env.IngressExpiry)), Bytes: env.Encode()} //nolint:gosec // minutes from now
}

func (c *client) openEnvelope() bridge.Envelope {
	c.s.Helper()
	return c.openEnvelopeTo(c.s.Canister)
}

func (c *client) openEnvelopeTo(canister candid.Principal) bridge.Envelope {
	c.s.Helper()
	return c.envelope(canister, "ws_open", candid.EncodeOpenArgs(c.key.Nonce, c.s.Gateway))
}

func (c *client) open() {
	c.s.Helper()
	c.s.no(c.s.Adapter.Open(c.s.ctx, c.openEnvelope()))
}

// nextMessage signs the message with the next sequence number.
func (c *client) nextMessage(content []byte) bridge.Envelope {
	c.s.Helper()
	return c.nextMessageTo(c.s.Canister, content)
}

func (c *client) nextMessageTo(canister candid.Principal, content []byte) bridge.Envelope {
	c.s.Helper()
	c.sequence++
	return c.envelope(canister, "ws_message", candid.EncodeMessageArgs(candid.WebsocketMessage{
		ClientKey:   c.key,
		SequenceNum: c.sequence,
		Timestamp:   uint64(time.Now().UnixNano()), //nolint:gosec // after 1970
		Content:     content,
	}))
}

func (s *suite) no(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// refused wants a refusal with a sentence in it.
func (s *suite) refused(err error) {
	s.Helper()
	text, refused := bridge.RefusalText(err)
	if !refused || text == "" {
		s.Fatalf("error = %v, want a refusal with a text", err)
	}
}

// drain polls everything from a nonce on, and checks each batch as clients would.
func (s *suite) drain(from uint64) []candid.OutputMessage {
	s.Helper()
	var all []candid.OutputMessage
	for {
		batch, err := s.Adapter.Poll(s.ctx, s.Canister, from)
		s.no(err)
		if len(batch.Messages) > 0 {
			s.no(bridge.VerifyBatch(s.Verifier, s.Canister, batch, time.Now()))
		}
		for _, m := range batch.Messages {
			nonce, err := bridge.MessageNonce(m.Key)
			s.no(err)
			if nonce != from {
				s.Fatalf("nonce %d where %d is next", nonce, from)
			}
			from++
		}
		all = append(all, batch.Messages...)
		if batch.EndOfQueue {
			return all
		}
	}
}

// received decodes what is queued for one client and checks its sequence numbers.
func (s *suite) received(all []candid.OutputMessage, key candid.ClientKey) []candid.WebsocketMessage {
	s.Helper()
	var mine []candid.WebsocketMessage
	for _, m := range all {
		if m.ClientKey != key {
			continue
		}
		w, err := candid.DecodeWebsocketMessage(m.Content)
		s.no(err)
		if w.ClientKey != key {
			s.Fatalf("a message for %s has content for %s", key, w.ClientKey)
		}
		if w.SequenceNum != uint64(len(mine)+1) {
			s.Fatalf("sequence number %d, want %d", w.SequenceNum, len(mine)+1)
		}
		mine = append(mine, w)
	}
	return mine
}

func (s *suite) kinds(messages []candid.WebsocketMessage) []candid.ServiceKind {
	s.Helper()
	var kinds []candid.ServiceKind
	for _, m := range messages {
		if !m.IsServiceMessage {
			continue
		}
		service, err := candid.DecodeServiceMessage(m.Content)
		s.no(err)
		kinds = append(kinds, service.Kind)
	}
	return kinds
}

func (s *suite) wantKinds(key candid.ClientKey, want ...candid.ServiceKind) {
	s.Helper()
	if got := s.kinds(s.received(s.drain(0), key)); !slices.Equal(got, want) {
		s.Fatalf("service messages = %v, want %v", got, want)
	}
}

func (s *suite) openMessage() {
	c := s.client()
	c.open()
	messages := s.received(s.drain(0), c.key)
	if len(messages) != 1 || !messages[0].IsServiceMessage {
		s.Fatalf("messages = %+v, want one service message", messages)
	}
	service, err := candid.DecodeServiceMessage(messages[0].Content)
	s.no(err)
	if service.Kind != candid.OpenMessage || service.ClientKey != c.key {
		s.Fatalf("service message = %+v, want the open message of %s", service, c.key)
	}
}

func (s *suite) openTwice() {
	c := s.client()
	env := c.openEnvelope()
	s.no(s.Adapter.Open(s.ctx, env))
	s.no(s.Adapter.Open(s.ctx, env))
	s.wantKinds(c.key, candid.OpenMessage)
}

func (s *suite) openAgain() {
	c := s.client()
	c.open()
	s.refused(s.Adapter.Open(s.ctx, c.openEnvelope()))
}

func (s *suite) openAnonymous() {
	c := s.clientOf(ic.AnonymousIdentity{})
	s.refused(s.Adapter.Open(s.ctx, c.openEnvelope()))
}

func (s *suite) messages() {
	c := s.client()
	c.open()
	for n := range 10 {
		s.no(s.Adapter.Message(s.ctx, c.nextMessage(s.Content(n))))
	}
	s.wantKinds(c.key, candid.OpenMessage)
}

func (s *suite) messageTwice() {
	c := s.client()
	c.open()
	env := c.nextMessage(s.Content(0))
	s.no(s.Adapter.Message(s.ctx, env))
	s.no(s.Adapter.Message(s.ctx, env))
	// Delivered twice, the second would have had a sequence number of the past.
	s.no(s.Adapter.Message(s.ctx, c.nextMessage(s.Content(1))))
	s.wantKinds(c.key, candid.OpenMessage)
}

// window sends a whole window in the worst order: backwards. An adapter that
// is no Pipeliner promises only what the messages test has shown.
func (s *suite) window() {
	size := 1
	if p, ok := s.Adapter.(bridge.Pipeliner); ok {
		size, _ = p.Window()
	}
	c := s.client()
	c.open()
	envelopes := make([]bridge.Envelope, size)
	for n := range envelopes {
		envelopes[n] = c.nextMessage(s.Content(n))
	}
	var group sync.WaitGroup
	errs := make([]error, size)
	for n := size - 1; n >= 0; n-- {
		group.Go(func() { errs[n] = s.Adapter.Message(s.ctx, envelopes[n]) })
	}
	group.Wait()
	s.no(errors.Join(errs...))
	s.wantKinds(c.key, candid.OpenMessage)
}

func (s *suite) stranger() {
	s.refused(s.Adapter.Message(s.ctx, s.client().nextMessage(s.Content(0))))
}

func (s *suite) outOfSequence() {
	c := s.client()
	c.open()
	c.sequence = 1 << 32 // beyond every window
	s.refused(s.Adapter.Message(s.ctx, c.nextMessage(s.Content(0))))
	s.wantKinds(c.key, candid.OpenMessage, candid.CloseMessage)
}

func (s *suite) close() {
	c, other := s.client(), s.client()
	c.open()
	other.open()
	s.no(s.Adapter.Close(s.ctx, s.Canister, c.key))
	s.refused(s.Adapter.Message(s.ctx, c.nextMessage(s.Content(0))))
	s.no(s.Adapter.Close(s.ctx, s.Canister, c.key))
	s.no(s.Adapter.Close(s.ctx, s.Canister, s.client().key))
	s.no(s.Adapter.Message(s.ctx, other.nextMessage(s.Content(0))))
}

func (s *suite) poll() {
	for range 3 {
		s.client().open()
	}
	all := s.drain(0)
	if len(all) < 3 {
		s.Fatalf("%d messages after 3 opens", len(all))
	}
	again := s.drain(0)
	if len(again) != len(all) {
		s.Fatalf("%d messages at the second look, %d at the first", len(again), len(all))
	}
	for i := range all {
		if all[i].Key != again[i].Key || !bytes.Equal(all[i].Content, again[i].Content) {
			s.Fatalf("message %d changed between two looks", i)
		}
	}
	if rest := s.drain(2); len(rest) != len(all)-2 || rest[0].Key != all[2].Key {
		s.Fatalf("from nonce 2: %d messages, want %d", len(rest), len(all)-2)
	}
	if beyond := s.drain(uint64(len(all)) + 100); len(beyond) != 0 {
		s.Fatalf("%d messages from the future", len(beyond))
	}
}

func (s *suite) pollUnrelated() {
	s.client().open()
	batch, err := s.Unrelated.Poll(s.ctx, s.Canister, 0)
	s.no(err)
	if len(batch.Messages) != 0 || !batch.EndOfQueue {
		s.Fatalf("batch = %+v, want the end of an empty queue", batch)
	}
}

func (s *suite) concurrency() {
	const clients, each = 8, 5
	var group sync.WaitGroup
	list := make([]*client, clients)
	errs := make([]error, clients)
	for i := range list {
		c := s.client()
		list[i] = c
		open := c.openEnvelope()
		var messages []bridge.Envelope
		for n := range each {
			messages = append(messages, c.nextMessage(s.Content(i*each+n)))
		}
		group.Go(func() { errs[i] = s.converse(open, messages) })
	}
	group.Wait()
	s.no(errors.Join(errs...))
	for _, c := range list {
		s.wantKinds(c.key, candid.OpenMessage)
	}
}

// converse opens a client, sends its messages and polls after each. It runs
// beside the test's goroutine, where nothing may end the test.
func (s *suite) converse(open bridge.Envelope, messages []bridge.Envelope) error {
	if err := s.Adapter.Open(s.ctx, open); err != nil {
		return fmt.Errorf("open of %s: %w", open.Client, err)
	}
	for n, message := range messages {
		if err := s.Adapter.Message(s.ctx, message); err != nil {
			return fmt.Errorf("message %d of %s: %w", n, open.Client, err)
		}
		if _, err := s.Adapter.Poll(s.ctx, s.Canister, 0); err != nil {
			return fmt.Errorf("poll after message %d of %s: %w", n, open.Client, err)
		}
	}
	return nil
}
