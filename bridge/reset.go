package bridge

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// A canister can forget its clients and queues and count nonces from 0 again:
// an upgrade or reinstall does that to a canister with the CDK, and the CDK
// itself does it to a gateway that had no clients for a while. Reading on at
// the old nonce would then skip messages, or wait for ever. So whenever there
// is a reason to doubt, the poller looks at the last message that it knows.
//
// A certificate proves what a canister's queue holds, and its time orders two
// answers; that something is not there, a single replica can only claim. The
// sessions that live on the old state are told to reconnect only when another
// message has taken the place of a known one, or when the known one was missing
// several times, for a while.

// position is how far a canister's queue was read.
type position struct {
	next uint64    // nonce of the next message
	last [32]byte  // sha256 of the content of message next-1
	time time.Time // of the certificate that covered it

	sure    uint64    // next, when doubts were last settled there
	settled time.Time // when a message came, or doubts were settled
	missing int       // how often the last message was missing, in a row
	since   time.Time // the first of these
}

// advance notes a batch that was delivered.
func (p *position) advance(batch *checkedBatch) {
	last := &batch.Messages[len(batch.Messages)-1]
	p.next = mustNonce(last.Key) + 1
	p.last = sha256.Sum256(last.Content)
	p.time = batch.time
	p.settled = time.Now()
}

// isSure reports whether a restart of the canister's queue is out of the question.
func (p *position) isSure() bool { return p.next == 0 || p.sure == p.next }

const (
	// greetingPatience is how long an open session may be without its first
	// message before that is a reason to doubt.
	greetingPatience = 2 * time.Second
	// quietPatience is how long no message may come before that is one.
	quietPatience = time.Minute
	// missingPatience and missingTimes: for how long, and how often at least, the
	// last message must be missing to be taken as forgotten.
	missingPatience = 2 * time.Second
	missingTimes    = 3
	// laggingPatience is how far a replica may be behind what has raised a doubt.
	laggingPatience = 2 * time.Second
)

// doubtWhenQuiet begins to doubt when messages that ought to come do not.
func (h *hub) doubtWhenQuiet() {
	if h.queue.next == 0 {
		return
	}
	if h.waitsForGreeting(greetingPatience) || time.Since(h.queue.settled) > quietPatience {
		h.mayHaveReset()
	}
}

// missesGreeting reports whether a client's first message in the batch is not
// the one that a connection begins with.
func (h *hub) missesGreeting(batch *checkedBatch) bool {
	greeted := make(map[candid.ClientKey]bool)
	for i := range batch.Messages {
		key := batch.Messages[i].ClientKey
		if greeted[key] || !h.isNew(key) {
			continue
		}
		if !batch.greets[i] {
			return true
		}
		greeted[key] = true
	}
	return false
}

// settle looks at the last known message. It reports whether reading can go
// on: where it stopped, or from the beginning if the canister has forgotten.
func (h *hub) settle(ctx context.Context) (settled bool, err error) {
	doubted := h.doubted.Load()
	if h.queue.next == 0 {
		h.certain(doubted)
		return true, nil
	}
	batch, err := h.fetch(ctx, h.queue.next-1)
	if err != nil {
		return false, err
	}
	if len(batch.Messages) > 0 {
		first := &batch.Messages[0]
		switch {
		case mustNonce(first.Key) >= h.queue.next, sha256.Sum256(first.Content) == h.queue.last:
			h.stillThere(doubted, batch.time)
			return true, nil
		case batch.time.Before(h.queue.time):
			return false, nil // a replica that is behind
		}
		h.reset(doubted, "another message has the nonce of a known one")
		return true, nil
	}
	if !h.hasGreeted() {
		h.reset(doubted, "") // nobody minds reading from the beginning
		return true, nil
	}
	return h.settleMissing(ctx, doubted)
}

// settleMissing deals with a queue that ends before the last known message.
func (h *hub) settleMissing(ctx context.Context, doubted int64) (settled bool, err error) {
	batch, err := h.fetch(ctx, 0)
	if err != nil {
		return false, err
	}
	if n := len(batch.Messages); n > 0 {
		if batch.time.Before(h.queue.time) {
			return false, nil
		}
		if !batch.EndOfQueue || mustNonce(batch.Messages[n-1].Key)+1 >= h.queue.next {
			h.stillThere(doubted, batch.time)
			return true, nil
		}
	}
	if h.queue.missing == 0 {
		h.queue.since = time.Now()
	}
	h.queue.missing++
	if h.queue.missing < missingTimes || time.Since(h.queue.since) < missingPatience {
		return false, nil
	}
	h.reset(doubted, "the known messages are gone")
	return true, nil
}

// stillThere ends a doubt when an answer of that time has shown the last known
// message. A replica that is behind shows it, too: until one has caught up with what
// raised the doubt, reading goes on, and each poll asks again.
func (h *hub) stillThere(doubted int64, shown time.Time) {
	if at := time.Unix(0, doubted); !shown.Before(at) || time.Since(at) >= laggingPatience {
		h.certain(doubted)
	}
	h.queue.sure, h.queue.missing = h.queue.next, 0
}

// certain ends a doubt, unless there is a new one: the queue is the one that was
// read so far.
func (h *hub) certain(doubted int64) {
	h.doubted.CompareAndSwap(doubted, 0)
	h.queue.sure = h.queue.next
	h.queue.settled = time.Now()
	h.queue.missing = 0
}

// reset begins a new queue.
func (h *hub) reset(doubted int64, why string) {
	if h.hasGreeted() {
		h.log.Warn("the canister has forgotten its clients (upgrade or reinstall); they are told to reconnect", "why", why, "next_nonce", h.queue.next)
		h.endGreeted(CloseReason{CloseCanisterReset, "the canister was upgraded or reinstalled and has forgotten this connection; reconnect"})
	}
	h.queue = position{}
	h.certain(doubted)
	h.confirm()
}
