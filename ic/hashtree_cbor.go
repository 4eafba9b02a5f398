package ic

import (
	"errors"
	"fmt"

	"github.com/icrelay/icrelay/candid/cbor"
)

// Bounds on a foreign tree. The trees of subnets are balanced and those of
// canisters nearly so: a depth of 200 would already mean a tree of some 2^40 nodes,
// except for tries over the bits of long keys, which the limit leaves room for.
// A node takes about a hundred bytes of memory.
const (
	maxTreeDepth = 1024
	maxTreeNodes = 1 << 17
)

var (
	errTreeDepth = errors.New("hash tree: nested too deep")
	errTreeNodes = fmt.Errorf("hash tree: more than %d nodes", maxTreeNodes)
)

// DecodeHashTree reads a tree, self-described or not. Labels and values alias b.
func DecodeHashTree(b []byte) (*HashTree, error) {
	r := cbor.NewReader(b)
	r.SkipSelfDescribe()
	t, err := readTree(&r)
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("hash tree: %w", err)
	}
	return t, nil
}

func readTree(r *cbor.Reader) (*HashTree, error) {
	nodes := maxTreeNodes
	t, err := readNode(r, maxTreeDepth, &nodes)
	if err != nil {
		return nil, fmt.Errorf("hash tree: %w", err)
	}
	return t, nil
}

func readNode(r *cbor.Reader, depth int, nodes *int) (*HashTree, error) {
	if depth == 0 {
		return nil, errTreeDepth
	}
	if *nodes--; *nodes < 0 {
		return nil, errTreeNodes
	}
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	if err := element(r, &c); err != nil {
		return nil, err
	}
	kind, err := r.Uint()
	if err != nil {
		return nil, err
	}
	t, err := readNodeBody(r, &c, kind, depth, nodes)
	if err != nil {
		return nil, err
	}
	if more, err := r.Next(&c); err != nil || more {
		return nil, fmt.Errorf("node %d has the wrong number of elements", kind)
	}
	return t, nil
}

// element steps to the next element of a node, which must exist.
func element(r *cbor.Reader, c *cbor.Container) error {
	more, err := r.Next(c)
	if err == nil && !more {
		err = errors.New("a node lacks elements")
	}
	return err
}

func readNodeBody(r *cbor.Reader, c *cbor.Container, kind uint64, depth int, nodes *int) (*HashTree, error) {
	if kind == uint64(kindEmpty) {
		return emptyTree, nil
	}
	if kind > uint64(kindPruned) {
		return nil, fmt.Errorf("unknown node %d", kind)
	}
	if err := element(r, c); err != nil {
		return nil, err
	}
	if nodeKind(kind) == kindFork {
		left, err := readNode(r, depth-1, nodes)
		if err != nil {
			return nil, err
		}
		if err := element(r, c); err != nil {
			return nil, err
		}
		right, err := readNode(r, depth-1, nodes)
		if err != nil {
			return nil, err
		}
		return Fork(left, right), nil
	}
	data, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	switch nodeKind(kind) {
	case kindLeaf:
		return Leaf(data), nil
	case kindPruned:
		if len(data) != 32 {
			return nil, fmt.Errorf("pruned node with %d bytes", len(data))
		}
		return Pruned([32]byte(data)), nil
	}
	if err := element(r, c); err != nil {
		return nil, err
	}
	sub, err := readNode(r, depth-1, nodes)
	if err != nil {
		return nil, err
	}
	return Labeled(data, sub), nil
}

// Encode returns the tree in self-described CBOR.
func (t *HashTree) Encode() []byte {
	return t.AppendCBOR(cbor.AppendSelfDescribe(make([]byte, 0, 3+t.cborLen())))
}

// AppendCBOR appends the tree without the self-describe tag, for embedding.
func (t *HashTree) AppendCBOR(dst []byte) []byte {
	switch t.kind {
	case kindFork:
		return t.right.AppendCBOR(t.left.AppendCBOR(append(dst, 0x83, byte(kindFork))))
	case kindLabeled:
		return t.left.AppendCBOR(cbor.AppendBytes(append(dst, 0x83, byte(kindLabeled)), t.data))
	case kindLeaf:
		return cbor.AppendBytes(append(dst, 0x82, byte(kindLeaf)), t.data)
	case kindPruned:
		return cbor.AppendBytes(append(dst, 0x82, byte(kindPruned)), t.digest[:])
	}
	return append(dst, 0x81, byte(kindEmpty))
}

// cborLen is the number of bytes that AppendCBOR writes.
func (t *HashTree) cborLen() int {
	switch t.kind {
	case kindFork:
		return 2 + t.left.cborLen() + t.right.cborLen()
	case kindLabeled:
		return 2 + cbor.HeadLen(len(t.data)) + len(t.data) + t.left.cborLen()
	case kindLeaf:
		return 2 + cbor.HeadLen(len(t.data)) + len(t.data)
	case kindPruned:
		return 2 + 2 + len(t.digest)
	}
	return 2
}
