package ic

import (
	"errors"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

const (
	nodeA = candid.Principal("node A")
	nodeB = candid.Principal("node B")
)

// subnets is the part of the state tree about subnets and their nodes.
func (n *testNet) subnets(nodes map[candid.Principal]Identity) map[string]*HashTree {
	keys := make(map[string]*HashTree)
	for node, id := range nodes {
		keys[string(node)] = Labeled([]byte("public_key"), Leaf(id.PublicKeyDER()))
	}
	about := map[string]*HashTree{"node": LabeledTree(keys)}
	root := map[string]*HashTree{"node": LabeledTree(keys), "canister_ranges": Leaf(EncodeCanisterRanges(n.ranges))}
	return map[string]*HashTree{"subnet": LabeledTree(map[string]*HashTree{
		string(n.subnetID): LabeledTree(about),
		string(n.rootID):   LabeledTree(root),
	})}
}

// queryReplica answers every query and knows the given nodes.
func queryReplica(t *testing.T, q QueryResponse, signer Identity, node candid.Principal) *replica {
	t.Helper()
	r := newReplica(t, nil)
	r.answer = func(in request) reply {
		switch in.path {
		case "v3/query":
			answer := q
			noError(t, SignResponse(&answer, in.id, node, signer, testTime))
			return reply{body: answer.Encode()}
		case "v3/read_state":
			return stateAnswer(r.certify(tree(testTime, r.subnets(map[candid.Principal]Identity{nodeA: r.node})), layoutNew))
		}
		return reply{status: 404}
	}
	return r
}

func TestQuery(t *testing.T) {
	id := must(NewEd25519Identity())(t)
	node := must(NewEd25519Identity())(t)
	for name, tt := range map[string]struct {
		q    QueryResponse
		want string
	}{
		"reply":       {QueryResponse{Reply: []byte("hello")}, ""},
		"empty reply": {QueryResponse{Reply: []byte{}}, ""},
		"reject":      {QueryResponse{Reject: &RejectError{Code: 5, Text: "trapped", ErrorCode: "IC0503"}}, "query since of " + canisterA.String() + ": rejected with code 5 (IC0503): trapped"},
		"reject old":  {QueryResponse{Reject: &RejectError{Code: 3, Text: "no such"}}, "rejected with code 3: no such"},
	} {
		for _, verify := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := queryReplica(t, tt.q, node, nodeA)
				r.node = node
				c := r.client(func(o *Options) { o.VerifyQueries = verify })
				for range 3 {
					got, err := c.Query(t.Context(), id, canisterA, "since", nil)
					if tt.want == "" {
						noError(t, err)
						equalBytes(t, got, tt.q.Reply)
						continue
					}
					errorContains(t, err, tt.want)
					equal(t, Retryable(err), false)
				}
				want := "v3/query v3/query v3/query"
				if verify { // the nodes are asked for once
					want = "v3/query v3/read_state v3/query v3/query"
				}
				equal(t, r.paths(), want)
				equal(t, r.requests[0].RequestType, candid.RequestQuery)
			})
		}
	}
}

func TestQueryVersions(t *testing.T) {
	r := newReplica(t, nil)
	r.answer = func(in request) reply {
		if in.path == "v3/query" || in.path == "v3/read_state" {
			return reply{status: 404}
		}
		if in.path == "v2/read_state" {
			return stateAnswer(r.certify(tree(testTime, nil), layoutOld))
		}
		q := QueryResponse{Reply: []byte("x")}
		return reply{body: q.Encode()}
	}
	c := r.client(nil)
	for range 2 {
		_, err := c.Query(t.Context(), AnonymousIdentity{}, canisterA, "m", nil)
		noError(t, err)
		_, err = c.ReadState(t.Context(), AnonymousIdentity{}, canisterA, [][][]byte{path("time")})
		noError(t, err)
	}
	equal(t, r.paths(), "v3/query v2/query v3/read_state v2/read_state v2/query v2/read_state")
}

