package ic

import "bytes"

// LookupResult says what a tree shows about a path.
type LookupResult int

// The results of a lookup (interface specification, "Lookup").
const (
	Found   LookupResult = iota + 1 // the path has this value
	Absent                          // the tree proves that there is no such path
	Unknown                         // that part of the tree was pruned away
	Error                           // the path exists, but does not end in a value
)

func (r LookupResult) String() string {
	switch r {
	case Found:
		return "found"
	case Absent:
		return "absent"
	case Unknown:
		return "unknown"
	case Error:
		return "not a value"
	}
	return "no result"
}

// Lookup returns the value at a path. The value must not be changed.
func (t *HashTree) Lookup(path ...[]byte) ([]byte, LookupResult) {
	sub, result := t.LookupSubtree(path...)
	if result != Found {
		return nil, result
	}
	switch sub.kind {
	case kindLeaf:
		return sub.data, Found
	case kindEmpty:
		return nil, Absent
	case kindPruned:
		return nil, Unknown
	}
	return nil, Error
}

// LookupSubtree returns what stands below a path. A result of Found says that
// the path is in the tree; what it leads to may be pruned.
func (t *HashTree) LookupSubtree(path ...[]byte) (*HashTree, LookupResult) {
	for _, label := range path {
		place := t.place(label)
		if place.match == nil {
			if place.absent {
				return nil, Absent
			}
			return nil, Unknown
		}
		t = place.match.left
	}
	return t, Found
}

// place is where a label stands, or would stand, in a forest.
type place struct {
	match  *HashTree // the labeled node, nil if there is none
	before *HashTree // the labeled nodes on both sides, if known
	after  *HashTree
	absent bool // there is provably no match
}

// place finds a label by walking down one way. Where a label is missing and its
// neighbours may be pruned all nodes are visited.
func (t *HashTree) place(label []byte) place {
	p := place{}
	n, sure := t, true
	for n.kind == kindFork {
		first := n.right.firstLabeled()
		sure = sure && n.right.leadsWithLabel()
		if first == nil || bytes.Compare(label, first.data) < 0 {
			p.after, n = first, n.left
		} else {
			n = n.right
		}
	}
	if !sure && (n.kind != kindLabeled || !bytes.Equal(n.data, label)) {
		return t.placeSlowly(label)
	}
	switch n.kind {
	case kindLabeled:
		p.absent = true
		switch c := bytes.Compare(n.data, label); {
		case c == 0:
			p.match, p.absent = n, false
		case c < 0:
			p.before = n
		default:
			p.after = n
		}
	case kindLeaf:
		p.absent = n == t // a forest with leaves among labels is not well-formed
	case kindEmpty:
		p.absent = true
	}
	return p
}

// placeSlowly follows the specification's find_label to the letter.
func (t *HashTree) placeSlowly(label []byte) place {
	p := place{}
	var previous *HashTree // the node visited before
	decided := false
	t.eachNode(func(n *HashTree) bool {
		if n.kind == kindLabeled {
			switch c := bytes.Compare(n.data, label); {
			case c == 0:
				p.match = n
				return false
			case c < 0:
				p.before = n
			case !decided:
				decided = true
				p.after = n
				p.absent = previous == nil || (previous.kind == kindLabeled && bytes.Compare(previous.data, label) < 0)
			}
		}
		previous = n
		return true
	})
	if p.match != nil {
		return place{match: p.match}
	}
	if !decided {
		// Nothing greater was seen: absent if the last node is a smaller label.
		p.absent = previous == nil || (previous.kind == kindLabeled && previous == p.before)
	}
	return p
}
