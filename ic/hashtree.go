package ic

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
)

// nodeKind is the number that starts a node in its CBOR form.
type nodeKind uint8

const (
	kindEmpty nodeKind = iota
	kindFork
	kindLabeled
	kindLeaf
	kindPruned
)

// HashTree is a node of a hash tree and everything below it (interface
// specification, "Certificate"). Trees are immutable: subtrees may be shared
// between trees and between goroutines. Each node knows its digest.
type HashTree struct {
	digest      [sha256.Size]byte
	data        []byte    // label or leaf
	left, right *HashTree // of a labeled node only left
	first       *HashTree // of a fork: its leftmost labeled node, nil if there is none
	leads       bool      // of a fork: nothing stands to the left of first
	kind        nodeKind
}

// Domain separators of the digests, each with its length in front.
const (
	sepEmpty   = "\x11ic-hashtree-empty"
	sepFork    = "\x10ic-hashtree-fork"
	sepLabeled = "\x13ic-hashtree-labeled"
	sepLeaf    = "\x10ic-hashtree-leaf"
)

var emptyTree = &HashTree{kind: kindEmpty, digest: sha256.Sum256([]byte(sepEmpty))}

// Empty is the tree without content.
func Empty() *HashTree { return emptyTree }

// Fork joins two trees. All labels of left must be smaller than those of right.
func Fork(left, right *HashTree) *HashTree { return new(HashTree).fork(left, right) }

func (t *HashTree) fork(left, right *HashTree) *HashTree {
	var buf [len(sepFork) + 2*sha256.Size]byte
	b := append(append(append(buf[:0], sepFork...), left.digest[:]...), right.digest[:]...)
	return t.forkOf(left, right, sha256.Sum256(b))
}

// forkOf is for a digest that is known.
func (t *HashTree) forkOf(left, right *HashTree, digest [sha256.Size]byte) *HashTree {
	*t = HashTree{
		kind: kindFork, left: left, right: right, digest: digest,
		first: cmp.Or(left.firstLabeled(), right.firstLabeled()),
		leads: left.leadsWithLabel(),
	}
	return t
}

// Labeled puts a label over a tree. It keeps label, which must not change afterwards.
func Labeled(label []byte, sub *HashTree) *HashTree { return new(HashTree).labeled(label, sub) }

func (t *HashTree) labeled(label []byte, sub *HashTree) *HashTree {
	var buf [128]byte
	b := append(append(append(buf[:0], sepLabeled...), label...), sub.digest[:]...)
	*t = HashTree{kind: kindLabeled, data: label, left: sub, digest: sha256.Sum256(b)}
	return t
}

// Leaf holds a value. It keeps value, which must not change afterwards.
func Leaf(value []byte) *HashTree { return new(HashTree).leaf(value) }

func (t *HashTree) leaf(value []byte) *HashTree {
	t.kind, t.data = kindLeaf, value
	if len(value) <= 64 {
		var buf [len(sepLeaf) + 64]byte
		t.digest = sha256.Sum256(append(append(buf[:0], sepLeaf...), value...))
		return t
	}
	h := sha256.New()
	h.Write([]byte(sepLeaf))
	h.Write(value)
	h.Sum(t.digest[:0])
	return t
}

// Pruned stands for a tree of which only the digest is shown.
func Pruned(digest [32]byte) *HashTree { return &HashTree{kind: kindPruned, digest: digest} }

// Digest is the root hash of the tree. It takes no time.
func (t *HashTree) Digest() [32]byte { return t.digest }

// Entry is a labeled subtree, for LabeledTreeSorted.
type Entry struct {
	Label []byte
	Tree  *HashTree
}

// LabeledTree builds the balanced tree of the given children.
func LabeledTree(children map[string]*HashTree) *HashTree {
	entries := make([]Entry, 0, len(children))
	for label, sub := range children {
		entries = append(entries, Entry{[]byte(label), sub})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare(a.Label, b.Label) })
	return LabeledTreeSorted(entries)
}

// LabeledTreeSorted builds the balanced tree of children that are already in
// strictly increasing order of their labels, which the caller vouches for.
func LabeledTreeSorted(entries []Entry) *HashTree {
	switch len(entries) {
	case 0:
		return emptyTree
	case 1:
		return Labeled(entries[0].Label, entries[0].Tree)
	}
	// The larger half goes left, so that the shape depends on the number only.
	half := (len(entries) + 1) / 2
	return Fork(LabeledTreeSorted(entries[:half]), LabeledTreeSorted(entries[half:]))
}

// firstLabeled is the leftmost labeled node of a forest, nil if there is none.
func (t *HashTree) firstLabeled() *HashTree {
	if t.kind == kindLabeled {
		return t
	}
	return t.first
}

// leadsWithLabel reports whether the leftmost node of a forest that is not a fork
// is labeled.
func (t *HashTree) leadsWithLabel() bool { return t.kind == kindLabeled || t.leads }

// eachNode calls f for every node of a forest that is not a fork and not empty,
// from left to right, until f returns false.
func (t *HashTree) eachNode(f func(*HashTree) bool) bool {
	for t.kind == kindFork {
		if !t.left.eachNode(f) {
			return false
		}
		t = t.right
	}
	return t.kind == kindEmpty || f(t)
}

// WellFormed reports whether labels stand in strictly increasing order and are
// not mixed with leaves, in the whole tree (interface specification, "Lookup").
func (t *HashTree) WellFormed() bool {
	if t.kind == kindLeaf {
		return true
	}
	var previous *HashTree
	return t.eachNode(func(n *HashTree) bool {
		switch n.kind {
		case kindLeaf:
			return false
		case kindLabeled:
			if previous != nil && bytes.Compare(previous.data, n.data) >= 0 {
				return false
			}
			previous = n
			return n.left.WellFormed()
		}
		return true
	})
}
