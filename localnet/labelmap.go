package localnet

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"github.com/icrelay/icrelay/ic"
)

// labelMap is an immutable map from labels to state subtrees that knows the
// hash of the labelled forest it stands for (interface specification,
// "Certificate"). It is a crit-bit tree, so its forks are the forks of the hash
// tree: a change makes O(log n) new nodes and hashes, every older version stays
// valid, and a witness for a few labels is cut without touching the rest. The
// zero value is the empty map.
//
// Request ids are hashes and canister ids are counted up, so the depth is
// logarithmic without rebalancing.
type labelMap struct {
	root *mapNode
	size int
}

// mapNode is a fork (left and right set) or an entry.
type mapNode struct {
	digest      [32]byte
	bit         int // fork: the first bit in which left and right differ
	left, right *mapNode
	label       []byte // entry
	sub         subtree
}

// A subtree is what stands below a label: a tree, or something smaller from which
// the tree can be made when it is shown.
type subtree interface{ Digest() [32]byte }

// treeOf is the tree that a subtree stands for.
func treeOf(s subtree) *ic.HashTree {
	if small, ok := s.(interface{ tree() *ic.HashTree }); ok {
		return small.tree()
	}
	return s.(*ic.HashTree) //nolint:forcetypeassert // there is nothing else
}

// digest is the hash of the forest: what ic.Empty, ic.Labeled and ic.Fork give.
func (m labelMap) digest() [32]byte {
	if m.root == nil {
		return ic.Empty().Digest()
	}
	return m.root.digest
}

func newEntry(label []byte, sub subtree) *mapNode {
	n := &mapNode{label: label, sub: sub}
	subDigest := sub.Digest()
	h := sha256.New()
	h.Write([]byte("\x13ic-hashtree-labeled"))
	h.Write(label)
	h.Write(subDigest[:])
	h.Sum(n.digest[:0])
	return n
}

func newFork(bit int, left, right *mapNode) *mapNode {
	n := &mapNode{bit: bit, left: left, right: right}
	var buf [17 + 64]byte
	copy(buf[:], "\x10ic-hashtree-fork")
	copy(buf[17:], left.digest[:])
	copy(buf[17+32:], right.digest[:])
	n.digest = sha256.Sum256(buf[:])
	return n
}

// bitAt reads a label as a sequence of 9-bit groups, a leading 1 and a byte, so
// that bit order is the order of labels also when one is a prefix of another.
func bitAt(label []byte, bit int) byte {
	i := bit / 9
	if i >= len(label) {
		return 0
	}
	if k := bit % 9; k > 0 {
		return label[i] >> (8 - k) & 1
	}
	return 1
}

