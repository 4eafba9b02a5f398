package ic

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/icrelay/icrelay/candid/cbor"
)

// specTree is the example of the interface specification ("Certification, Example").
func specTree() *HashTree {
	label := func(l string, t *HashTree) *HashTree { return Labeled([]byte(l), t) }
	leaf := func(s string) *HashTree { return Leaf([]byte(s)) }
	return Fork(
		Fork(
			label("a", Fork(Fork(label("x", leaf("hello")), Empty()), label("y", leaf("world")))),
			label("b", leaf("good"))),
		Fork(label("c", Empty()), label("d", leaf("morning"))))
}

const (
	specTreeHex = "8301830183024161830183018302417882034568656c6c6f810083024179820345776f726c6483024162820344676f6f64" +
		"8301830241638100830241648203476d6f726e696e67"
	specPrunedHex = "83018301830241618301820458201b4feff9bef8131788b0c9dc6dbad6e81e524249c879e9f10f71ce3749f5a638" +
		"83024179820345776f726c6483024162820458207b32ac0c6ba8ce35ac82c255fc7906f7fc130dab2a090f80fe12f9c2cae83ba6" +
		"830182045820ec8324b8a1f1ac16bd2e806edba78006479c9877fed4eb464a25485465af601d830241648203476d6f726e696e67"
	specDigest = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"
)

func digestHex(t *HashTree) string {
	d := t.Digest()
	return hex.EncodeToString(d[:])
}

func TestTreeOfSpecification(t *testing.T) {
	tree := specTree()
	equal(t, hex.EncodeToString(tree.AppendCBOR(nil)), specTreeHex)
	equal(t, digestHex(tree), specDigest)
	equal(t, tree.WellFormed(), true)

	pruned := tree.Prune(path("a", "y"), path("ax"), path("d"))
	equal(t, hex.EncodeToString(pruned.AppendCBOR(nil)), specPrunedHex)
	equal(t, digestHex(pruned), specDigest)

	decoded := must(DecodeHashTree(unhex(t, "d9d9f7"+specPrunedHex)))(t)
	equal(t, digestHex(decoded), specDigest)
	for name, tt := range map[string]struct {
		path  [][]byte
		want  LookupResult
		value string
	}{
		"pruned below":        {path("a", "a"), Unknown, ""},
		"found below":         {path("a", "y"), Found, "world"},
		"absent between":      {path("aa"), Absent, ""},
		"absent, neighbours":  {path("ax"), Absent, ""},
		"label without value": {path("b"), Unknown, ""},
		"between and pruned":  {path("bb"), Unknown, ""},
		"found":               {path("d"), Found, "morning"},
		"absent behind":       {path("e"), Absent, ""},
		"absent before":       {path(""), Absent, ""},
		"no value":            {path("a"), Error, ""},
		"below a leaf":        {path("d", "x"), Absent, ""},
		"the root":            {nil, Error, ""},
	} {
		t.Run(name, func(t *testing.T) {
			value, result := decoded.Lookup(tt.path...)
			equal(t, result, tt.want)
			equal(t, string(value), tt.value)
		})
	}
}