func TestQueryRefused(t *testing.T) {
	id := must(NewEd25519Identity())(t)
	node, stranger := must(NewEd25519Identity())(t), must(NewEd25519Identity())(t)
	for name, tt := range map[string]struct {
		change func(r *replica)
		want   string
	}{
		"another node's key": {func(r *replica) { r.node = stranger }, "node " + nodeA.String() + ": signature does not match"},
		"no signature": {func(r *replica) {
			r.answer = func(request) reply { q := QueryResponse{Reply: []byte("x")}; return reply{body: q.Encode()} }
		}, "no signature"},
		"another request": {func(r *replica) {
			next := r.answer
			r.answer = func(in request) reply { in.id[0]++; return next(in) }
		}, "signature does not match"},
		"old": {func(r *replica) {
			next := r.answer
			r.answer = func(in request) reply {
				if in.path != "v3/query" {
					return next(in)
				}
				q := QueryResponse{Reply: []byte("x")}
				noError(t, SignResponse(&q, in.id, nodeA, node, testTime.Add(-6*time.Minute)))
				return reply{body: q.Encode()}
			}
		}, "signed 6m0s ago"},
		"nodes of another subnet": {func(r *replica) {
			next := r.answer
			r.answer = func(in request) reply {
				if in.path == "v3/read_state" {
					return stateAnswer(r.certifyRoot(tree(testTime, r.subnets(map[candid.Principal]Identity{nodeB: node}))))
				}
				return next(in)
			}
		}, "unknown node"},
		"no nodes": {func(r *replica) {
			next := r.answer
			r.answer = func(in request) reply {
				if in.path == "v3/read_state" {
					return stateAnswer(r.certify(tree(testTime, nil), layoutOld))
				}
				return next(in)
			}
		}, "fetch node keys: certificate: nodes of subnet"},
		"no CBOR": {func(r *replica) { r.answer = func(request) reply { return reply{body: []byte("x")} } }, "answer: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := queryReplica(t, QueryResponse{Reply: []byte("hello")}, node, nodeA)
			r.node = node
			tt.change(r)
			_, err := r.client(func(o *Options) { o.VerifyQueries = true }).Query(t.Context(), id, canisterA, "since", nil)
			errorContains(t, err, tt.want)
			equal(t, Retryable(err), true)
		})
	}
}

// TestQueryNewNode lets a node join the subnet after the node keys were fetched.
func TestQueryNewNode(t *testing.T) {
	node := must(NewEd25519Identity())(t)
	r := newReplica(t, nil)
	now := testTime
	nodes := map[candid.Principal]Identity{nodeA: node}
	signer := nodeA
	r.answer = func(in request) reply {
		if in.path == "v3/read_state" {
			return stateAnswer(r.certify(tree(now, r.subnets(nodes)), layoutNew))
		}
		q := QueryResponse{Reply: []byte("x")}
		noError(t, SignResponse(&q, in.id, signer, node, now))
		return reply{body: q.Encode()}
	}
	c := r.client(func(o *Options) {
		o.VerifyQueries = true
		o.Now = func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return now }
	})
	query := func() error {
		_, err := c.Query(t.Context(), AnonymousIdentity{}, canisterA, "m", nil)
		return err
	}
	noError(t, query())
	nodes[nodeB], signer = node, nodeB
	errorContains(t, query(), "unknown node") // looked a moment ago
	now = now.Add(nodesRetry + 1)
	noError(t, query())
	equal(t, r.paths(), "v3/query v3/read_state v3/query v3/query v3/read_state")
}

func TestNodesOfRootSubnet(t *testing.T) {
	n := newTestNet(t)
	v := n.verifier()
	cert := n.certifyRoot(tree(testTime, n.subnets(map[candid.Principal]Identity{nodeA: n.node})))
	c := must(v.Verify(cert, canisterA, testTime, maxAge))(t)
	nodes := must(SubnetNodesOf(v, c, canisterA))(t)
	equal(t, nodes.Subnet, n.rootID)
	equal(t, len(nodes.Keys), 1)
	_, err := SubnetNodesOf(v, c, outsideBoth)
	equal(t, errors.Is(err, ErrNotInRange), true)
}

func TestDecodeQueryResponse(t *testing.T) {
	full := QueryResponse{Reply: []byte("reply"), Signatures: []NodeSignature{{5, []byte("sig"), nodeA}}}
	raw := full.Encode()
	for i := range raw {
		if _, err := DecodeQueryResponse(raw[:i]); err == nil {
			t.Fatalf("prefix of %d bytes was accepted", i)
		}
	}
	q := must(DecodeQueryResponse(raw))(t)
	equal(t, string(q.Reply), "reply")
	equal(t, q.Signatures[0].Node, nodeA)
	many := QueryResponse{Reply: []byte{}, Signatures: make([]NodeSignature, maxSignatures+1)}
	for i := range many.Signatures {
		many.Signatures[i] = full.Signatures[0]
	}
	_, err := DecodeQueryResponse(many.Encode())
	errorContains(t, err, "too many signatures")
}

func FuzzAnswers(f *testing.F) {
	full := QueryResponse{Reply: []byte("reply"), Signatures: []NodeSignature{{5, []byte("sig"), nodeA}}}
	f.Add(full.Encode())
	full.Reject = &RejectError{Code: 5, Text: "text", ErrorCode: "IC0503"}
	f.Add(full.Encode())
	f.Add(replied([]byte("certificate")).body)
	f.Add(stateAnswer([]byte("certificate")).body)
	f.Add(rejectAnswer("non_replicated_rejection", full.Reject).body)
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := DecodeQueryResponse(b); err == nil {
			if _, err := DecodeQueryResponse(q.Encode()); err != nil && len(q.Signatures) > 0 {
				t.Fatal(err)
			}
		}
		_, _ = decodeCallAnswer(b)
		_, _ = decodeReadState(b)
		_, _ = decodeStatus(b)
	})
}
