package ic

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/internal/testalloc"
)

// The fuzz targets here start from what was really signed or certified. What
// a check accepts after a change must still say what the signer said.

// altered changes, cuts or repeats one part of b.
func altered(b []byte, how byte, at uint16, with []byte) []byte {
	b = bytes.Clone(b)
	i := int(at) % (len(b) + 1)
	switch how % 5 {
	case 0:
		copy(b[i:], with)
	case 1:
		b = slices.Insert(b, i, with...)
	case 2:
		b = slices.Delete(b, i, min(i+len(with), len(b)))
	case 3:
		for n := range min(len(with), len(b)-i) {
			b[i+n] ^= with[n]
		}
	case 4:
		b = append(b[:i], with...)
	}
	return b
}

// FuzzForgedCertificate: certificates of the root subnet and of another one,
// changed. Whatever is accepted has the tree of one that was signed.
func FuzzForgedCertificate(f *testing.F) {
	n := newTestNet(f)
	v := n.verifier()
	var signed [][]byte
	trees := make(map[[32]byte]bool)
	for i, at := range []time.Time{testTime, testTime.Add(-time.Minute)} {
		t := tree(at, map[string]*HashTree{"canister": Labeled([]byte(canisterA), Labeled([]byte("certified_data"), Leaf([]byte{byte(i)})))}) //nolint:gosec // two
		trees[t.Digest()] = true
		signed = append(signed, n.certifyRoot(t), n.certify(t, layoutOld), n.certify(t, layoutNew), n.certify(t, layoutNone))
	}
	for i, raw := range signed {
		_, err := v.Verify(raw, canisterA, testTime, 0)
		equal(f, err == nil, i%4 != 3)
		f.Add(byte(i), byte(0), uint16(0), []byte{})
		f.Add(byte(i), byte(3), uint16(40+i), []byte{1})                 //nolint:gosec // small
		f.Add(byte(i), byte(4), uint16(len(raw)-20), signed[0][10:60])   //nolint:gosec // small
		f.Add(byte(i), byte(0), uint16(len(raw)/2), signed[1][100:148])  //nolint:gosec // small
		f.Add(byte(i), byte(1), uint16(3), cbor.AppendText(nil, "tree")) //nolint:gosec // small
	}
	f.Fuzz(func(t *testing.T, which, how byte, at uint16, with []byte) {
		raw := altered(signed[int(which)%len(signed)], how, at, with)
		for _, canister := range []candid.Principal{canisterA, outsideBoth} {
			c, err := v.Verify(raw, canister, testTime, 0)
			var ce *CertificateError
			switch {
			case err != nil && !errors.As(err, &ce):
				t.Fatal("not a CertificateError", err)
			case err == nil && !trees[c.Tree.Digest()]:
				t.Fatalf("accepted, though nobody signed it: %x", raw)
			case err == nil && c.Delegation != nil && (c.Delegation.Subnet != n.subnetID || canister == outsideBoth):
				t.Fatalf("accepted for %s from subnet %s", canister, c.Delegation.Subnet)
			}
		}
	})
}

// signers are identities of every scheme.
func signers(f *testing.F, n *testNet) []Identity {
	f.Helper()
	var all []Identity
	for _, ids := range []map[string]Identity{identities(f), webauthnIdentities(f)} {
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			all = append(all, ids[name])
		}
	}
	return append(all, newCanisterSigner(f, n, canisterA))
}