func TestLookupInOddTrees(t *testing.T) {
	label := func(l string) *HashTree { return Labeled([]byte(l), Leaf([]byte(l))) }
	hidden := Pruned([32]byte{1})
	tests := map[string]struct {
		tree *HashTree
		want map[string]LookupResult
	}{
		"empty":              {Empty(), map[string]LookupResult{"a": Absent}},
		"pruned":             {hidden, map[string]LookupResult{"a": Unknown}},
		"leaf":               {Leaf(nil), map[string]LookupResult{"a": Absent}},
		"empty on the right": {Fork(label("b"), Empty()), map[string]LookupResult{"a": Absent, "b": Found, "c": Absent}},
		"empty on the left":  {Fork(Empty(), label("b")), map[string]LookupResult{"a": Absent, "b": Found, "c": Absent}},
		"empty between":      {Fork(Fork(label("b"), Empty()), label("d")), map[string]LookupResult{"a": Absent, "c": Absent, "e": Absent, "d": Found}},
		"two empties":        {Fork(Empty(), Empty()), map[string]LookupResult{"a": Absent}},
		"pruned on the left": {Fork(hidden, label("b")), map[string]LookupResult{"a": Unknown, "b": Found, "c": Absent}},
		"pruned right":       {Fork(label("b"), hidden), map[string]LookupResult{"a": Absent, "b": Found, "c": Unknown}},
		"pruned between":     {Fork(label("b"), Fork(hidden, label("d"))), map[string]LookupResult{"a": Absent, "c": Unknown, "d": Found, "e": Absent}},
		"pruned beside":      {Fork(Fork(label("b"), label("d")), hidden), map[string]LookupResult{"c": Absent, "d": Found, "e": Unknown}},
		"long left":          {Fork(Fork(Fork(label("b"), label("d")), label("f")), label("h")), map[string]LookupResult{"c": Absent, "e": Absent, "g": Absent, "i": Absent, "f": Found}},
		"leaf among labels":  {Fork(label("b"), Leaf(nil)), map[string]LookupResult{"b": Found, "c": Unknown}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for l, want := range tt.want {
				if _, got := tt.tree.Lookup([]byte(l)); got != want {
					t.Errorf("%s: got %v, want %v", l, got, want)
				}
			}
		})
	}
}

// drawTree makes a labeled tree of some depth and the values in it by path.
func drawTree(t *rapid.T, depth int, prefix string, values map[string]string) *HashTree {
	children := make(map[string]*HashTree)
	labels := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-h]{0,3}`), 0, 8, rapid.ID).Draw(t, "labels")
	for _, l := range labels {
		p := prefix + "/" + l
		if depth == 0 || rapid.Bool().Draw(t, "leaf") {
			v := rapid.String().Draw(t, "value")
			values[p] = v
			children[l] = Leaf([]byte(v))
		} else {
			children[l] = drawTree(t, depth-1, p, values)
		}
	}
	return LabeledTree(children)
}

func split(p string) [][]byte { return path(strings.Split(p, "/")[1:]...) }

func TestTreesAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := make(map[string]string)
		tree := drawTree(t, 3, "", values)
		if !tree.WellFormed() {
			t.Fatal("not well-formed")
		}
		all := slices.Sorted(maps.Keys(values))
		asked := rapid.SliceOfN(rapid.StringMatching(`(/[a-h]{0,3}){1,3}`), 0, 5).Draw(t, "asked")
		if len(all) > 0 {
			asked = append(asked, rapid.SliceOfN(rapid.SampledFrom(all), 0, 4).Draw(t, "present")...)
		}
		paths := make([][][]byte, len(asked))
		for i, p := range asked {
			paths[i] = split(p)
		}
		witness := tree.Prune(paths...)
		if witness.Digest() != tree.Digest() {
			t.Fatal("pruning changed the digest")
		}
		again, err := DecodeHashTree(witness.Encode())
		if err != nil || again.Digest() != tree.Digest() {
			t.Fatal("witness does not survive encoding", err)
		}
		if len(witness.Encode()) != witness.cborLen()+3 {
			t.Fatal("cborLen is wrong")
		}
		for _, p := range asked {
			// What the whole tree shows of a path, its witness shows too.
			value, result := tree.Lookup(split(p)...)
			value2, result2 := again.Lookup(split(p)...)
			below := result == Absent && slices.ContainsFunc(all, func(v string) bool { return strings.HasPrefix(p, v+"/") })
			if below { // absent because the path goes through a leaf, which is not shown
				continue
			}
			if result != result2 || !bytes.Equal(value, value2) {
				t.Fatalf("%s: %v %q in the tree, %v %q in its witness", p, result, value, result2, value2)
			}
			if v, ok := values[p]; ok != (result == Found) || v != string(value) {
				t.Fatalf("%s: %v %q, want %q", p, result, value, v)
			}
		}
		for _, p := range all {
			kept := slices.ContainsFunc(asked, func(a string) bool { return p == a || strings.HasPrefix(p, a+"/") })
			if _, result := again.Lookup(split(p)...); (result == Found) != kept {
				t.Fatalf("%s: %v, asked for %v", p, result, asked)
			}
		}
	})
}

// TestPlaceAgreesWithSpecification compares the way down with the visit of all
// nodes, on trees from which anything may have been pruned.
func TestPlaceAgreesWithSpecification(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-d]{0,2}`), 0, 8, rapid.ID).Draw(t, "labels")
		slices.Sort(labels)
		nodes := make([]*HashTree, len(labels))
		for i, l := range labels {
			nodes[i] = rapid.SampledFrom([]*HashTree{Labeled([]byte(l), Leaf(nil)), Labeled([]byte(l), Leaf(nil)), Pruned([32]byte{}), Empty()}).Draw(t, "node")
		}
		for len(nodes) > 1 { // join neighbours in any shape
			i := rapid.IntRange(0, len(nodes)-2).Draw(t, "join")
			nodes = slices.Replace(nodes, i, i+2, Fork(nodes[i], nodes[i+1]))
		}
		if len(nodes) == 0 {
			return
		}
		label := []byte(rapid.StringMatching(`[a-d]{0,2}`).Draw(t, "label"))
		fast, slow := nodes[0].place(label), nodes[0].placeSlowly(label)
		if fast.match != slow.match || fast.absent != slow.absent {
			t.Fatalf("down: %v %v, all nodes: %v %v", fast.match != nil, fast.absent, slow.match != nil, slow.absent)
		}
	})
}

