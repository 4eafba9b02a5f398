package canister_test

import (
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// g_messages_acknowledgement test_1: an acknowledgement says how many messages came.
func TestCDKAcknowledgement(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.checkEmpty(gateway1, 1)
	c.send(candid.EncodeText("x"))
	w.advance(cdkAckInterval)
	c.checkAck(1, 1, 2)
}

// g_messages_acknowledgement test_2: a client that does not answer an acknowledgement is told, and removed.
func TestCDKKeepAliveTimeout(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.advance(cdkAckInterval)
	c.checkAck(1, 0, 2)
	w.advance(cdkKeepAlive)
	got := w.poll(gateway1, 1).Messages
	if len(got) != 2 {
		t.Fatalf("%d messages behind the open message", len(got))
	}
	w.checkClosed(got[1], candid.KeepAliveTimeout)
	c.checkGone()
	want := "Client with principal " + client(1).String() + " doesn't have an open connection"
	if got := w.tryMessage(client(1), serviceMessage(c.key, 1, keepAliveContent)); got != want {
		t.Errorf("a keep-alive that comes too late: got %q, want %q", got, want)
	}
}

// g_messages_acknowledgement test_3: a client that answers stays, and its answer counts as a message.
func TestCDKKeepAlive(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.advance(cdkAckInterval)
	c.checkAck(1, 0, 2)
	w.advance(time.Second)
	c.keepAlive()
	w.advance(cdkKeepAlive - time.Second)
	c.send(candid.EncodeText("x"))
	w.advance(cdkAckInterval - cdkKeepAlive)
	c.checkAck(2, 2, 3)
}

// g_messages_acknowledgement test_4: a client that comes between an acknowledgement and the look at the answers was
// not asked, and stays.
func TestCDKOpenWhileOthersAreAsked(t *testing.T) {
	w := newCDK(t, settings{})
	w.advance(cdkAckInterval)
	c := w.open(client(1), 1, gateway1)
	w.checkEmpty(gateway1, 1)
	c.send(candid.EncodeText("x"))
	w.advance(cdkKeepAlive)
	w.advance(cdkAckInterval - cdkKeepAlive)
	c.checkAck(1, 1, 2)
}

// Only a keep-alive is a sign of life: other messages are not.
func TestCDKMessagesAreNoKeepAlives(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.advance(cdkAckInterval)
	for range 5 {
		w.advance(10 * time.Second)
		c.send(candid.EncodeText("x"))
	}
	refused := serviceMessage(c.key, 6, candid.EncodeServiceMessage(candid.ServiceMessage{Kind: candid.AckMessage}))
	if got, want := w.tryMessage(client(1), refused), "Invalid service message"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.advance(10 * time.Second)
	c.checkGone()
}

// An answer that comes in the very last moment is one, and so is a keep-alive that nobody asked for, if it is young
// enough when the answers are looked at.
func TestCDKKeepAliveInTime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		at    time.Duration // after the opening
		stays bool
	}{
		{"a nanosecond too early", cdkAckInterval - time.Nanosecond, false},
		{"with the acknowledgement", cdkAckInterval, true},
		{"in the last moment", cdkAckInterval + cdkKeepAlive - time.Nanosecond, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newCDK(t, settings{})
			c := w.open(client(1), 1, gateway1)
			w.advance(tc.at)
			c.keepAlive()
			w.advance(cdkAckInterval - tc.at)
			w.advance(cdkAckInterval + cdkKeepAlive - max(tc.at, cdkAckInterval))
			if !tc.stays {
				c.checkGone()
				return
			}
			c.keepAlive()
		})
	}
}

// The CDK asks and counts from the question on. Here a new configuration must not shorten that.
func TestCDKKeepAliveTimeoutCountsFromTheQuestion(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	w.advance(cdkAckInterval - 30*time.Second)
	s := settings{calls: []method{{w.target, "put"}}}
	if got := w.refusal(w.call(admin, w.relay, "relay_configure", s.argument(t))); got != "" {
		t.Fatal(got)
	}
	w.advance(30 * time.Second)
	c.checkAck(1, 0, 2)
	w.advance(40 * time.Second)
	c.keepAlive() // 40 of 60 seconds after the question
	w.advance(20 * time.Second)
	w.checkEmpty(gateway1, 2)
	c.keepAlive()
}

// The intervals of the CDK's constructor: the acknowledgement must come later than its answer may.
func TestCDKIntervals(t *testing.T) {
	for _, tc := range []struct {
		name      string
		ackMs     uint64
		keepAlive uint64
		want      string
	}{
		{"defaults", 0, 0, ""},
		{"twice the timeout", 120_000, 60_000, ""},
		{"a millisecond more than the timeout", 60_001, 60_000, ""},
		{"equal", 60_000, 60_000, "ack_interval_ms must be greater than keep_alive_timeout_ms"},
		{"less", 59_000, 60_000, "ack_interval_ms must be greater than keep_alive_timeout_ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newCDK(t, settings{})
			s := settings{ackMs: tc.ackMs, keepAliveMs: tc.keepAlive}
			if got := w.refusal(w.call(controller, w.relay, "relay_configure", s.argument(t))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