// FuzzForgedEnvelope puts envelopes together from the parts of signed ones, of
// every scheme and with delegations, and changes a part. Whatever is accepted
// is a request that its sender has signed.
func FuzzForgedEnvelope(f *testing.F) {
	n := newTestNet(f)
	var signed []*candid.Envelope
	for _, id := range signers(f, n) {
		session := must(NewEd25519Identity())(f)
		inner := must(NewEd25519Identity())(f)
		one := must(Delegate(id, session.PublicKeyDER(), nanos(testTime.Add(time.Hour))))(f)
		two := must(Delegate(session, inner.PublicKeyDER(), nanos(testTime.Add(time.Hour)), canisterA))(f)
		signed = append(signed,
			signedCall(f, id),
			signedCall(f, NewDelegatedIdentity(id.PublicKeyDER(), []candid.Delegation{one}, session)),
			signedCall(f, NewDelegatedIdentity(id.PublicKeyDER(), []candid.Delegation{one, two}, inner)))
	}
	with := WithVerifier(n.verifier())
	known := make(map[[32]byte]candid.Principal)
	for i, e := range signed {
		noError(f, VerifyEnvelope(e, testTime, with))
		known[e.RequestID()] = e.Sender
		f.Add(byte(i), byte(i), byte(i), byte(i), byte(0), uint16(0), []byte{})
		f.Add(byte(i), byte(i+1), byte(i), byte(i), byte(0), uint16(0), []byte{})
		f.Add(byte(i), byte(i), byte(i), byte(i+1), byte(0), uint16(0), []byte{})
		f.Add(byte(i), byte(i), byte(i), byte(i), byte(3), uint16(30), []byte{1})
		f.Add(byte(i), byte(i), byte(i), byte(i), byte(3), uint16(len(e.Encode())-9), []byte{1}) //nolint:gosec // small
	}
	f.Fuzz(func(t *testing.T, content, key, signature, delegations, how byte, at uint16, bytes []byte) {
		part := func(i byte) *candid.Envelope { return signed[int(i)%len(signed)] }
		e := *part(content)
		e.SenderPubkey, e.SenderSig, e.Delegations = part(key).SenderPubkey, part(signature).SenderSig, part(delegations).Delegations
		changed, err := candid.DecodeEnvelope(altered(e.Encode(), how, at, bytes))
		if err != nil || VerifyEnvelope(changed, testTime, with) != nil || changed.Sender.IsAnonymous() {
			return
		}
		if sender, ok := known[changed.RequestID()]; !ok || sender != changed.Sender {
			t.Fatalf("accepted, though nobody signed it: %+v", changed)
		}
	})
}

// FuzzPublicKey reads DER keys of every scheme, and checks signatures with
// them. Keys that the standard library knows must be keys for it, too, and
// nothing but the message verifies.
func FuzzPublicKey(f *testing.F) {
	n := newTestNet(f)
	v := n.verifier()
	message := []byte("message")
	for _, id := range signers(f, n) {
		f.Add(id.PublicKeyDER(), must(id.Sign(message))(f))
	}
	f.Add(unhex(f, "302a300506032b6570032100"), []byte{})
	f.Add(n.root.PublicKeyDER(), make([]byte, 48))
	f.Fuzz(func(t *testing.T, der, signature []byte) {
		testalloc.Within(t, "a public key", 64*(len(der)+len(signature)), func() {
			key, err := parsePublicKey(der, v)
			if err != nil {
				return
			}
			sameKey(t, key, der)
			// A signature that is good for one message is for no other.
			if key.verify(message, signature) == nil && key.verify([]byte("another"), signature) == nil {
				t.Fatalf("%x signs anything for %x", signature, der)
			}
		})
	})
}

func sameKey(t *testing.T, key publicKey, der []byte) {
	t.Helper()
	var want any
	switch key := key.(type) {
	case ed25519Key:
		want = ed25519.PublicKey(key)
	case *p256Key:
		want = (*ecdsa.PublicKey)(key)
	default:
		return
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatalf("%x is accepted: %v", der, err)
	}
	if !parsed.(interface{ Equal(x crypto.PublicKey) bool }).Equal(want) {
		t.Fatalf("%x is another key", der)
	}
}

// FuzzPrune: whatever a tree looks like, pruning it keeps its digest and, where
// it is well-formed, what it says about the path, and shows nothing else.
func FuzzPrune(f *testing.F) {
	add := func(t *HashTree, paths ...string) {
		for _, p := range paths {
			f.Add(t.Encode(), p)
		}
	}
	add(specTree(), "a", "a/x", "a/z", "b", "d", "c/q", "")
	f.Add(unhex(f, specPrunedHex), "a/y")
	big, keys := canisterTree(20)
	add(big, "websocket/"+string(keys[7]), "websocket", "websocket/nobody", "canister")
	add(Fork(Labeled([]byte("b"), Leaf(nil)), Labeled([]byte("a"), Leaf(nil))), "a", "b", "c")
	add(Leaf([]byte("value")), "below") // a value that nobody has asked for is not shown
	add(Fork(Pruned([32]byte{1}), Labeled([]byte("m"), Empty())), "a", "m", "z")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tree, err := DecodeHashTree(raw)
		if err != nil {
			return
		}
		wanted := path(strings.Split(text, "/")...)
		pruned := tree.Prune(wanted)
		if pruned.Digest() != tree.Digest() {
			t.Fatal("pruning changed the digest")
		}
		encoded := pruned.Encode()
		if witness := tree.AppendWitness(cbor.AppendSelfDescribe(nil), wanted...); !bytes.Equal(witness, encoded) {
			t.Fatalf("%q: the witness is %x, and pruned %x", text, witness, encoded)
		}
		if again, err := DecodeHashTree(encoded); err != nil || again.Digest() != tree.Digest() {
			t.Fatalf("what was pruned cannot be read again: %v", err)
		}
		if !tree.WellFormed() {
			return
		}
		if !pruned.WellFormed() {
			t.Fatal("pruning made it ill-formed")
		}
		value, result := tree.Lookup(wanted...)
		if after, resultAfter := pruned.Lookup(wanted...); (resultAfter != result || !bytes.Equal(after, value)) && !belowValue(tree, wanted) {
			t.Fatalf("%q: %s %x became %s %x", text, result, value, resultAfter, after)
		}
		if n := leaves(pruned); n > leaves(subtree(tree, wanted)) {
			t.Fatalf("%q: %s, and %d leaves are shown", text, result, n)
		}
	})
}

