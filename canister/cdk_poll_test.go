package canister_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// someCounts are numbers of messages as the CDK's tests choose them, 1 to 99, with those at which something changes.
func someCounts(seed uint64) []int {
	r := rand.New(rand.NewPCG(seed, 3))
	counts := []int{1, 3, 4, 5, 6, cdkMaxMessages - 1, cdkMaxMessages, 99}
	for range 4 {
		counts = append(counts, 1+r.IntN(99))
	}
	return counts
}

// c_ws_get_messages test_1: whoever has no clients gets nothing, whatever is asked.
func TestCDKPollOfAStranger(t *testing.T) {
	w := newCDK(t, settings{})
	check := func() {
		t.Helper()
		for i, gateway := range someGateways(1, 10) {
			w.checkEmpty(gateway, 0)
			w.checkEmpty(gateway, uint64(1)<<(6*i))
			w.checkEmpty(gateway, math.MaxUint64)
		}
		w.checkEmpty(candid.Anonymous, 0)
	}
	check()
	w.open(client(1), 1, gateway1)
	w.sendTexts(client(1), 1, 3)
	check()
	w.checkEmpty(client(1), 0) // a client is not its gateway
}

// c_ws_get_messages test_2: a client that opens has one message.
func TestCDKPollFindsTheOpenMessage(t *testing.T) {
	for _, key := range someKeys(3, 10) {
		w := newCDK(t, settings{})
		w.open(key.Principal, key.Nonce, gateway1)
		got := w.poll(gateway1, 0)
		if len(got.Messages) != 1 || !got.EndOfQueue {
			t.Errorf("%s: %d messages, end of queue %v", key, len(got.Messages), got.EndOfQueue)
		}
		w.checkTexts(got.Messages, key, 1)
	}
}

// c_ws_get_messages test_3 and test_4: as many messages as a poll may have, from the nonce on, each certified.
func TestCDKPollRanges(t *testing.T) {
	for _, sent := range someCounts(1) {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			w := newCDK(t, settings{})
			c := w.open(client(1), 1, gateway1)
			w.sendTexts(client(1), 1, sent)
			count := sent + 1 // the open message
			for nonce := range count {
				got := w.poll(gateway1, uint64(nonce))
				if want := min(count-nonce, cdkMaxMessages); len(got.Messages) != want {
					t.Fatalf("from %d: %d messages, want %d", nonce, len(got.Messages), want)
				}
				if want := count-nonce <= cdkMaxMessages; got.EndOfQueue != want {
					t.Fatalf("from %d: end of queue %v", nonce, got.EndOfQueue)
				}
				w.checkTexts(got.Messages, c.key, uint64(nonce)+1)
			}
			for _, nonce := range []uint64{uint64(count), uint64(count) + 1, uint64(count) + cdkMaxMessages, 1 << 32, math.MaxUint64} {
				w.checkEmpty(gateway1, nonce)
			}
			// as a gateway reads
			var nonce uint64
			for nonce <= uint64(sent) {
				got := w.poll(gateway1, nonce)
				w.checkTexts(got.Messages, c.key, nonce+1)
				nonce = keyNonce(t, gateway1, got.Messages[len(got.Messages)-1].Key) + 1
			}
			if want := uint64(count); nonce != want {
				t.Errorf("the last poll ended at %d, want %d", nonce, want)
			}
		})
	}
}

// The CDK's unit tests of ranges: with another maximum.
func TestCDKPollMaximum(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 50, 1000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			w := newCDK(t, settings{maxMessages: uint64(limit)})
			w.open(client(1), 1, gateway1)
			count := min(2*limit, 60)
			w.sendTexts(client(1), 1, count-1)
			for nonce := range count + 1 {
				got := w.poll(gateway1, uint64(nonce))
				if want := min(count-nonce, limit); len(got.Messages) != want || got.EndOfQueue != (nonce+want == count) {
					t.Fatalf("from %d: %d messages, end of queue %v; want %d of %d", nonce, len(got.Messages), got.EndOfQueue, want, count)
				}
			}
		})
	}
}

// A message's key is the gateway's principal and the nonce in 20 digits; a gateway's nonces count from 0, whoever the
// messages are for, and each client's sequence numbers from 1.
func TestCDKKeysOfSeveralGateways(t *testing.T) {
	w := newCDK(t, settings{})
	gateways := someGateways(4, 5)
	keys := someKeys(4, 15)
	r := rand.New(rand.NewPCG(4, 4))
	queued := make(map[candid.Principal][]candid.ClientKey)
	for _, key := range keys {
		gateway := gateways[r.IntN(len(gateways))]
		w.open(key.Principal, key.Nonce, gateway)
		queued[gateway] = append(queued[gateway], key)
	}
	for _, gateway := range gateways {
		got := w.poll(gateway, 0)
		if len(got.Messages) != len(queued[gateway]) {
			t.Errorf("%d messages for %s, want %d", len(got.Messages), gateway, len(queued[gateway]))
			continue
		}
		for i, m := range got.Messages {
			if want := fmt.Sprintf("%s_%020d", gateway, i); m.Key != want {
				t.Errorf("key %s, want %s", m.Key, want)
			}
			if decoded := w.decodeMessage(m); m.ClientKey != queued[gateway][i] || decoded.ClientKey != m.ClientKey || decoded.SequenceNum != 1 {
				t.Errorf("message %d of %s is number %d for %s", i, gateway, decoded.SequenceNum, m.ClientKey)
			}
		}
	}
}

