package ic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// sepResponse is the domain separator of query responses.
const sepResponse = "\x0bic-response"

// MaxResponseAge bounds the age of a query response's signature in both directions.
const MaxResponseAge = 5 * time.Minute

// ErrQuerySignature reports a query response that no node of the subnet signed.
var ErrQuerySignature = errors.New("query response is not signed by a node of the subnet")

var errUnsigned = fmt.Errorf("%w: no signature", ErrQuerySignature)

// ResponseMessage is what a node signs of a query response (interface
// specification, "Request: Query call").
func ResponseMessage(q *QueryResponse, requestID [32]byte, timestamp uint64) []byte {
	fields := []candid.HashField{
		candid.NatField("timestamp", timestamp),
		candid.BytesField("request_id", requestID[:]),
	}
	if q.Reject == nil {
		fields = append(fields,
			candid.TextField("status", "replied"),
			candid.MapField("reply", candid.BytesField("arg", q.Reply)))
	} else {
		fields = append(fields,
			candid.TextField("status", "rejected"),
			candid.NatField("reject_code", uint64(max(q.Reject.Code, 0))), //nolint:gosec // not negative
			candid.TextField("reject_message", q.Reject.Text))
		if q.Reject.ErrorCode != "" {
			fields = append(fields, candid.TextField("error_code", q.Reject.ErrorCode))
		}
	}
	hash := candid.HashOfMap(fields...)
	return append([]byte(sepResponse), hash[:]...)
}

// SignResponse adds a node's signature to a query response.
func SignResponse(q *QueryResponse, requestID [32]byte, node candid.Principal, key Identity, now time.Time) error {
	timestamp := uint64(now.UnixNano()) //nolint:gosec // after 1970
	sig, err := key.Sign(ResponseMessage(q, requestID, timestamp))
	if err != nil {
		return fmt.Errorf("sign query response: %w", err)
	}
	q.Signatures = append(q.Signatures, NodeSignature{Timestamp: timestamp, Signature: sig, Node: node})
	return nil
}

// VerifyResponse checks every signature of a query response. nodeKey returns the
// DER-encoded public key of a node of the canister's subnet, nil if there is no
// such node.
func VerifyResponse(q *QueryResponse, requestID [32]byte, now time.Time, nodeKey func(candid.Principal) []byte) error {
	if len(q.Signatures) == 0 {
		return errUnsigned
	}
	for _, s := range q.Signatures {
		if s.Timestamp > 1<<63-1 {
			return fmt.Errorf("%w: time out of range", ErrQuerySignature)
		}
		age := now.Sub(time.Unix(0, int64(s.Timestamp))) //nolint:gosec // checked
		if age > MaxResponseAge || age < -MaxResponseAge {
			return fmt.Errorf("%w: signed %s ago", ErrQuerySignature, age.Round(time.Second))
		}
		der := nodeKey(s.Node)
		if der == nil {
			return fmt.Errorf("%w: unknown node %s", ErrQuerySignature, s.Node)
		}
		key, err := parsePublicKey(der, nil)
		if err != nil {
			return fmt.Errorf("%w: node %s: %w", ErrQuerySignature, s.Node, err)
		}
		if err := key.verify(ResponseMessage(q, requestID, s.Timestamp), s.Signature); err != nil {
			return fmt.Errorf("%w: node %s: %w", ErrQuerySignature, s.Node, err)
		}
	}
	return nil
}

// SubnetNodes is a subnet with the public keys of its nodes.
type SubnetNodes struct {
	Subnet candid.Principal
	Keys   map[candid.Principal][]byte // DER
}

// maxNodes bounds the nodes of one subnet; the largest has some forty.
const maxNodes = 1000

// SubnetNodesOf reads the nodes of the subnet that hosts a canister from a
// certificate about /subnet that v has verified for that canister.
func SubnetNodesOf(v *Verifier, c *Certificate, canister candid.Principal) (SubnetNodes, error) {
	subnet := v.signer(c)
	if c.Delegation == nil {
		// The root subnet does not delegate to itself: its ranges are in its own state.
		ranges, err := canisterRanges(c.Tree, subnet)
		if err != nil {
			return SubnetNodes{}, &CertificateError{err}
		}
		if !inRanges(canister, ranges) {
			return SubnetNodes{}, &CertificateError{fmt.Errorf("%w: %s, root subnet", ErrNotInRange, canister)}
		}
	}
	nodes := SubnetNodes{Subnet: subnet, Keys: make(map[candid.Principal][]byte)}
	tree, result := c.Tree.LookupSubtree([]byte("subnet"), []byte(subnet), []byte("node"))
	if result != Found {
		return nodes, &CertificateError{fmt.Errorf("nodes of subnet %s: %s", subnet, result)}
	}
	tree.eachNode(func(n *HashTree) bool {
		if n.kind != kindLabeled {
			return true
		}
		node, err := candid.PrincipalFromBytes(n.data)
		if err != nil {
			return true
		}
		if key, result := n.left.Lookup([]byte("public_key")); result == Found {
			nodes.Keys[node] = key
		}
		return len(nodes.Keys) < maxNodes
	})
	if len(nodes.Keys) == 0 {
		return nodes, &CertificateError{fmt.Errorf("subnet %s shows no nodes", subnet)}
	}
	return nodes, nil
}

// nodeKeys remembers the nodes of the subnets of canisters.
type nodeKeys struct {
	cache *cache[candid.Principal, cachedNodes]
}

type cachedNodes struct {
	SubnetNodes
	at time.Time
}

const (
	cachedNodeLists = 256
	// Nodes join and leave subnets; an unknown node leads to a new look at once,
	// but not more often than nodesRetry.
	nodesMaxAge = time.Hour
	nodesRetry  = 10 * time.Second
)

func newNodeKeys() *nodeKeys {
	return &nodeKeys{newCache[candid.Principal, cachedNodes](cachedNodeLists)}
}

// verifyQuery checks a query's answer against the subnet's nodes, which are
// fetched when they are not known, too old, or lack the node that signed.
func (c *Client) verifyQuery(ctx context.Context, canister candid.Principal, requestID [32]byte, q *QueryResponse) error {
	if len(q.Signatures) == 0 {
		return errUnsigned
	}
	now := c.opts.Now()
	known, ok := c.nodes.cache.get(canister)
	stale := !ok || now.Sub(known.at) > nodesMaxAge
	for _, s := range q.Signatures {
		stale = stale || known.Keys[s.Node] == nil && now.Sub(known.at) > nodesRetry
	}
	if stale {
		cert, err := c.ReadState(ctx, AnonymousIdentity{}, canister, [][][]byte{{[]byte("subnet")}})
		if err != nil {
			return fmt.Errorf("fetch node keys: %w", err)
		}
		nodes, err := SubnetNodesOf(c.Verifier(), cert, canister)
		if err != nil {
			return fmt.Errorf("fetch node keys: %w", err)
		}
		known = cachedNodes{nodes, now}
		c.nodes.cache.put(canister, known)
	}
	return VerifyResponse(q, requestID, now, func(node candid.Principal) []byte { return known.Keys[node] })
}