// subtree is what stands below a path, the empty tree if nothing does.
func subtree(t *HashTree, path [][]byte) *HashTree {
	if sub, result := t.LookupSubtree(path...); result == Found {
		return sub
	}
	return Empty()
}

// belowValue reports whether a path goes on where the tree has a value.
func belowValue(t *HashTree, path [][]byte) bool {
	for i := range path {
		if subtree(t, path[:i]).kind == kindLeaf {
			return true
		}
	}
	return false
}

func leaves(t *HashTree) int {
	n := 0
	t.eachNode(func(node *HashTree) bool {
		switch node.kind {
		case kindLeaf:
			n++
		case kindLabeled:
			n += leaves(node.left)
		}
		return true
	})
	return n
}

// specLookup is find_label and lookup_path of the interface specification, as
// they stand there.
func specLookup(t *HashTree, path [][]byte) (*HashTree, LookupResult) {
	if len(path) == 0 {
		return t, Found
	}
	var forest []*HashTree
	t.eachNode(func(node *HashTree) bool {
		forest = append(forest, node)
		return true
	})
	for _, node := range forest {
		if node.kind == kindLabeled && bytes.Equal(node.data, path[0]) {
			return specLookup(node.left, path[1:])
		}
	}
	less := func(node *HashTree) bool { return node.kind == kindLabeled && bytes.Compare(node.data, path[0]) < 0 }
	greater := func(node *HashTree) bool { return node.kind == kindLabeled && bytes.Compare(path[0], node.data) < 0 }
	switch {
	case len(forest) == 0,
		len(forest) == 1 && forest[0].kind == kindLeaf,
		greater(forest[0]), less(forest[len(forest)-1]):
		return nil, Absent
	}
	for i := range len(forest) - 1 {
		if less(forest[i]) && greater(forest[i+1]) {
			return nil, Absent
		}
	}
	return nil, Unknown
}

// FuzzLookup compares lookups in well-formed trees with the specification's
// algorithm. In others, a lookup may find less, but never something else.
func FuzzLookup(f *testing.F) {
	for _, p := range []string{"a", "a/x", "a/y", "b", "c/q", "d", "e", ""} {
		f.Add(specTree().Encode(), p)
		f.Add(unhex(f, specPrunedHex), p)
	}
	big, keys := canisterTree(20)
	witness := big.Prune([][]byte{[]byte("websocket"), keys[7]})
	for _, key := range []string{string(keys[7]), string(keys[8]), string(keys[0]), "zzz"} {
		f.Add(witness.Encode(), "websocket/"+key)
	}
	f.Add(Leaf([]byte("x")).Encode(), "x")
	f.Add(Fork(Labeled([]byte("a"), Leaf(nil)), Leaf(nil)).Encode(), "b")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		var tree *HashTree
		var err error
		testalloc.Within(t, "a hash tree", 100*len(raw), func() { tree, err = DecodeHashTree(raw) })
		if err != nil {
			return
		}
		wanted := path(strings.Split(text, "/")...)
		sub, result := tree.LookupSubtree(wanted...)
		want, wantResult := specLookup(tree, wanted)
		if tree.WellFormed() && (result != wantResult || sub != want) {
			t.Fatalf("%q: %s, by the specification %s", text, result, wantResult)
		}
		if value, result := tree.Lookup(wanted...); result == Found && !bytes.Contains(raw, value[:min(len(value), 20)]) && !bytes.Contains(raw, []byte{0x5f}) {
			t.Fatalf("%q: %x is not in the tree", text, value)
		}
	})
}

