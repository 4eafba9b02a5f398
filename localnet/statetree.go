package localnet

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// snapshot is one version of the system state tree with its signature
// (interface specification, "The system state tree"). It never changes.
//
// Its shape is fixed:
//
//	fork(fork(canister, canister_ranges), fork(request_status, fork(subnet, time)))
type snapshot struct {
	time      time.Time
	canisters labelMap     // by canister id
	requests  labelMap     // by request id
	ranges    *ic.HashTree // under canister_ranges
	subnets   *ic.HashTree // under subnet
	signature []byte

	machineVersion, requestVersion uint64
}

// path is a sequence of labels.
type path = [][]byte

// tree puts the top of the state tree together from its five parts.
func (s *snapshot) tree(canisters, ranges, requests, subnets *ic.HashTree) *ic.HashTree {
	return ic.Fork(
		ic.Fork(
			ic.Labeled([]byte("canister"), canisters),
			ic.Labeled([]byte("canister_ranges"), ranges)),
		ic.Fork(
			ic.Labeled([]byte("request_status"), requests),
			ic.Fork(
				ic.Labeled([]byte("subnet"), subnets),
				ic.Labeled([]byte("time"), ic.Leaf(ic.EncodeTime(s.time))))))
}

// top is the tree with all five parts pruned: it has the root hash that gets signed.
func (s *snapshot) top() *ic.HashTree {
	return s.tree(
		ic.Pruned(s.canisters.digest()), ic.Pruned(s.ranges.Digest()),
		ic.Pruned(s.requests.digest()), ic.Pruned(s.subnets.Digest()))
}

// certificate returns a certificate that reveals the given paths, or proves
// their absence, and always /time. Labels at the top that nobody asked for are
// hidden, as in certificates of a replica: JavaScript agents do not find
// "canister_ranges" beside a visible "canister", because it is longer and
// begins with it.
func (s *snapshot) certificate(paths []path) []byte {
	below := map[string][]path{} // top label -> what follows it
	asked := []path{{[]byte("time")}}
	for _, p := range paths {
		if len(p) > 0 {
			below[string(p[0])] = append(below[string(p[0])], p[1:])
			asked = append(asked, p)
		}
	}
	tree := s.tree(
		witnessOf(s.canisters, below["canister"]),
		witnessIn(s.ranges, below["canister_ranges"]),
		witnessOf(s.requests, below["request_status"]),
		witnessIn(s.subnets, below["subnet"]))
	return ic.EncodeCertificate(tree.Prune(asked...), s.signature, nil)
}

// witnessIn prunes a tree to what the paths ask for.
func witnessIn(tree *ic.HashTree, paths []path) *ic.HashTree {
	if len(paths) == 0 {
		return ic.Pruned(tree.Digest())
	}
	return tree.Prune(paths...)
}

// witnessOf does the same in a labelMap. A path that ends at the map itself
// reveals all of it; the endpoints do not let such a path through for canisters
// and requests.
func witnessOf(m labelMap, paths []path) *ic.HashTree {
	if len(paths) == 0 {
		return ic.Pruned(m.digest())
	}
	var labels [][]byte
	below := map[string][]path{}
	for _, p := range paths {
		if len(p) == 0 {
			return m.full()
		}
		if below[string(p[0])] == nil {
			labels = append(labels, p[0])
		}
		below[string(p[0])] = append(below[string(p[0])], p[1:])
	}
	return m.witness(labels, func(label []byte, sub *ic.HashTree) *ic.HashTree {
		return witnessIn(sub, below[string(label)])
	})
}

// canisterTree is the part of the state tree under /canister/<id>
// (interface specification, "Canister information", "Certified data"). An empty
// canister has controllers and nothing else, as on a replica.
func canisterTree(info *execution.CanisterInfo) *ic.HashTree {
	nodes := map[string]*ic.HashTree{"controllers": ic.Leaf(encodePrincipals(info.Controllers))}
	if info.ModuleHash != nil {
		nodes["certified_data"] = ic.Leaf(info.CertifiedData)
		nodes["module_hash"] = ic.Leaf(info.ModuleHash)
		sections := make(map[string]*ic.HashTree, len(info.Metadata))
		for name, section := range info.Metadata {
			sections[name] = ic.Leaf(section.Content)
		}
		nodes["metadata"] = ic.LabeledTree(sections)
	}
	return ic.LabeledTree(nodes)
}

