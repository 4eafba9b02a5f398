package localnet

import (
	"container/heap"
	"errors"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// Limits of what is remembered about calls.
const (
	// replyRetention is how long an answered call keeps its reply when there is
	// room (interface specification, "Asynchronous canister calling").
	replyRetention = 5 * time.Minute
	// maxRequests bounds the calls that are remembered. A call is remembered at
	// least until its expiry, so that a replay is not executed again; beyond the
	// bound new calls are refused as by an overloaded replica.
	maxRequests = 400_000
	// maxReplyBytes bounds the replies that are kept. Beyond it the oldest
	// answered calls become "done", without their reply.
	maxReplyBytes = 128 << 20
	// sweepStep is how many calls a sweep forgets while others wait, some 10 us each.
	sweepStep = 256
	// requestOverhead is counted for every reply besides its bytes.
	requestOverhead = 1 << 10
)

// errBusy reports that the bound on remembered calls is reached.
var errBusy = errors.New("too many calls are remembered")

// request is what is known about one call.
type request struct {
	id        [32]byte
	sender    candid.Principal
	canister  candid.Principal
	expiry    time.Time
	settled   chan struct{} // closed when the call has been answered or refused
	refusal   error         // why it was not accepted; set before settled is closed
	answered  bool          // guarded by requests.mu, as the fields below
	settledAt time.Time
	size      int64
	done      bool
}

// requests remembers calls and their status, and holds the request_status part
// of the state tree. It never waits for anything but its own mutex.
type requests struct {
	mu      sync.Mutex
	now     func() time.Time
	byID    map[[32]byte]*request
	tree    labelMap
	version uint64     // changes with tree
	total   uint64     // calls ever answered
	kept    []*request // answered, with their reply, oldest first
	keptLen int64      // bytes of those replies
	spent   expiryHeap // done: nothing but a protection against replays
	limit   int
	budget  int64
}

func newRequests(now func() time.Time) *requests {
	return &requests{now: now, byID: make(map[[32]byte]*request), limit: maxRequests, budget: maxReplyBytes}
}

// begin remembers a call before it is given to the machine. If the call is
// known already, begin returns what is known and false.
func (s *requests) begin(id [32]byte, sender, canister candid.Principal, expiry time.Time) (*request, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byID[id]; known != nil {
		return known, false, nil
	}
	if len(s.byID) >= s.limit {
		s.sweepSome()
		for len(s.kept) > 0 && len(s.byID) >= s.limit && s.kept[0].expiry.Before(s.now()) {
			s.retireOldest()
		}
		if len(s.byID) >= s.limit {
			return nil, false, errBusy
		}
	}
	r := &request{id: id, sender: sender, canister: canister, expiry: expiry, settled: make(chan struct{})}
	s.byID[id] = r
	return r, true, nil
}

// accept shows the call as received unless it has been answered meanwhile.
func (s *requests) accept(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.answered {
		s.setTree(r, receivedTree)
	}
}

// refuse forgets a call that the machine did not accept. Everybody who waits for it gets err.
func (s *requests) refuse(r *request, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, r.id)
	r.refusal = err
	close(r.settled)
}

// settle records the answer to a call. The machine calls it exactly once for an accepted call.
func (s *requests) settle(r *request, result execution.Result) {
	tree := resultTree(result) // hashes the reply: outside the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.answered {
		return
	}
	r.answered = true
	s.total++
	r.settledAt = s.now()
	r.size = requestOverhead + int64(len(result.Reply))
	if result.Reject != nil {
		r.size += int64(len(result.Reject.Text))
	}
	s.setTree(r, tree)
	s.kept = append(s.kept, r)
	s.keptLen += r.size
	for s.keptLen > s.budget && len(s.kept) > 1 { // never the newest: somebody waits for it
		s.retireOldest()
	}
	close(r.settled)
}

// lookup returns the call with an id, or nil.
func (s *requests) lookup(id [32]byte) *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// requestView is the request_status part of the state at one moment.
type requestView struct {
	tree    labelMap
	version uint64
	total   uint64
}

// view returns the present request_status tree.
func (s *requests) view() requestView {
	s.mu.Lock()
	defer s.mu.Unlock()
	return requestView{s.tree, s.version, s.total}
}

// sweep forgets what is old enough, in small steps, so that nobody waits long for the mutex.
func (s *requests) sweep() {
	for more := true; more; {
		s.mu.Lock()
		more = s.sweepSome()
		s.mu.Unlock()
	}
}

// sweepSome does a bounded part of a sweep and reports whether there is more to do.
func (s *requests) sweepSome() (more bool) {
	now := s.now()
	for range sweepStep {
		switch {
		case len(s.kept) > 0 && now.Sub(s.kept[0].settledAt) >= replyRetention:
			s.retireOldest()
		case len(s.spent) > 0 && s.spent[0].expiry.Before(now):
			s.forget(heap.Pop(&s.spent).(*request)) //nolint:forcetypeassert // the heap holds nothing else
		default:
			return false
		}
	}
	return true
}

// retireOldest drops the reply of the call that was answered longest ago, and
// forgets the call when a replay of it would be refused as expired anyway.
func (s *requests) retireOldest() {
	r := s.kept[0]
	s.kept[0] = nil
	s.kept = s.kept[1:]
	s.keptLen -= r.size
	if r.expiry.Before(s.now()) {
		s.forget(r)
		return
	}
	r.done = true
	s.setTree(r, doneTree)
	heap.Push(&s.spent, r)
}

func (s *requests) forget(r *request) {
	delete(s.byID, r.id)
	s.tree = s.tree.remove(r.id[:])
	s.version++
}

func (s *requests) setTree(r *request, tree subtree) {
	s.tree = s.tree.set(r.id[:], tree)
	s.version++
}

// expiryHeap has the call that expires first on top.
type expiryHeap []*request

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expiry.Before(h[j].expiry) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(*request)) } //nolint:forcetypeassert // only requests are pushed
func (h *expiryHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return r
}

// The subtrees of a call's status (interface specification, "Request status").
var (
	receivedTree = statusTree("received")
	repliedTree  = statusTree("replied")
	doneTree     = statusTree("done")
)

func statusTree(status string) *ic.HashTree {
	return ic.Labeled([]byte("status"), ic.Leaf([]byte(status)))
}

// A reply stands for the subtree of a call that has one. There are hundreds of
// thousands of them, and nearly all are shown once: kept as trees, they would be
// most of what the garbage collector has to look through.
type reply struct {
	digest  [32]byte
	content []byte
}

func newReply(content []byte) *reply {
	r := &reply{content: content}
	r.digest = r.tree().Digest()
	return r
}

// Digest is that of the tree.
func (r *reply) Digest() [32]byte { return r.digest }

func (r *reply) tree() *ic.HashTree {
	return ic.Fork(ic.Labeled([]byte("reply"), ic.Leaf(r.content)), repliedTree)
}

func resultTree(result execution.Result) subtree {
	if result.Reject == nil {
		return newReply(result.Reply)
	}
	rej := result.Reject
	return ic.Fork(
		ic.Fork(
			ic.Labeled([]byte("error_code"), ic.Leaf([]byte(errorCode(rej)))),
			ic.Labeled([]byte("reject_code"), ic.Leaf(ic.EncodeLEB128(rejectCode(rej))))),
		ic.Fork(
			ic.Labeled([]byte("reject_message"), ic.Leaf([]byte(rejectText(rej)))),
			statusTree("rejected")))
}