func TestDecodeHashTreeRefuses(t *testing.T) {
	deep := bytes.Repeat([]byte{0x83, 0x02, 0x41, 0x61}, 100_000)
	wide := []byte{}
	for range maxTreeNodes {
		wide = append(wide, 0x83, 0x01, 0x81, 0x00)
	}
	for name, tt := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":           {nil, "ends inside"},
		"an empty array":    {[]byte{0x80}, "lacks elements"},
		"text":              {[]byte{0x61, 0x61}, "expected an array"},
		"node 5":            {[]byte{0x82, 0x05, 0x40}, "unknown node 5"},
		"negative node":     {[]byte{0x81, 0x20}, "unsigned integer"},
		"empty with more":   {[]byte{0x82, 0x00, 0x00}, "wrong number of elements"},
		"fork with one":     {[]byte{0x82, 0x01, 0x81, 0x00}, "lacks elements"},
		"fork with three":   {[]byte{0x84, 0x01, 0x81, 0x00, 0x81, 0x00, 0x81, 0x00}, "wrong number of elements"},
		"label only":        {[]byte{0x82, 0x02, 0x40}, "lacks elements"},
		"text label":        {[]byte{0x83, 0x02, 0x60, 0x81, 0x00}, "byte string"},
		"short digest":      {[]byte{0x82, 0x04, 0x41, 0x00}, "pruned node with 1 bytes"},
		"trailing byte":     {[]byte{0x81, 0x00, 0x00}, "after the end"},
		"too deep":          {append(deep, 0x81, 0x00), "too deep"},
		"too many":          {append(wide, 0x81, 0x00), "too deep"},
		"leaf of a lie":     {[]byte{0x82, 0x03, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "ends inside"},
		"array of a lie":    {[]byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "ends inside"},
		"unfinished chunks": {[]byte{0x9f, 0x00}, "hash tree"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeHashTree(tt.raw)
			errorContains(t, err, tt.want)
		})
	}
	b := must(hex.DecodeString(specTreeHex))(t)
	for i := range b {
		if _, err := DecodeHashTree(b[:i]); err == nil {
			t.Fatalf("prefix of %d bytes was accepted", i)
		}
	}
	// A tree with the most nodes that are allowed, balanced.
	big := Empty()
	for range 16 {
		big = Fork(big, big)
	}
	if _, err := DecodeHashTree(big.Encode()); err != nil {
		t.Error(err)
	}
	_, err := DecodeHashTree(Fork(big, big).Encode())
	errorContains(t, err, "more than 131072 nodes")
}