// firstDiff is the first bit in which two labels differ, or -1.
func firstDiff(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if x := a[i] ^ b[i]; x != 0 {
			return i*9 + 1 + bits.LeadingZeros8(x)
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return n * 9
}

func (n *mapNode) isEntry() bool { return n.left == nil }

// near is the entry that shares the most leading bits with label, of a non-empty tree.
func (n *mapNode) near(label []byte) *mapNode {
	for !n.isEntry() {
		if bitAt(label, n.bit) == 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

func (n *mapNode) first() *mapNode {
	for !n.isEntry() {
		n = n.left
	}
	return n
}

func (n *mapNode) last() *mapNode {
	for !n.isEntry() {
		n = n.right
	}
	return n
}

// get returns the subtree under label, or nil.
func (m labelMap) get(label []byte) *ic.HashTree {
	if m.root == nil {
		return nil
	}
	if e := m.root.near(label); firstDiff(e.label, label) < 0 {
		return treeOf(e.sub)
	}
	return nil
}

// set returns a map in which label leads to sub. It keeps label.
func (m labelMap) set(label []byte, sub subtree) labelMap {
	entry := newEntry(label, sub)
	if m.root == nil {
		return labelMap{root: entry, size: 1}
	}
	diff := firstDiff(m.root.near(label).label, label)
	if diff < 0 {
		return labelMap{root: m.root.replace(entry), size: m.size}
	}
	return labelMap{root: m.root.insert(entry, diff), size: m.size + 1}
}

func (n *mapNode) replace(entry *mapNode) *mapNode {
	switch {
	case n.isEntry():
		return entry
	case bitAt(entry.label, n.bit) == 0:
		return newFork(n.bit, n.left.replace(entry), n.right)
	}
	return newFork(n.bit, n.left, n.right.replace(entry))
}

func (n *mapNode) insert(entry *mapNode, diff int) *mapNode {
	zero := bitAt(entry.label, diff) == 0
	switch {
	case (n.isEntry() || n.bit > diff) && zero:
		return newFork(diff, entry, n)
	case n.isEntry() || n.bit > diff:
		return newFork(diff, n, entry)
	case bitAt(entry.label, n.bit) == 0:
		return newFork(n.bit, n.left.insert(entry, diff), n.right)
	}
	return newFork(n.bit, n.left, n.right.insert(entry, diff))
}

// remove returns a map without label.
func (m labelMap) remove(label []byte) labelMap {
	if m.get(label) == nil {
		return m
	}
	return labelMap{root: m.root.remove(label), size: m.size - 1}
}

func (n *mapNode) remove(label []byte) *mapNode {
	if n.isEntry() {
		return nil
	}
	left, right := n.left, n.right
	if bitAt(label, n.bit) == 0 {
		left = left.remove(label)
	} else {
		right = right.remove(label)
	}
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	}
	return newFork(n.bit, left, right)
}

// neighbours returns the entries just before and after a label that is not in
// the map, nil where there is none. Shown in a witness, they prove its absence.
func (m labelMap) neighbours(label []byte) (before, after *mapNode) {
	n := m.root
	if n == nil {
		return nil, nil
	}
	diff := firstDiff(n.near(label).label, label)
	for !n.isEntry() && n.bit < diff {
		if bitAt(label, n.bit) == 0 {
			after = n.right
			n = n.left
		} else {
			before = n.left
			n = n.right
		}
	}
	// All labels under n agree with each other up to diff, and differ there from label.
	if bitAt(label, diff) == 0 {
		after = n
	} else {
		before = n
	}
	if before != nil {
		before = before.last()
	}
	if after != nil {
		after = after.first()
	}
	return before, after
}

// shown is a label that a witness reveals, with the part of its subtree.
type shown struct {
	label []byte
	sub   *ic.HashTree // same digest as the full subtree
}

// witness returns the forest with the given labels revealed and all else pruned.
// reveal cuts the witness of one label's subtree. Labels that are not in the map
// are proved absent. The digest is that of the whole map.
func (m labelMap) witness(labels [][]byte, reveal func(label []byte, sub *ic.HashTree) *ic.HashTree) *ic.HashTree {
	if m.root == nil {
		return ic.Empty()
	}
	show := make(map[string]shown, len(labels)+2)
	hide := func(e *mapNode) {
		if e == nil {
			return
		}
		if _, ok := show[string(e.label)]; !ok {
			show[string(e.label)] = shown{e.label, ic.Pruned(e.sub.Digest())}
		}
	}
	for _, label := range labels {
		if e := m.root.near(label); firstDiff(e.label, label) < 0 {
			show[string(label)] = shown{e.label, reveal(e.label, treeOf(e.sub))}
			continue
		}
		before, after := m.neighbours(label)
		hide(before)
		hide(after)
	}
	list := make([]shown, 0, len(show))
	for _, s := range show {
		list = append(list, s)
	}
	return m.root.witness(list)
}

func (n *mapNode) witness(show []shown) *ic.HashTree {
	switch {
	case len(show) == 0:
		return ic.Pruned(n.digest)
	case n.isEntry():
		return ic.Labeled(n.label, show[0].sub)
	}
	// Every label of show is under n, so one bit tells on which side.
	var left, right []shown
	for _, s := range show {
		if bitAt(s.label, n.bit) == 0 {
			left = append(left, s)
		} else {
			right = append(right, s)
		}
	}
	return ic.Fork(n.left.witness(left), n.right.witness(right))
}

// full returns the whole forest.
func (m labelMap) full() *ic.HashTree {
	if m.root == nil {
		return ic.Empty()
	}
	return m.root.full()
}

func (n *mapNode) full() *ic.HashTree {
	if n.isEntry() {
		return ic.Labeled(n.label, treeOf(n.sub))
	}
	return ic.Fork(n.left.full(), n.right.full())
}

// labels lists all labels in order.
func (m labelMap) labels() [][]byte {
	if m.root == nil {
		return nil
	}
	var out [][]byte
	stack := []*mapNode{m.root}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if n.isEntry() {
			out = append(out, n.label)
			continue
		}
		stack = append(stack, n.right, n.left)
	}
	return slices.Clip(out)
}