// A witness shows the messages of its poll and no others.
func TestCDKWitness(t *testing.T) {
	w := newCDK(t, settings{maxMessages: 5})
	w.open(client(1), 1, gateway1)
	w.open(client(2), 1, gateway2)
	w.sendTexts(client(1), 1, 20)
	for from := range uint64(17) {
		tree := w.witness(gateway1, from)
		if _, found := tree.LookupSubtree([]byte("websocket")); found != ic.Found {
			t.Fatalf("the label websocket: %v", found)
		}
		for nonce := range uint64(21) {
			_, found := tree.Lookup([]byte("websocket"), fmt.Appendf(nil, "%s_%020d", gateway1, nonce))
			if inside := nonce >= from && nonce < from+5; (found == ic.Found) != inside {
				t.Errorf("from %d: nonce %d is %v", from, nonce, found)
			}
			if _, found := tree.Lookup([]byte("websocket"), fmt.Appendf(nil, "%s_%020d", gateway2, nonce)); found == ic.Found {
				t.Errorf("from %d: shows message %d of another gateway", from, nonce)
			}
		}
	}
}

// c_ws_get_messages test_5: with each new message up to five go that are older than the acknowledgement interval; an
// acknowledgement is such a new message.
func TestCDKOldMessagesGo(t *testing.T) {
	for _, sent := range someCounts(2) {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			w := newCDK(t, settings{maxMessages: 1000})
			c := w.open(client(1), 1, gateway1)
			w.sendTexts(client(1), 1, sent)
			w.advance(cdkAckInterval + time.Millisecond)

			gone := min(sent+1, cdkDropsPerPush)
			got := w.poll(gateway1, 0)
			if want := sent + 1 - gone + 1; len(got.Messages) != want {
				t.Errorf("%d messages are left, want %d", len(got.Messages), want)
			}
			w.checkTexts(got.Messages, c.key, uint64(gone)+1)
			if s := w.service(got.Messages[len(got.Messages)-1]); s.Kind != candid.AckMessage {
				t.Errorf("the last message is a %s", s.Kind)
			}
			// what has gone is not certified any more, and a poll for it finds what is left
			tree := w.witness(gateway1, 0)
			for nonce := range gone {
				if _, found := tree.Lookup([]byte("websocket"), fmt.Appendf(nil, "%s_%020d", gateway1, nonce)); found == ic.Found {
					t.Errorf("message %d is still certified", nonce)
				}
			}
			// the next message takes the next five along
			w.open(client(2), 1, gateway1)
			gone = min(sent+1, 2*cdkDropsPerPush)
			if want := sent + 1 - gone + 2; len(w.poll(gateway1, 0).Messages) != want {
				t.Errorf("%d messages are left after one more, want %d", len(w.poll(gateway1, 0).Messages), want)
			}
		})
	}
}

// A message is old when it is older than the interval, to the nanosecond; the clean-up of one gateway's queue leaves
// the others alone.
func TestCDKAgeOfOldMessages(t *testing.T) {
	w := newCDK(t, settings{})
	w.advance(time.Second) // so that no acknowledgement comes at the wrong moment
	c := w.open(client(1), 1, gateway1)
	w.open(client(2), 1, gateway2)
	w.advance(cdkAckInterval - time.Second) // the acknowledgements, and all queues have two messages
	c.keepAlive()
	w.advance(time.Second)
	w.open(client(3), 1, gateway1)
	w.checkCount(gateway1, 3) // exactly as old as the interval
	w.advance(time.Nanosecond)
	w.open(client(4), 1, gateway1)
	w.checkCount(gateway1, 3) // and now older: the open message went
	w.checkCount(gateway2, 2)
}

// c_ws_get_messages test_6: the messages of a gateway without clients can be polled until the first look at keep-alives
// that comes more than an interval after the last client went.
func TestCDKEmptyGatewayStays(t *testing.T) {
	const sent = 10
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.sendTexts(client(1), 1, sent)
	w.checkCount(gateway1, sent+1)
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	w.checkCount(gateway1, sent+1)
	w.advance(cdkAckInterval)
	w.checkCount(gateway1, sent+1)
	w.advance(cdkKeepAlive)
	w.checkEmpty(gateway1, 0)
	if got, want := w.tryClose(gateway1, c.key), "Gateway with principal "+gateway1.String()+" is not registered"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// c_ws_get_messages test_7: the same when the last client goes just after the acknowledgements.
func TestCDKEmptyGatewayStaysForAnInterval(t *testing.T) {
	const sent = 10
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.sendTexts(client(1), 1, sent)
	w.checkCount(gateway1, sent+1)
	w.advance(cdkAckInterval)
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	w.checkCount(gateway1, sent+2) // the acknowledgement
	w.advance(cdkKeepAlive)
	w.checkCount(gateway1, sent+2)
	w.advance(cdkAckInterval - cdkKeepAlive)
	w.checkCount(gateway1, sent+2)
	w.advance(cdkKeepAlive)
	w.checkEmpty(gateway1, 0)
}

// A gateway that gets a client before its time has come stays.
func TestCDKEmptyGatewayIsTakenAgain(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	if got := w.tryClose(gateway1, c.key); got != "" {
		t.Fatal(got)
	}
	w.advance(cdkAckInterval)
	w.open(client(2), 1, gateway1)
	w.advance(cdkKeepAlive)
	w.checkCount(gateway1, 2)
}