func TestIndefiniteTree(t *testing.T) {
	tree := must(DecodeHashTree([]byte{0x9f, 0x02, 0x41, 'a', 0x9f, 0x03, 0x5f, 0x41, 'b', 0x41, 'c', 0xff, 0xff, 0xff}))(t)
	value, result := tree.Lookup([]byte("a"))
	equal(t, result, Found)
	equal(t, string(value), "bc")
}

func TestWellFormed(t *testing.T) {
	a, b := Labeled([]byte("a"), Leaf(nil)), Labeled([]byte("b"), Leaf(nil))
	for name, tt := range map[string]struct {
		tree *HashTree
		want bool
	}{
		"in order":          {Fork(a, b), true},
		"out of order":      {Fork(b, a), false},
		"twice":             {Fork(a, a), false},
		"pruned between":    {Fork(a, Fork(Pruned([32]byte{}), b)), true},
		"leaf among labels": {Fork(a, Leaf(nil)), false},
		"wrong below":       {Labeled([]byte("x"), Fork(b, a)), false},
		"leaf alone":        {Leaf(nil), true},
	} {
		t.Run(name, func(t *testing.T) { equal(t, tt.tree.WellFormed(), tt.want) })
	}
}

func TestLongLabelsAndLeaves(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 100, 1000, 70_000} {
		long := bytes.Repeat([]byte{7}, n)
		tree := Labeled(long, Leaf(long))
		again := must(DecodeHashTree(tree.Encode()))(t)
		equal(t, again.Digest(), tree.Digest())
		value, result := again.Lookup(long)
		equal(t, result, Found)
		equalBytes(t, value, long)
	}
}

// canisterTree is the tree of a canister with n messages in its queue.
func canisterTree(n int) (tree *HashTree, keys [][]byte) {
	entries := make([]Entry, n)
	for i := range entries {
		label := fmt.Appendf(nil, "sqdfl-mr4km-2hfjy-gajqo-xqvh7-hf4mf-nra4i-3it6l-neaw4-soolw-tae_%020d", i)
		entries[i] = Entry{label, Leaf(bytes.Repeat([]byte{byte(i)}, 32))}
		keys = append(keys, label)
	}
	return Labeled([]byte("websocket"), LabeledTreeSorted(entries)), keys
}

func TestAppendWitness(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 50} {
		tree, keys := canisterTree(n)
		for _, key := range append(keys, []byte("a"), []byte("z"), nil) {
			for _, path := range [][][]byte{{[]byte("websocket"), key}, {[]byte("websocket"), key, key}, {[]byte("websocket")}, {key}, {}} {
				want := tree.Prune(path).AppendCBOR([]byte("x"))
				equalBytes(t, tree.AppendWitness([]byte("x"), path...), want)
			}
		}
		// What is pruned already, and empty, stays as it is.
		rest := tree.Prune([][]byte{[]byte("websocket"), keys[n/2]})
		equalBytes(t, rest.AppendWitness(nil, []byte("websocket"), keys[n/2]), rest.AppendCBOR(nil))
		path := [][]byte{[]byte("b")}
		odd := Fork(Fork(Empty(), Labeled([]byte("a"), tree)), Fork(Labeled([]byte("b"), Empty()), Pruned([32]byte{1})))
		equalBytes(t, odd.AppendWitness(nil, path...), odd.Prune(path).AppendCBOR(nil))
		hidden := Fork(Labeled([]byte("a"), tree), Fork(Pruned([32]byte{1}), Labeled([]byte("b"), tree)))
		equalBytes(t, hidden.AppendWitness(nil, path...), hidden.Prune(path).AppendCBOR(nil))
	}
}

