package execution

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestCyclesArithmetic(t *testing.T) {
	amount := rapid.Custom(func(t *rapid.T) cycles {
		return cycles{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
	})
	most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
	rapid.Check(t, func(t *rapid.T) {
		a, b := amount.Draw(t, "a"), amount.Draw(t, "b")
		sum := new(big.Int).Add(a.big(), b.big())
		if sum.Cmp(most) > 0 {
			sum = most
		}
		if a.add(b).big().Cmp(sum) != 0 {
			t.Fatalf("%v + %v = %v", a, b, a.add(b))
		}
		diff := new(big.Int).Sub(a.big(), b.big())
		if diff.Sign() < 0 {
			diff.SetInt64(0)
		}
		if a.sub(b).big().Cmp(diff) != 0 {
			t.Fatalf("%v - %v = %v", a, b, a.sub(b))
		}
		if a.less(b) != (a.big().Cmp(b.big()) < 0) {
			t.Fatalf("%v < %v: %v", a, b, a.less(b))
		}
		if back, ok := cyclesFromBig(a.big()); !ok || back != a {
			t.Fatalf("%v becomes %v", a, back)
		}
		if m := minCycles(a, b); a.less(m) || b.less(m) || m != a && m != b {
			t.Fatalf("min(%v, %v) = %v", a, b, m)
		}
	})
	if _, ok := cyclesFromBig(new(big.Int).Add(most, big.NewInt(1))); ok {
		t.Error("2^128 fits")
	}
	if _, ok := cyclesFromBig(big.NewInt(-1)); ok {
		t.Error("-1 fits")
	}
}