// FuzzNodeSignature: a query's answer, changed. Whatever is accepted is what
// the node has answered.
func FuzzNodeSignature(f *testing.F) {
	node := must(NewEd25519Identity())(f)
	id := [32]byte{1}
	answers := []*QueryResponse{
		{Reply: []byte("reply")},
		{Reply: []byte{}},
		{Reject: &RejectError{Code: 5, Text: "text", ErrorCode: "IC0503"}},
		{Reject: &RejectError{Code: 3, Text: "text"}},
	}
	known := make(map[string]bool)
	content := func(q *QueryResponse) string {
		if len(q.Signatures) == 0 {
			return ""
		}
		return string(ResponseMessage(q, id, q.Signatures[0].Timestamp))
	}
	for i, q := range answers {
		noError(f, SignResponse(q, id, nodeA, node, testTime))
		known[content(q)] = true
		raw := q.Encode()
		f.Add(byte(i), byte(0), uint16(0), []byte{})
		for _, at := range []int{12, 30, len(raw) - 50, len(raw) - 5} {
			f.Add(byte(i), byte(3), uint16(at), []byte{1}) //nolint:gosec // small
		}
	}
	f.Fuzz(func(t *testing.T, which, how byte, at uint16, with []byte) {
		raw := altered(answers[int(which)%len(answers)].Encode(), how, at, with)
		q, err := DecodeQueryResponse(raw)
		if err != nil {
			return
		}
		err = VerifyResponse(q, id, testTime, func(p candid.Principal) []byte {
			if p == nodeA {
				return node.PublicKeyDER()
			}
			return nil
		})
		if err == nil && !known[content(q)] {
			t.Fatalf("accepted, though no node signed it: %+v", q)
		}
	})
}

// answerer is a network that gives one answer to everything.
type answerer struct {
	status     int
	retryAfter string
	body       []byte
}

func (a answerer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Retry-After": {a.retryAfter}, "Location": {"http://elsewhere.example/"}},
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: -1, Request: r,
	}, nil
}

// FuzzNetwork: whatever a boundary node answers, nothing that the network has
// not signed becomes a reply, and nobody waits longer than the bound.
func FuzzNetwork(f *testing.F) {
	n := newTestNet(f)
	signed := QueryResponse{Reply: []byte("reply")}
	noError(f, SignResponse(&signed, [32]byte{1}, nodeA, n.node, testTime))
	cert := n.certify(tree(testTime, requestStatus([32]byte{1}, map[string]string{"status": "replied", "reply": "reply"})), layoutOld)
	for _, body := range [][]byte{
		signed.Encode(), replied(cert).body, stateAnswer(cert).body,
		rejectAnswer("non_replicated_rejection", &RejectError{Code: 2, Text: "busy"}).body,
		cbor.AppendBytes(cbor.AppendText(cbor.AppendMap(cbor.AppendSelfDescribe(nil), 1), "root_key"), n.root.PublicKeyDER()),
		[]byte("<html>"), nil,
	} {
		for _, status := range []uint16{200, 202, 302, 403, 404, 429, 503} {
			f.Add(status, "Wed, 21 Oct 2065 07:28:00 GMT", body)
		}
	}
	for _, after := range []string{"", "7", "-1", "99999999999999999999", "1e3", " 5", "2147483647"} {
		f.Add(uint16(429), after, []byte("slow down"))
	}
	v := n.verifier()
	f.Fuzz(func(t *testing.T, status uint16, retryAfter string, body []byte) {
		ctx := t.Context()
		verified := must(NewClient(Options{
			URL: "http://network.example", Verifier: v, VerifyQueries: true, Now: func() time.Time { return testTime },
			Transport: answerer{int(status), retryAfter, body},
		}))(t)
		defer verified.Close()
		_, errQuery := verified.Query(ctx, AnonymousIdentity{}, canisterA, "method", nil)
		_, errState := verified.ReadState(ctx, AnonymousIdentity{}, canisterA, [][][]byte{path("time")})
		_, errStatus := verified.Status(ctx)
		for _, err := range []error{errQuery, errState, errStatus} {
			if wait := RetryAfter(err); wait < 0 || wait > maxRetryAfter {
				t.Fatalf("a pause of %s", wait)
			}
			var h *HTTPError
			if errors.As(err, &h) && (len(h.Text) > 3*maxErrorText || strings.ContainsFunc(h.Text, func(r rune) bool { return r < ' ' || r == 0x7f })) {
				t.Fatalf("an error of %d bytes: %q", len(h.Text), h.Text)
			}
		}
		outcome, errCall := verified.Submit(ctx, canisterA, nil, [32]byte{1}, nil)
		if errCall == nil && !outcome.Accepted && string(outcome.Reply) != "reply" {
			t.Fatalf("a reply to a call that nobody certified: %x", outcome.Reply)
		}
		var reject *RejectError
		if errors.As(errCall, &reject) && reject.Certified {
			t.Fatalf("a certified rejection that nobody certified: %x", body)
		}
		if errQuery == nil || errors.As(errQuery, &reject) {
			t.Fatalf("a reply that no node signed for this request: %x, %v", body, errQuery)
		}
	})
}
