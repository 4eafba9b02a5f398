package ic

import (
	"bytes"
	"slices"

	"github.com/icrelay/icrelay/candid/cbor"
)

// Prune returns the witness of the given paths: the same tree, with the same
// digest, in which everything else is pruned. What stands below a path is kept
// whole. Of a path that is not in the tree, the neighbouring labels are kept,
// without their content, so that its absence can be seen; unless it goes on below
// a value, which nobody has asked for then.
func (t *HashTree) Prune(paths ...[][]byte) *HashTree {
	if len(paths) == 0 {
		return t.prune()
	}
	for _, path := range paths {
		if len(path) == 0 {
			return t
		}
	}
	switch t.kind {
	case kindEmpty, kindPruned:
		return t
	case kindLeaf:
		return t.prune()
	}
	return t.keep(t.wanted(paths))
}

func (t *HashTree) prune() *HashTree {
	if t.kind == kindPruned || t.kind == kindEmpty {
		return t
	}
	return Pruned(t.digest)
}

// want is a label to keep and the paths to keep below it.
type want struct {
	label []byte
	below [][][]byte
}

// wanted turns paths into the labels to keep at the top of t, in order.
func (t *HashTree) wanted(paths [][][]byte) []want {
	wants := make([]want, 0, len(paths))
	for _, path := range paths {
		p := t.place(path[0])
		if p.match != nil {
			wants = append(wants, want{path[0], [][][]byte{path[1:]}})
			continue
		}
		for _, neighbour := range [...]*HashTree{p.before, p.after} {
			if neighbour != nil {
				wants = append(wants, want{neighbour.data, nil})
			}
		}
	}
	if len(wants) < 2 {
		return wants
	}
	slices.SortStableFunc(wants, func(a, b want) int { return bytes.Compare(a.label, b.label) })
	merged := wants[:1]
	for _, w := range wants[1:] {
		last := &merged[len(merged)-1]
		if bytes.Equal(last.label, w.label) {
			last.below = append(last.below, w.below...)
		} else {
			merged = append(merged, w)
		}
	}
	return merged
}

func (t *HashTree) keep(wants []want) *HashTree {
	if len(wants) == 0 {
		return t.prune()
	}
	switch t.kind {
	case kindFork:
		i := len(wants)
		if first := t.right.firstLabeled(); first != nil {
			i, _ = slices.BinarySearchFunc(wants, first.data, func(w want, label []byte) int {
				return bytes.Compare(w.label, label)
			})
		}
		toLeft, toRight := wants[:i], wants[i:]
		left, right := t.left.keep(toLeft), t.right.keep(toRight)
		if !left.shows() && !right.shows() {
			return Pruned(t.digest)
		}
		return new(HashTree).forkOf(left, right, t.digest)
	case kindLabeled:
		i, ok := slices.BinarySearchFunc(wants, t.data, func(w want, label []byte) int {
			return bytes.Compare(w.label, label)
		})
		if !ok {
			return Pruned(t.digest)
		}
		return &HashTree{kind: kindLabeled, data: t.data, left: t.left.Prune(wants[i].below...), digest: t.digest}
	case kindLeaf:
		return Pruned(t.digest)
	}
	return t
}

// shows reports whether a pruned node would say less.
func (t *HashTree) shows() bool { return t.kind != kindPruned && t.kind != kindEmpty }

// AppendWitness appends the CBOR of t.Prune(path), without the self-describe tag.
// For a path that is in the tree it makes no new nodes: gateways cut a witness for
// each message of a batch.
func (t *HashTree) AppendWitness(dst []byte, path ...[]byte) []byte {
	if len(path) > 0 {
		if out, ok := t.appendPath(dst, path); ok {
			return out
		}
	}
	return t.Prune(path).AppendCBOR(dst)
}

// appendPath gives up on a path that is not in the tree.
func (t *HashTree) appendPath(dst []byte, path [][]byte) (out []byte, ok bool) {
	switch t.kind {
	case kindFork:
		dst = append(dst, 0x83, byte(kindFork))
		if first := t.right.firstLabeled(); first != nil && bytes.Compare(path[0], first.data) >= 0 {
			return t.right.appendPath(t.left.appendPruned(dst), path)
		}
		if dst, ok = t.left.appendPath(dst, path); !ok {
			return nil, false
		}
		return t.right.appendPruned(dst), true
	case kindLabeled:
		if !bytes.Equal(t.data, path[0]) {
			return nil, false
		}
		dst = cbor.AppendBytes(append(dst, 0x83, byte(kindLabeled)), t.data)
		if len(path) == 1 {
			return t.left.AppendCBOR(dst), true
		}
		return t.left.appendPath(dst, path[1:])
	}
	return nil, false
}

func (t *HashTree) appendPruned(dst []byte) []byte {
	if t.kind == kindEmpty {
		return t.AppendCBOR(dst)
	}
	return cbor.AppendBytes(append(dst, 0x82, byte(kindPruned)), t.digest[:])
}
