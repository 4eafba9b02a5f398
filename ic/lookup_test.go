package ic

import (
	"fmt"
	"testing"
	"time"
)

// TestLookupIsLinear: a canister chooses the shape of its witness, in which a
// gateway looks up every message. Forks that lead to the right of the way must not
// make each step along it longer.
func TestLookupIsLinear(t *testing.T) {
	const levels, lookups = 300, 500
	build := func(spine int) *HashTree {
		tree := Labeled([]byte("a"), Leaf(nil))
		for level := range levels {
			right := Labeled(fmt.Appendf(nil, "b%05d", level), Empty())
			for range spine {
				right = Fork(right, Pruned([32]byte{}))
			}
			tree = Fork(tree, right)
		}
		return tree
	}
	measure := func(tree *HashTree) (best time.Duration) {
		for range 5 {
			start := time.Now()
			for range lookups {
				if _, result := tree.Lookup([]byte("a")); result != Found {
					t.Fatal(result)
				}
			}
			if took := time.Since(start); best == 0 || took < best {
				best = took
			}
		}
		return best
	}
	plain, spines := measure(build(0)), measure(build(levels))
	if spines > 20*plain {
		t.Errorf("%d lookups take %s, and %s beside long spines", lookups, plain, spines)
	}
}
