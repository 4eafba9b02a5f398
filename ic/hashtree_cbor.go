package ic

import (
	"crypto/sha256"
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
	t := treeReader{Reader: r, left: maxTreeNodes}
	tree, err := t.node(maxTreeDepth)
	if err != nil {
		return nil, fmt.Errorf("hash tree: %w", err)
	}
	return tree, nil
}

// A treeReader reads one tree. Its nodes are allocated many at a time: they live
// and die together.
type treeReader struct {
	*cbor.Reader
	left  int        // nodes that may still come
	nodes []HashTree // allocated, not used yet
}

// nodesAtOnce is about what a witness of one message has.
const nodesAtOnce = 24

func (r *treeReader) newNode() *HashTree {
	if len(r.nodes) == 0 {
		r.nodes = make([]HashTree, nodesAtOnce)
	}
	t := &r.nodes[0]
	r.nodes = r.nodes[1:]
	return t
}

func (r *treeReader) node(depth int) (*HashTree, error) {
	if depth == 0 {
		return nil, errTreeDepth
	}
	if r.left--; r.left < 0 {
		return nil, errTreeNodes
	}
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	if err := element(r.Reader, &c); err != nil {
		return nil, err
	}
	kind, err := r.Uint()
	if err != nil {
		return nil, err
	}
	t, err := r.nodeBody(&c, kind, depth)
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

func (r *treeReader) nodeBody(c *cbor.Container, kind uint64, depth int) (*HashTree, error) {
	if kind == uint64(kindEmpty) {
		return emptyTree, nil
	}
	if kind > uint64(kindPruned) {
		return nil, fmt.Errorf("unknown node %d", kind)
	}
	if err := element(r.Reader, c); err != nil {
		return nil, err
	}
	if nodeKind(kind) == kindFork {
		left, err := r.node(depth - 1)
		if err != nil {
			return nil, err
		}
		if err := element(r.Reader, c); err != nil {
			return nil, err
		}
		right, err := r.node(depth - 1)
		if err != nil {
			return nil, err
		}
		return r.newNode().fork(left, right), nil
	}
	data, err := r.Bytes()
	if err != nil {
		return nil, err
	}
	switch nodeKind(kind) {
	case kindLeaf:
		return r.newNode().leaf(data), nil
	case kindPruned:
		if len(data) != sha256.Size {
			return nil, fmt.Errorf("pruned node with %d bytes", len(data))
		}
		t := r.newNode()
		t.kind, t.digest = kindPruned, [sha256.Size]byte(data)
		return t, nil
	}
	if err := element(r.Reader, c); err != nil {
		return nil, err
	}
	sub, err := r.node(depth - 1)
	if err != nil {
		return nil, err
	}
	return r.newNode().labeled(data, sub), nil
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
