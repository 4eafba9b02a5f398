package ic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

const maxAge = 5 * time.Minute

func TestMainnetCertificate(t *testing.T) {
	raw := unhex(t, string(readFile(t, "testdata/mainnet_rejected.hex")))
	v := must(NewVerifier(MainnetRootKey()))(t)
	equal(t, v.RootSubnet().String(), "tdb26-jop6k-aogll-7ltgs-eruif-6kk7m-qpktf-gdiqx-mxtrf-vb5e6-eqe")
	c := must(DecodeCertificate(raw))(t)
	for name, tt := range map[string]struct {
		canister string // hex
		ok       bool
	}{
		"first of the range": {"00000000002000000101", true},
		"inside":             {"000000000020000c0101", true},
		"last of the range":  {"00000000002fffff0101", true},
		"before":             {"00000000000000020101", false},
		"after":              {"00000000003000020101", false},
		"management":         {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Verify(raw, candid.Principal(unhex(t, tt.canister)), c.Time, maxAge)
			if !tt.ok {
				equal(t, errors.Is(err, ErrNotInRange), true)
				return
			}
			noError(t, err)
			text, result := got.Lookup(path("request_status")[0], requestOf(t, got), []byte("reject_message"))
			equal(t, result, Found)
			equal(t, string(text), `Canister ivg37-qiaaa-aaaab-aaaga-cai has no update method 'register'`)
		})
	}
	var reject *RejectError
	_, _, err := c.RequestStatus([32]byte(requestOf(t, c)))
	equal(t, errors.As(err, &reject), true)
	equal(t, reject.Code, 3)
	equal(t, reject.Certified, true)

	_, err = v.Verify(raw, candid.ManagementCanister, time.Now(), maxAge)
	equal(t, errors.Is(err, ErrCertificateTime), true)
	_, err = v.Verify(raw, candid.ManagementCanister, time.Now(), 0)
	noError(t, err)
}

// requestOf is the one request that a certificate shows.
func requestOf(tb testing.TB, c *Certificate) (id []byte) {
	tb.Helper()
	sub, result := c.Tree.LookupSubtree([]byte("request_status"))
	equal(tb, result, Found)
	sub.eachNode(func(n *HashTree) bool {
		if n.kind == kindLabeled {
			id = n.data
		}
		return true
	})
	return id
}

