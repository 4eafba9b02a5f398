package echo

import (
	"crypto/sha256"
	"math/bits"

	"github.com/icrelay/icrelay/candid/cbor"
)

// node is a hash tree over messages with consecutive nonces (interface
// specification, "Certificate"): a fork, or a label with a leaf below it. Nodes
// never change. A tree is as a crit-bit tree over the nonces would be, so its
// depth is logarithmic wherever the range starts, and a message more or fewer
// makes as many new nodes as the tree is deep. nil is the empty tree.
type node struct {
	digest      [sha256.Size]byte
	first, last uint64 // nonces, both included
	left, right *node  // fork
	message     *message
}

// Domain separators of the digests, each with its length in front.
const (
	sepEmpty   = "\x11ic-hashtree-empty"
	sepFork    = "\x10ic-hashtree-fork"
	sepLabeled = "\x13ic-hashtree-labeled"
	sepLeaf    = "\x10ic-hashtree-leaf"
)

var emptyDigest = sha256.Sum256([]byte(sepEmpty))

// newLeaf is the tree of one message, whose key is its label and whose
// content's hash is the value.
func newLeaf(key []byte, m *message) *node {
	var buf [256]byte
	b := append(append(buf[:0], sepLeaf...), m.hash[:]...)
	value := sha256.Sum256(b)
	b = append(append(append(buf[:0], sepLabeled...), key...), value[:]...)
	return &node{digest: sha256.Sum256(b), first: m.nonce, last: m.nonce, message: m}
}

func newFork(left, right *node) *node {
	return &node{digest: forkDigest(left.digest, right.digest), first: left.first, last: right.last, left: left, right: right}
}

func forkDigest(left, right [sha256.Size]byte) [sha256.Size]byte {
	var buf [len(sepFork) + 2*sha256.Size]byte
	copy(buf[:], sepFork)
	copy(buf[len(sepFork):], left[:])
	copy(buf[len(sepFork)+sha256.Size:], right[:])
	return sha256.Sum256(buf[:])
}

func labelDigest(label string, below [sha256.Size]byte) [sha256.Size]byte {
	b := make([]byte, 0, 64)
	return sha256.Sum256(append(append(append(b, sepLabeled...), label...), below[:]...))
}

func (n *node) hash() [sha256.Size]byte {
	if n == nil {
		return emptyDigest
	}
	return n.digest
}

// add returns the tree with a leaf whose nonce is the next one.
func (n *node) add(leaf *node) *node {
	switch {
	case n == nil:
		return leaf
	case n.left == nil, bits.Len64(n.first^leaf.first) > bits.Len64(n.first^n.last):
		return newFork(n, leaf) // they differ in a higher bit than all in n do
	}
	return newFork(n.left, n.right.add(leaf))
}

// from returns the tree without what comes before a nonce.
func (n *node) from(nonce uint64) *node {
	switch {
	case n == nil || n.last < nonce:
		return nil
	case n.first >= nonce:
		return n
	}
	if left := n.left.from(nonce); left != nil {
		return newFork(left, n.right)
	}
	return n.right.from(nonce)
}

// walk calls f for the messages from a nonce on, in order, until f returns false.
func (n *node) walk(nonce uint64, f func(*message) bool) bool {
	switch {
	case n == nil || n.last < nonce:
		return true
	case n.message != nil:
		return f(n.message)
	}
	return n.left.walk(nonce, f) && n.right.walk(nonce, f)
}

// appendWitness appends the CBOR of the tree that shows the messages from first
// to last and only hashes of the others.
func (n *node) appendWitness(b []byte, key *keyMaker, first, last uint64) []byte {
	switch {
	case n.last < first || n.first > last:
		return appendPruned(b, n.digest)
	case n.message != nil:
		b = append(b, 0x83, 2) // labeled
		b = cbor.AppendBytes(b, key.make(n.first))
		b = append(b, 0x82, 3) // leaf
		return cbor.AppendBytes(b, n.message.hash[:])
	}
	b = append(b, 0x83, 1) // fork
	return n.right.appendWitness(n.left.appendWitness(b, key, first, last), key, first, last)
}

func appendPruned(b []byte, digest [sha256.Size]byte) []byte {
	return cbor.AppendBytes(append(b, 0x82, 4), digest[:])
}