// TestWitnessOfRange: what canisters answer polls with is a part of a larger tree,
// with pruned nodes on both sides. A message's witness is cut from it as from the
// whole, without new nodes.
func TestWitnessOfRange(t *testing.T) {
	const all, from, to = 1000, 311, 361
	tree, keys := canisterTree(all)
	label := []byte("websocket")
	paths := make([][][]byte, 0, to-from)
	for _, key := range keys[from:to] {
		paths = append(paths, [][]byte{label, key})
	}
	batch, err := DecodeHashTree(tree.Prune(paths...).Encode())
	if err != nil {
		t.Fatal(err)
	}
	var witness []byte
	for i, key := range keys {
		want, inside := tree.Prune([][]byte{label, key}).AppendCBOR(nil), i >= from && i < to
		if _, result := batch.Lookup(label, key); (result == Found) != inside || !inside && result != Unknown {
			t.Fatalf("message %d: %s", i, result)
		}
		if !inside {
			continue
		}
		path := [][]byte{label, key}
		witness = batch.AppendWitness(witness[:0], path...)
		equalBytes(t, witness, want)
		if n := testing.AllocsPerRun(10, func() { witness = batch.AppendWitness(witness[:0], path...) }); n != 0 {
			t.Fatalf("message %d: %g allocations", i, n)
		}
	}
}

// TestHostileTree: a chain of forks with all that is known at its end, as somebody
// would send who wants lookups to take long. They take less than reading it.
func TestHostileTree(t *testing.T) {
	nothing := Empty()
	for range 15 {
		nothing = Fork(nothing, nothing)
	}
	end := Fork(nothing, Labeled([]byte("canister"), Leaf([]byte("value"))))
	for range maxTreeDepth - 60 {
		end = Fork(Empty(), end)
	}
	raw := end.Encode()
	start := time.Now()
	tree := must(DecodeHashTree(raw))(t)
	reading := time.Since(start)
	start = time.Now()
	_, found := tree.Lookup([]byte("canister"))
	_, other := tree.Lookup([]byte("time"))
	witness := tree.AppendWitness(nil, []byte("canister"))
	if looking := time.Since(start); looking > reading+20*time.Millisecond {
		t.Errorf("looking took %s, reading %d bytes %s", looking, len(raw), reading)
	}
	if found != Found || other != Absent && other != Unknown || must(DecodeHashTree(witness))(t).Digest() != tree.Digest() {
		t.Errorf("%s, %s", found, other)
	}
}

func BenchmarkDecodeHashTree(b *testing.B) {
	tree, _ := canisterTree(50)
	raw := tree.Encode()
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := DecodeHashTree(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrune(b *testing.B) {
	for _, n := range []int{50, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tree, keys := canisterTree(n)
			b.ReportAllocs()
			for b.Loop() {
				witness := tree.Prune([][]byte{[]byte("websocket"), keys[n/3]})
				_ = witness.Encode()
			}
		})
		b.Run(fmt.Sprintf("%d/appended", n), func(b *testing.B) {
			tree, keys := canisterTree(n)
			path := [][]byte{[]byte("websocket"), keys[n/3]}
			var witness []byte
			b.ReportAllocs()
			for b.Loop() {
				witness = tree.AppendWitness(witness[:0], path...)
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	tree, keys := canisterTree(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, result := tree.Lookup([]byte("websocket"), keys[777]); result != Found {
			b.Fatal(result)
		}
	}
}

func FuzzHashTree(f *testing.F) {
	f.Add(specTree().Encode())
	f.Add(must(hex.DecodeString(specPrunedHex))(f))
	tree, _ := canisterTree(5)
	f.Add(tree.Encode())
	f.Add(cbor.AppendSelfDescribe(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := DecodeHashTree(b)
		if err != nil {
			return
		}
		again, err := DecodeHashTree(tree.Encode())
		if err != nil || again.Digest() != tree.Digest() {
			t.Fatal("the tree changed", err)
		}
		tree.WellFormed()
		for _, p := range [][][]byte{nil, path("a"), path("a", "y"), path("websocket", "x")} {
			tree.Lookup(p...)
			pruned := tree.Prune(p)
			if pruned.Digest() != tree.Digest() {
				t.Fatal("pruning changed the digest")
			}
			if !bytes.Equal(tree.AppendWitness(nil, p...), pruned.AppendCBOR(nil)) {
				t.Fatal("a witness that is appended differs")
			}
		}
	})
}