func TestVerify(t *testing.T) {
	n := newTestNet(t)
	data := map[string]*HashTree{"canister": Labeled([]byte(canisterA), Labeled([]byte("certified_data"), Leaf([]byte("data"))))}
	good := tree(testTime, data)
	other := newTestNet(t)
	other.root = must(GenerateBLSKey())(t)
	other.subnet = must(GenerateBLSKey())(t)

	flip := func(raw []byte, i int) []byte {
		b := bytes.Clone(raw)
		b[i] ^= 1
		return b
	}
	signature := n.sign(n.subnet, good)
	nested := EncodeCertificate(good, signature, n.delegation(layoutOld, testTime))
	tests := map[string]struct {
		cert     []byte
		canister candid.Principal
		now      time.Time
		want     string // "": valid
	}{
		"root":                     {n.certifyRoot(good), outsideBoth, testTime, ""},
		"delegated, old layout":    {n.certify(good, layoutOld), canisterA, testTime, ""},
		"delegated, new layout":    {n.certify(good, layoutNew), canisterA, testTime, ""},
		"second range, old layout": {n.certify(good, layoutOld), canisterB, testTime, ""},
		"second range, new layout": {n.certify(good, layoutNew), canisterB, testTime, ""},
		"outside, old layout":      {n.certify(good, layoutOld), outsideBoth, testTime, "outside the signing subnet"},
		"outside, new layout":      {n.certify(good, layoutNew), outsideBoth, testTime, "outside the signing subnet"},
		"no ranges":                {n.certify(good, layoutNone), canisterA, testTime, "outside the signing subnet"},
		"management canister":      {n.certify(good, layoutNone), "", testTime, ""},
		"five minutes old":         {n.certifyRoot(good), canisterA, testTime.Add(maxAge), ""},
		"older":                    {n.certifyRoot(good), canisterA, testTime.Add(maxAge + 1), "not current: 5m0s old"},
		"a little ahead":           {n.certifyRoot(good), canisterA, testTime.Add(-MaxClockSkew), ""},
		"far ahead":                {n.certifyRoot(good), canisterA, testTime.Add(-MaxClockSkew - 1), "in the future"},
		"another root":             {other.certifyRoot(good), canisterA, testTime, "does not match"},
		"another subnet's key":     {EncodeCertificate(good, other.sign(other.subnet, good), n.delegation(layoutOld, testTime)), canisterA, testTime, "does not match"},
		"delegation of another":    {other.certify(good, layoutOld), canisterA, testTime, "delegation to subnet"},
		"delegation from ahead":    {EncodeCertificate(good, signature, n.delegation(layoutOld, testTime.Add(time.Hour))), canisterA, testTime, "in the future"},
		"delegation for another":   {EncodeCertificate(good, signature, EncodeDelegation(n.rootID, n.certifyRoot(good))), canisterA, testTime, "public key: absent"},
		"subnet key under root":    {EncodeCertificate(good, signature, nil), canisterA, testTime, "does not match"},
		"nested delegations":       {EncodeCertificate(good, signature, EncodeDelegation(n.subnetID, nested)), canisterA, testTime, "cannot be nested"},
		"another tree":             {EncodeCertificate(tree(testTime, nil), signature, n.delegation(layoutOld, testTime)), canisterA, testTime, "does not match"},
		"a bit of the signature":   {EncodeCertificate(good, flip(signature, 47), n.delegation(layoutOld, testTime)), canisterA, testTime, "signature"},
		"no signature":             {EncodeCertificate(good, nil, n.delegation(layoutOld, testTime)), canisterA, testTime, "BLS signature of 0 bytes"},
		"signature at infinity":    {EncodeCertificate(good, append([]byte{0xc0}, make([]byte, 47)...), nil), canisterA, testTime, "does not match"},
		"no time":                  {n.certifyRoot(LabeledTree(data)), canisterA, testTime, "time: absent"},
		"time is no number":        {n.certifyRoot(Labeled([]byte("time"), Leaf([]byte{0x80}))), canisterA, testTime, "time: not a LEB128"},
		"time of 70 bits":          {n.certifyRoot(Labeled([]byte("time"), Leaf(bytes.Repeat([]byte{0xff}, 9)))), canisterA, testTime, "time: not a LEB128"},
		"time beyond 2262":         {n.certifyRoot(Labeled([]byte("time"), Leaf(EncodeLEB128(1<<63)))), canisterA, testTime, "2262"},
		"nothing":                  {nil, canisterA, testTime, "ends inside"},
		"not CBOR":                 {[]byte("certificate"), canisterA, testTime, "expected a map"},
		"no tree":                  {[]byte{0xa0}, canisterA, testTime, "no tree"},
		"trailing byte":            {append(n.certifyRoot(good), 0), canisterA, testTime, "after the end"},
	}
	v := n.verifier()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time from the cache
				c, err := v.Verify(tt.cert, tt.canister, tt.now, maxAge)
				if tt.want != "" {
					errorContains(t, err, tt.want)
					var ce *CertificateError
					equal(t, errors.As(err, &ce), true)
					equal(t, Retryable(err), true)
					continue
				}
				noError(t, err)
				equal(t, c.Time.Equal(testTime), true)
				value, result := c.Lookup([]byte("canister"), []byte(canisterA), []byte("certified_data"))
				equal(t, result, Found)
				equal(t, string(value), "data")
			}
		})
	}
}

func TestVerifySubnet(t *testing.T) {
	n := newTestNet(t)
	v := n.verifier()
	good := tree(testTime, nil)
	_, err := v.VerifySubnet(n.certify(good, layoutNone), n.subnetID, testTime, maxAge)
	noError(t, err)
	_, err = v.VerifySubnet(n.certifyRoot(good), n.rootID, testTime, maxAge)
	noError(t, err)
	_, err = v.VerifySubnet(n.certifyRoot(good), n.subnetID, testTime, maxAge)
	errorContains(t, err, "signed by subnet")
}