// sameInTree reports whether two versions of a canister look the same in the state tree.
func sameInTree(a, b *execution.CanisterInfo) bool {
	return bytes.Equal(a.CertifiedData, b.CertifiedData) &&
		(a.ModuleHash == nil) == (b.ModuleHash == nil) && bytes.Equal(a.ModuleHash, b.ModuleHash) &&
		slices.Equal(a.Controllers, b.Controllers) &&
		maps.EqualFunc(a.Metadata, b.Metadata, func(x, y execution.Section) bool {
			return x.Public == y.Public && bytes.Equal(x.Content, y.Content)
		})
}

// The canister ids of the network: all that a local network can give out, in one range.
const (
	firstCanister = candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01")
	lastCanister  = candid.Principal("\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01")
)

// rangesTree is the sharded form of the canister ranges, in one shard
// (interface specification, "Canister ranges").
func rangesTree(subnet candid.Principal) *ic.HashTree {
	return ic.Labeled(subnet.Bytes(), ic.Labeled(firstCanister.Bytes(), ic.Leaf(encodeRanges())))
}

// mainnetRootSubnet is the id of the Internet Computer's root subnet. Clients
// written with only that network in mind, agent-go among them, look for the
// nodes of whoever signs without a delegation under this id, so the one subnet
// is listed under it as well. Its own id is what the interface specification
// and all other agents derive from the root key.
const mainnetRootSubnet = "tdb26-jop6k-aogll-7ltgs-eruif-6kk7m-qpktf-gdiqx-mxtrf-vb5e6-eqe"

// subnetTree is the part under /subnet (interface specification, "Subnet information").
func subnetTree(subnet, alias candid.Principal, rootKey []byte, node *node, metrics []byte) *ic.HashTree {
	tree := ic.LabeledTree(map[string]*ic.HashTree{
		"canister_ranges": ic.Leaf(encodeRanges()),
		"metrics":         ic.Leaf(metrics),
		"node":            ic.Labeled(node.id.Bytes(), ic.Labeled([]byte("public_key"), ic.Leaf(node.key))),
		"public_key":      ic.Leaf(rootKey),
		"type":            ic.Leaf([]byte("system")),
	})
	return ic.LabeledTree(map[string]*ic.HashTree{string(subnet): tree, string(alias): tree})
}

func encodeRanges() []byte {
	return ic.EncodeCanisterRanges([][2]candid.Principal{{firstCanister, lastCanister}})
}

func encodePrincipals(list []candid.Principal) []byte {
	b := cbor.AppendSelfDescribe(nil)
	b = cbor.AppendArray(b, len(list))
	for _, p := range list {
		b = cbor.AppendBytes(b, p)
	}
	return b
}

// encodeMetrics is the value of /subnet/<id>/metrics. Its keys are the numbers
// that replicas write, which stand for the fields that the specification names.
func encodeMetrics(canisters int, calls uint64) []byte {
	b := cbor.AppendSelfDescribe(nil)
	b = cbor.AppendMap(b, 4)
	b = cbor.AppendUint(b, 0)                 // num_canisters
	b = cbor.AppendUint(b, uint64(canisters)) //nolint:gosec // a length
	b = cbor.AppendUint(b, 1)                 // canister_state_bytes: not counted
	b = cbor.AppendUint(b, 0)
	b = cbor.AppendUint(b, 2) // consumed_cycles_total: low part
	b = cbor.AppendMap(b, 1)
	b = cbor.AppendUint(b, 0)
	b = cbor.AppendUint(b, 0)
	b = cbor.AppendUint(b, 3) // update_transactions_total
	return cbor.AppendUint(b, calls)
}

func nanoseconds(t time.Time) uint64 {
	return uint64(max(t.UnixNano(), 0)) //nolint:gosec // not negative
}
