package localnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/icrelay/icrelay/ic"
)

// TestLabelMap compares a labelMap after any changes with a Go map: content,
// order, digest, and what witnesses show.
func TestLabelMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few distinct bytes, so that labels are prefixes of each other and repeat.
		label := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xff}), 0, 4)
		model := map[string]string{}
		var m, older labelMap
		olderDigest := older.digest()
		steps := rapid.IntRange(0, 40).Draw(t, "steps")
		for i := range steps {
			l := label.Draw(t, "label")
			if rapid.IntRange(0, 3).Draw(t, "op") == 0 {
				delete(model, string(l))
				m = m.remove(l)
			} else {
				v := string(binary.BigEndian.AppendUint16(nil, uint16(i)))
				model[string(l)] = v
				m = m.set(l, ic.Labeled([]byte("v"), ic.Leaf([]byte(v))))
			}
			if i == steps/2 {
				older, olderDigest = m, m.digest()
			}
		}
		if older.digest() != olderDigest || older.full().Digest() != olderDigest {
			t.Fatal("an older version changed")
		}
		want := slices.Sorted(maps.Keys(model))
		got := m.labels()
		if m.size != len(model) || len(got) != len(want) {
			t.Fatalf("size %d, %d labels, expected %d", m.size, len(got), len(want))
		}
		for i := range want {
			if string(got[i]) != want[i] {
				t.Fatalf("label %d is %x, not %x", i, got[i], want[i])
			}
		}
		full := m.full()
		if full.Digest() != m.digest() || !full.WellFormed() {
			t.Fatal("the digest is not that of the whole forest, or it is not well-formed")
		}
		asked := rapid.SliceOfN(label, 1, 5).Draw(t, "asked")
		witness := m.witness(asked, func(_ []byte, sub *ic.HashTree) *ic.HashTree { return sub })
		if witness.Digest() != m.digest() || !witness.WellFormed() {
			t.Fatal("the witness has another digest, or is not well-formed")
		}
		for _, l := range asked {
			value, result := witness.Lookup(l, []byte("v"))
			if v, ok := model[string(l)]; ok && (result != ic.Found || string(value) != v) || !ok && result != ic.Absent {
				t.Fatalf("%x is %q, %v; the model says %q, %v", l, value, result, v, ok)
			}
		}
		for _, l := range want {
			value, result := witness.Lookup([]byte(l), []byte("v"))
			if !slices.ContainsFunc(asked, func(a []byte) bool { return string(a) == l }) && result == ic.Found {
				t.Fatalf("the witness also reveals %x: %x", l, value)
			}
		}
		if sub := m.get([]byte{1, 2, 3, 4, 5, 6}); sub != nil {
			t.Fatal("a label that was never set")
		}
	})
}

func BenchmarkLabelMapSet(b *testing.B) {
	var m labelMap
	for i := range 100_000 {
		id := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		m = m.set(id[:], doneTree)
	}
	b.ReportAllocs()
	i := uint64(1 << 40)
	for b.Loop() {
		id := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		i++
		next := m.set(id[:], receivedTree)
		w := next.witness([][]byte{id[:]}, func(_ []byte, sub *ic.HashTree) *ic.HashTree { return sub })
		if d := w.Digest(); bytes.Equal(d[:], nil) {
			b.Fatal()
		}
	}
}