func TestRootKey(t *testing.T) {
	key := must(GenerateBLSKey())(t).PublicKeyDER()
	_, err := NewVerifier(key)
	noError(t, err)
	infinity := append([]byte(blsKeyPrefix), append([]byte{0xc0}, make([]byte, 95)...)...)
	// A point on the curve that lies outside the subgroup of the right order.
	outside := append([]byte(blsKeyPrefix), unhex(t, "a"+"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"+
		"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000002")...)
	for name, tt := range map[string]struct {
		der  []byte
		want string
	}{
		"nothing":        {nil, "not a DER-encoded"},
		"short":          {key[:132], "not a DER-encoded"},
		"long":           {append(bytes.Clone(key), 0), "not a DER-encoded"},
		"another scheme": {must(NewEd25519Identity())(t).PublicKeyDER(), "not a DER-encoded"},
		"infinity":       {infinity, "infinity"},
		"outside":        {outside, "BLS public key"},
		"not a point":    {append(bytes.Clone(key[:37]), bytes.Repeat([]byte{0xff}, 96)...), "BLS public key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewVerifier(tt.der)
			errorContains(t, err, "root key: ")
			errorContains(t, err, tt.want)
		})
	}
}

func TestCanisterRanges(t *testing.T) {
	raw := EncodeCanisterRanges([][2]candid.Principal{{canisterA, canisterB}})
	ranges := must(decodeRanges(raw))(t)
	equal(t, inRanges(canisterA, ranges), true)
	equal(t, inRanges(outsideBoth, ranges), true)
	equal(t, inRanges("\xff", ranges), false)
	for i := range raw {
		if _, err := decodeRanges(raw[:i]); err == nil {
			t.Fatalf("prefix of %d bytes was accepted", i)
		}
	}
	for name, raw := range map[string][]byte{
		"three ends":     {0x81, 0x83, 0x40, 0x40, 0x40},
		"one end":        {0x81, 0x81, 0x40},
		"long principal": append([]byte{0x81, 0x82, 0x40, 0x58, 0x1e}, make([]byte, 30)...),
		"trailing":       {0x80, 0x00},
	} {
		if _, err := decodeRanges(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestRepliesKeepOutNobody: certificates of replies come by the thousand and are not
// looked at again; those that are stay known.
func TestRepliesKeepOutNobody(t *testing.T) {
	n := newTestNet(t)
	v := n.verifier()
	v.signatures, v.replies = newCache[[32]byte, struct{}](4), newCache[[32]byte, struct{}](4)
	certificate := func(content byte) []byte {
		return n.certify(tree(testTime, map[string]*HashTree{"content": Leaf([]byte{content})}), layoutNew)
	}
	id := func(raw []byte) [32]byte {
		t.Helper()
		c := must(DecodeCertificate(raw))(t)
		subnet := must(v.delegation(c.Delegation, testTime))(t)
		h := sha256.New()
		h.Write(subnet.der)
		h.Write(stateRootMessage(c.Tree))
		h.Write(c.Signature)
		return [32]byte(h.Sum(nil))
	}
	lasting := certificate(0)
	must(v.Verify(lasting, canisterA, testTime, maxAge))(t)
	for i := range byte(6) {
		must(v.verifyFor(canisterA, certificate(i+1), testTime, maxAge, true))(t)
	}
	_, known := v.signatures.get(id(lasting))
	equal(t, known, true)

	last := certificate(6)
	_, known = v.signatures.get(id(last))
	equal(t, known, false)
	must(v.Verify(last, canisterA, testTime, maxAge))(t) // a poll that shows the same state
	_, known = v.signatures.get(id(last))
	equal(t, known, true)
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int, int](10)
	for i := range 1000 {
		c.put(i, i)
		c.get(0) // stays as long as it is used
		if n := len(c.young) + len(c.older); n > 11 {
			t.Fatalf("%d entries", n)
		}
	}
	_, ok := c.get(0)
	equal(t, ok, true)
	_, ok = c.get(500)
	equal(t, ok, false)
	_, ok = c.get(999)
	equal(t, ok, true)
}

// oursForJS are certificates for the script in testdata/js.
type oursForJS struct {
	Now          int64 // milliseconds
	RootKey      string
	Certificates []certForJS
	Trees        []treeForJS
}

type certForJS struct {
	Name, Certificate, Canister string
	Accept                      bool
}

type treeForJS struct {
	Tree, Digest string
}

func TestOursForJS(t *testing.T) {
	n := newTestNet(t)
	data := map[string]*HashTree{"canister": Labeled([]byte(canisterA), Labeled([]byte("certified_data"), Leaf([]byte("data"))))}
	good := tree(testTime, data)
	pruned := good.Prune(path("time"))
	wrong := EncodeCertificate(good, n.sign(n.subnet, pruned.Prune()), n.delegation(layoutOld, testTime))
	got := oursForJS{Now: testTime.UnixMilli(), RootKey: hex.EncodeToString(n.root.PublicKeyDER())}
	add := func(name string, cert []byte, canister candid.Principal, accept bool) {
		got.Certificates = append(got.Certificates, certForJS{name, hex.EncodeToString(cert), canister.String(), accept})
	}
	add("root", n.certifyRoot(good), canisterA, true)
	add("pruned", n.certifyRoot(pruned), canisterA, true)
	add("delegated", n.certify(good, layoutOld), canisterA, true)
	add("second range", n.certify(good, layoutOld), canisterB, true)
	add("outside", n.certify(good, layoutOld), outsideBoth, false)
	add("signature of the same digest", wrong, canisterA, true)
	add("another key", EncodeCertificate(good, n.sign(n.subnet, good), nil), canisterA, false)
	add("too old", n.certifyRoot(tree(testTime.Add(-6*time.Minute), nil)), canisterA, false)
	queue, keys := canisterTree(7)
	for _, t := range []*HashTree{specTree(), specTree().Prune(path("ax")), queue, queue.Prune([][]byte{[]byte("websocket"), keys[4]})} {
		got.Trees = append(got.Trees, treeForJS{hex.EncodeToString(t.Encode()), digestHex(t)})
	}
	const file = "testdata/js/ours.json"
	if *update {
		writeJSON(t, file, got)
	}
	var want oursForJS
	readJSON(t, file, &want)
	equal(t, got.Now, want.Now)
	equal(t, got.RootKey, want.RootKey)
	equal(t, len(got.Certificates), len(want.Certificates))
	for i := range got.Certificates {
		equal(t, got.Certificates[i], want.Certificates[i])
	}
	equal(t, len(got.Trees), len(want.Trees))
	for i := range got.Trees {
		equal(t, got.Trees[i], want.Trees[i])
	}
}

func BenchmarkVerify(b *testing.B) {
	n := newTestNet(b)
	v := n.verifier()
	b.Run("new certificate", func(b *testing.B) {
		certs := make([][]byte, 64)
		for i := range certs {
			certs[i] = n.certify(tree(testTime.Add(time.Duration(i)), nil), layoutNew)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			v.signatures = newCache[[32]byte, struct{}](2)
			if _, err := v.Verify(certs[i%len(certs)], canisterA, testTime, maxAge); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("seen before", func(b *testing.B) {
		cert := n.certify(tree(testTime, nil), layoutNew)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(cert, canisterA, testTime, maxAge); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new delegation", func(b *testing.B) {
		cert := n.certify(tree(testTime, nil), layoutNew)
		for b.Loop() {
			v.delegations = newCache[[32]byte, *subnetKey](2)
			if _, err := v.Verify(cert, canisterA, testTime, maxAge); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSignTree(b *testing.B) {
	key := must(GenerateBLSKey())(b)
	t := tree(testTime, nil)
	for b.Loop() {
		if _, err := key.SignTree(t); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzCertificate(f *testing.F) {
	n := newTestNet(f)
	t := tree(testTime, nil)
	f.Add(n.certifyRoot(t))
	f.Add(n.certify(t, layoutOld))
	f.Add(n.certify(t, layoutNew))
	f.Add(unhex(f, string(readFile(f, "testdata/mainnet_rejected.hex"))))
	v := n.verifier()
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := v.Verify(b, canisterA, testTime, 0); err != nil {
			var ce *CertificateError
			if !errors.As(err, &ce) {
				t.Fatal("not a CertificateError", err)
			}
		}
		_, _ = decodeRanges(b)
		r := cbor.NewReader(b)
		_, _ = readTree(&r)
	})
}
