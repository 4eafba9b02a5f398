package echo

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

// message is one message to a client. It never changes.
type message struct {
	client  candid.ClientKey
	nonce   uint64 // counts the messages for one gateway
	time    uint64
	hash    [sha256.Size]byte
	content []byte // CBOR
}

// messageOverhead is about what a message takes in memory beside its content.
const messageOverhead = 600

func (m *message) size() int { return messageOverhead + len(m.content) }

// queue is what one gateway can poll. It never changes.
type queue struct {
	gateway candid.Principal
	prefix  string // of the keys
	tree    *node
	next    uint64 // nonce
	bytes   int
}

func newQueue(gateway candid.Principal) *queue {
	return &queue{gateway: gateway, prefix: gateway.String() + "_"}
}

// add returns the queue with one message more.
func (q *queue) add(client candid.ClientKey, time uint64, content []byte) *queue {
	m := &message{client: client, nonce: q.next, time: time, hash: sha256.Sum256(content), content: content}
	key := newKeyMaker(q)
	next := *q
	next.tree = q.tree.add(newLeaf(key.make(m.nonce), m))
	next.next++
	next.bytes += m.size()
	return &next
}

// drop returns the queue without messages at its front: at most limit of them,
// as long as drop says so.
func (q *queue) drop(limit int, drop func(*message) bool) *queue {
	if limit == 0 || q.tree == nil {
		return q
	}
	nonce, size := q.tree.first, 0
	q.tree.walk(nonce, func(m *message) bool {
		if !drop(m) {
			return false
		}
		nonce, size = m.nonce+1, size+m.size()
		limit--
		return limit != 0
	})
	if size == 0 {
		return q
	}
	rest := *q
	rest.tree = q.tree.from(nonce)
	rest.bytes -= size
	return &rest
}

// batch lists the messages that a poll from a nonce on gets.
func (q *queue) batch(nonce uint64, maxMessages, maxBytes int) (messages []*message, end bool) {
	size := 0
	end = q.tree.walk(nonce, func(m *message) bool {
		if len(messages) == maxMessages || len(messages) > 0 && size+len(m.content) > maxBytes {
			return false
		}
		size += len(m.content)
		messages = append(messages, m)
		return true
	})
	return messages, end
}

// keyMaker makes the keys of one queue's messages: the gateway's principal, and
// the nonce in 20 digits, so that keys of more messages sort as their nonces do.
type keyMaker struct{ buf []byte }

const nonceDigits = 20

func newKeyMaker(q *queue) *keyMaker {
	buf := make([]byte, len(q.prefix)+nonceDigits)
	copy(buf, q.prefix)
	return &keyMaker{buf}
}

// make returns a key, which the next call of make overwrites.
func (k *keyMaker) make(nonce uint64) []byte {
	for i := range nonceDigits {
		k.buf[len(k.buf)-1-i] = byte('0' + nonce%10)
		nonce /= 10
	}
	return k.buf
}

// snapshot is all that polls read. It never changes.
type snapshot struct {
	queues []*queue // in the order of their prefixes, which is that of all keys
	root   [sha256.Size]byte
}

// label is what the CDK puts over its tree.
const label = "websocket"

func newSnapshot(queues []*queue) *snapshot {
	return &snapshot{queues, labelDigest(label, digestOf(queues))}
}

// queue returns a gateway's queue, nil if the gateway is not registered.
func (s *snapshot) queue(gateway candid.Principal) *queue {
	for _, q := range s.queues {
		if q.gateway == gateway {
			return q
		}
	}
	return nil
}

// digestOf is the hash of the balanced tree over the queues' trees.
func digestOf(queues []*queue) [sha256.Size]byte {
	switch len(queues) {
	case 0:
		return emptyDigest
	case 1:
		return queues[0].tree.hash()
	}
	half := len(queues) / 2
	return forkDigest(digestOf(queues[:half]), digestOf(queues[half:]))
}

// witness is the tree with the messages of one queue from first to last, and
// hashes of all others.
func (s *snapshot) witness(q *queue, first, last uint64) []byte {
	b := make([]byte, 0, 64+int(last-first+1)*(len(q.prefix)+nonceDigits+48)+2048) //nolint:gosec // as many as are in a batch
	b = cbor.AppendSelfDescribe(b)
	b = append(b, 0x83, 2) // labeled
	b = cbor.AppendBytes(b, label)
	return appendWitness(b, s.queues, q, first, last)
}

func appendWitness(b []byte, queues []*queue, q *queue, first, last uint64) []byte {
	switch {
	case !slices.Contains(queues, q):
		return appendPruned(b, digestOf(queues))
	case len(queues) == 1:
		return q.tree.appendWitness(b, newKeyMaker(q), first, last)
	}
	half := len(queues) / 2
	b = append(b, 0x83, 1) // fork
	b = appendWitness(b, queues[:half], q, first, last)
	return appendWitness(b, queues[half:], q, first, last)
}

// encode is the answer to a poll.
func (s *snapshot) encode(q *queue, messages []*message, end bool, certificate []byte) []byte {
	key := newKeyMaker(q)
	batch := candid.OutputMessages{
		Messages:   make([]candid.OutputMessage, len(messages)),
		Cert:       certificate,
		Tree:       s.witness(q, messages[0].nonce, messages[len(messages)-1].nonce),
		EndOfQueue: end,
	}
	for i, m := range messages {
		batch.Messages[i] = candid.OutputMessage{ClientKey: m.client, Key: string(key.make(m.nonce)), Content: m.content}
	}
	return candid.EncodeOutputMessages(batch)
}

// covers reports whether a canister with these certified data has this snapshot.
func (s *snapshot) covers(certified []byte) bool { return bytes.Equal(s.root[:], certified) }
