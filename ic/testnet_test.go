package ic

import (
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// testTime is when the certificates of tests are current.
var testTime = time.Unix(1_800_000_000, 0)

// layout says where a delegation shows its subnet's ranges.
type layout int

const (
	layoutOld  layout = iota // one leaf at /subnet/<id>/canister_ranges
	layoutNew                // leaves below /canister_ranges/<id>
	layoutNone               // nowhere
)

// testNet is a network of a root subnet and one more, as far as certificates go.
type testNet struct {
	tb               testing.TB
	root, subnet     *BLSKey
	rootID, subnetID candid.Principal
	ranges           [][2]candid.Principal
	node             Identity
	kind             string
}

const (
	canisterA   = candid.Principal("\x00\x00\x00\x00\x00\x20\x00\x01\x01\x01")
	canisterB   = candid.Principal("\x00\x00\x00\x00\x00\x50\x00\x00\x01\x01")
	outsideBoth = candid.Principal("\x00\x00\x00\x00\x00\x40\x00\x00\x01\x01")
)

func newTestNet(tb testing.TB) *testNet {
	tb.Helper()
	n := &testNet{
		tb:     tb,
		root:   must(BLSKeyFromSeed([]byte("root")))(tb),
		subnet: must(BLSKeyFromSeed([]byte("subnet")))(tb),
		ranges: [][2]candid.Principal{
			{"\x00\x00\x00\x00\x00\x20\x00\x00\x01\x01", "\x00\x00\x00\x00\x00\x2f\xff\xff\x01\x01"},
			{canisterB, canisterB},
		},
		node: must(NewEd25519Identity())(tb),
		kind: "application",
	}
	n.rootID = candid.SelfAuthenticating(n.root.PublicKeyDER())
	n.subnetID = candid.SelfAuthenticating(n.subnet.PublicKeyDER())
	return n
}

func (n *testNet) verifier() *Verifier {
	n.tb.Helper()
	return must(NewVerifier(n.root.PublicKeyDER()))(n.tb)
}

// tree is a state tree with the time and more children.
func tree(at time.Time, children map[string]*HashTree) *HashTree {
	all := map[string]*HashTree{"time": Leaf(EncodeTime(at))}
	for l, t := range children {
		all[l] = t
	}
	return LabeledTree(all)
}

func (n *testNet) sign(key *BLSKey, t *HashTree) []byte {
	n.tb.Helper()
	return must(key.SignTree(t))(n.tb)
}

// delegation is the root subnet's certificate about the subnet.
func (n *testNet) delegation(l layout, at time.Time) []byte {
	n.tb.Helper()
	subnet := map[string]*HashTree{
		"public_key": Leaf(n.subnet.PublicKeyDER()),
		"type":       Leaf([]byte(n.kind)),
	}
	children := map[string]*HashTree{}
	switch l {
	case layoutOld:
		subnet["canister_ranges"] = Leaf(EncodeCanisterRanges(n.ranges))
	case layoutNew:
		// One leaf for each range, labeled by its first canister.
		leaves := map[string]*HashTree{}
		for _, r := range n.ranges {
			leaves[string(r[0])] = Leaf(EncodeCanisterRanges([][2]candid.Principal{r}))
		}
		children["canister_ranges"] = LabeledTree(map[string]*HashTree{string(n.subnetID): LabeledTree(leaves)})
	}
	children["subnet"] = LabeledTree(map[string]*HashTree{
		string(n.subnetID): LabeledTree(subnet),
		string(n.rootID):   Pruned([32]byte{1}),
	})
	t := tree(at, children)
	return EncodeDelegation(n.subnetID, EncodeCertificate(t, n.sign(n.root, t), nil))
}

// certify signs a tree as the subnet does.
func (n *testNet) certify(t *HashTree, l layout) []byte {
	n.tb.Helper()
	return EncodeCertificate(t, n.sign(n.subnet, t), n.delegation(l, testTime.Add(-48*time.Hour)))
}

// certifyRoot signs a tree as the root subnet does.
func (n *testNet) certifyRoot(t *HashTree) []byte {
	n.tb.Helper()
	return EncodeCertificate(t, n.sign(n.root, t), nil)
}

// requestStatus is the part of the state tree about one call.
func requestStatus(id [32]byte, fields map[string]string) map[string]*HashTree {
	leaves := make(map[string]*HashTree)
	for l, v := range fields {
		leaves[l] = Leaf([]byte(v))
	}
	return map[string]*HashTree{
		"request_status": LabeledTree(map[string]*HashTree{string(id[:]): LabeledTree(leaves)}),
	}
}
