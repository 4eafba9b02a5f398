package localnet

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/icrelay/icrelay/localnet/execution"
)

func TestRequestRetention(t *testing.T) {
	c := &clock{}
	s := newRequests(c.now)
	start := c.now()
	begin := func(i byte, ttl time.Duration) *request {
		t.Helper()
		r, first, err := s.begin([32]byte{i}, "sender", testCanister, start.Add(ttl))
		if err != nil || !first {
			t.Fatalf("begin %d: first %v, %v", i, first, err)
		}
		s.accept(r)
		return r
	}
	status := func(i byte) string {
		id := [32]byte{i}
		sub := s.tree.get(id[:])
		if sub == nil {
			return ""
		}
		v, _ := sub.Lookup([]byte("status"))
		return string(v)
	}
	expect := func(i byte, want string) {
		t.Helper()
		if got := status(i); got != want {
			t.Errorf("request %d is %q, not %q", i, got, want)
		}
	}
	short, long, running := begin(1, time.Minute), begin(2, 20*time.Minute), begin(3, time.Minute)
	expect(1, "received")
	s.settle(short, execution.Result{Reply: []byte("x")})
	s.settle(long, execution.Result{Reject: &execution.Reject{Code: 5, Text: "y"}})
	s.settle(long, execution.Result{Reply: []byte("a second answer")})
	expect(1, "replied")
	expect(2, "rejected")
	c.advance(4 * time.Minute)
	s.sweep()
	expect(1, "replied") // its expiry is over, but its caller may still be polling
	c.advance(2 * time.Minute)
	s.sweep()
	expect(1, "")
	expect(2, "done")
	expect(3, "received") // runs as long as it runs
	if s.lookup([32]byte{1}) != nil || s.lookup([32]byte{2}) == nil {
		t.Error("the index does not agree with the tree")
	}
	c.advance(20 * time.Minute)
	s.sweep()
	expect(2, "")
	s.settle(running, execution.Result{})
	expect(3, "replied")
	c.advance(6 * time.Minute)
	s.sweep()
	if s.tree.size != 0 || len(s.byID) != 0 || s.keptLen != 0 || len(s.kept) != 0 || len(s.spent) != 0 {
		t.Errorf("left: %+v", s)
	}
}

func TestRequestBounds(t *testing.T) {
	c := &clock{}
	s := newRequests(c.now)
	s.limit, s.budget = 10, 3*requestOverhead
	add := func(i uint32, ttl time.Duration) (*request, error) {
		var id [32]byte
		binary.BigEndian.PutUint32(id[:], i)
		r, _, err := s.begin(id, "sender", testCanister, c.now().Add(ttl))
		return r, err
	}
	for i := range uint32(10) {
		r, err := add(i, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		s.settle(r, execution.Result{})
	}
	if len(s.kept) != 3 || len(s.spent) != 7 || s.keptLen != 3*requestOverhead {
		t.Errorf("%d kept, %d done, %d bytes", len(s.kept), len(s.spent), s.keptLen)
	}
	if _, err := add(100, time.Minute); err == nil {
		t.Error("no limit on the number")
	}
	c.advance(2 * time.Minute) // expired: even what would be kept for pollers makes room
	if _, err := add(100, time.Minute); err != nil {
		t.Error(err)
	}
	if len(s.byID) > 10 || s.tree.size > 10 {
		t.Errorf("%d remembered", len(s.byID))
	}
	big, err := add(101, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.settle(big, execution.Result{Reply: make([]byte, 1<<20)})
	if big.done {
		t.Error("the newest reply was dropped before anybody could read it")
	}
}
