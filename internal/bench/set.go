package bench

import (
	"math/bits"
	"slices"
)

// A set is a set of small numbers. The nil set is empty and takes none.
type set []uint64

// newSet makes a set of numbers below n.
func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int) { s[i/64] |= 1 << (i % 64) }

// remove reports whether the number was there.
func (s set) remove(i int) bool {
	if i/64 >= len(s) || s[i/64]&(1<<(i%64)) == 0 {
		return false
	}
	s[i/64] &^= 1 << (i % 64)
	return true
}

func (s set) number() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s set) clone() set { return slices.Clone(s) }
