package candid

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/internal/testalloc"
)

// The fuzz targets start from what the JavaScript libraries encoded and from
// the crash inputs, if any, under testdata/fuzz. They check that decoders do not
// panic, that what they accept survives a round trip, and that the general
// decoder accepts what a direct one does.

func seedCandid(f *testing.F) {
	f.Helper()
	for _, raw := range loadVectors(f).Candid {
		f.Add(unhex(f, raw))
	}
}

func FuzzDecode(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := Decode(b, Limits{})
		if err != nil {
			return
		}
		for _, v := range values {
			text := v.String()
			if len(text) > maxPrinted+len("...") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("printed as %q", text)
			}
		}
		d, err := newDecoder(b)
		if err == nil {
			err = d.end()
		}
		if err != nil {
			t.Fatalf("skipping refuses what decoding accepts: %v", err)
		}
	})
}

func FuzzOpenArgs(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		nonce, gateway, err := DecodeOpenArgs(b)
		if err != nil {
			return
		}
		n, g, err := DecodeOpenArgs(EncodeOpenArgs(nonce, gateway))
		if err != nil || n != nonce || g != gateway {
			t.Fatalf("%d %x became %d %x, %v", nonce, gateway, n, g, err)
		}
	})
}

func FuzzCloseArgs(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := DecodeCloseArgs(b)
		if err != nil {
			return
		}
		if again, err := DecodeCloseArgs(EncodeCloseArgs(k)); err != nil || again != k {
			t.Fatalf("%v became %v, %v", k, again, err)
		}
	})
}

func FuzzMessageArgs(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessageArgs(b)
		if err != nil {
			return
		}
		again, err := DecodeMessageArgs(EncodeMessageArgs(m))
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, again, m)
	})
}

func FuzzGetMessagesArgs(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeGetMessagesArgs(b)
		if err != nil {
			return
		}
		if again, err := DecodeGetMessagesArgs(EncodeGetMessagesArgs(n)); err != nil || again != n {
			t.Fatalf("%d became %d, %v", n, again, err)
		}
	})
}

func FuzzResult(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		text, refused, err := DecodeResult(b)
		if err != nil || (refused && text == "") {
			return
		}
		if text2, refused2, err := DecodeResult(EncodeResult(text)); err != nil || text2 != text || refused2 != refused {
			t.Fatalf("%q %v became %q %v, %v", text, refused, text2, refused2, err)
		}
	})
}

func FuzzOutputMessages(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, refused, err := DecodeOutputMessages(b)
		if err != nil || refused {
			return
		}
		again, _, _, err := DecodeOutputMessages(EncodeOutputMessages(m))
		if err != nil {
			t.Fatal(err)
		}
		sameBatch(t, again, m)
	})
}

func FuzzServiceMessage(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeServiceMessage(b)
		if err != nil || (m.Kind == CloseMessage && m.Reason == 0) {
			return
		}
		if again, err := DecodeServiceMessage(EncodeServiceMessage(m)); err != nil || again != m {
			t.Fatalf("%v became %v, %v", m, again, err)
		}
	})
}

func FuzzScalars(f *testing.F) {
	seedCandid(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := DecodeNat(b); err == nil {
			if again, err := DecodeNat(EncodeNat(n)); err != nil || again != n {
				t.Fatal(n, again, err)
			}
		}
		if s, err := DecodeText(b); err == nil {
			if again, err := DecodeText(EncodeText(s)); err != nil || again != s {
				t.Fatal(s, again, err)
			}
		}
		_, _ = DecodePage(b)
	})
}

func FuzzFrames(f *testing.F) {
	for _, raw := range loadVectors(f).CBOR {
		f.Add(unhex(f, raw))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodeHandshake(b); err == nil {
			if again, err := DecodeHandshake(EncodeHandshake(p)); err != nil || again != p {
				t.Fatal(p, again, err)
			}
		}
		if key, content, cert, tree, err := DecodeOutputFrame(b); err == nil {
			key2, content2, cert2, tree2, err := DecodeOutputFrame(EncodeOutputFrame(key, content, cert, tree))
			if err != nil || key2 != key || !bytes.Equal(content, content2) || !bytes.Equal(cert, cert2) || !bytes.Equal(tree, tree2) {
				t.Fatal(err)
			}
		}
		if m, err := DecodeWebsocketMessage(b); err == nil {
			again, err := DecodeWebsocketMessage(EncodeWebsocketMessage(m))
			if err != nil {
				t.Fatal(err)
			}
			sameMessage(t, again, m)
		}
	})
}

func FuzzClientFrame(f *testing.F) {
	for _, js := range loadEnvelopes(f) {
		if js.Frame != "" {
			f.Add(unhex(f, js.Frame))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		envelope, err := DecodeClientFrame(b)
		if err != nil {
			return
		}
		again, err := DecodeClientFrame(EncodeClientFrame(envelope))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimPrefix(envelope, []byte("\xd9\xd9\xf7")), again) {
			t.Fatalf("%x became %x", envelope, again)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	for _, js := range loadEnvelopes(f) {
		f.Add(js.bytes(f))
	}
	for _, e := range sampleEnvelopes() {
		f.Add(e.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		id := e.RequestID()
		again, err := DecodeEnvelope(e.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if again.RequestID() != id {
			t.Fatal("the request id changed")
		}
	})
}

func FuzzPrincipal(f *testing.F) {
	for _, text := range loadVectors(f).Principals {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePrincipal(text); err == nil && p.String() != text {
			t.Fatalf("%q became %q", text, p)
		}
	})
}

// pages are answers of feeds.
func pages() [][]byte {
	return [][]byte{
		didl([]string{oVec + oEmpty}, "\x01\x00", "\x00"),
		didl([]string{oVec + oNull}, "\x01\x00", uvarint(1000)),
		didl([]string{oVec + oNat8}, "\x02\x00"+oNat, "\x03abc\x05"),
		didl([]string{oVec + "\x01", oVec + oText}, "\x01\x00", "\x02\x01\x01a\x00"),
		pageOf(oNat, "\x01", "\x07\x02\x01a\x01b"),
		pageOf(oNat, "\x02", "\x05\x05"),
		pageOf(oNat64, "\x01", "12345678\x00"),
		pageOf(oNat, "\x01", uvarint(1<<64-1)+"\x00"),
		pageOf(oNat, "\x03", "\x00\x00"),
		pageOf(oReserved, oReserved, ""),
	}
}

// Stepping over a page finds what decoding all of it finds.
func FuzzPage(f *testing.F) {
	seedCandid(f)
	for _, raw := range pages() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		page, err := DecodePage(b)
		values, errAll := Decode(b, Limits{Depth: maxDepth, Values: 1 << 17, Digits: 1 << 17})
		switch {
		case errAll != nil:
			if err == nil && !errors.Is(errAll, errValues) && !errors.Is(errAll, errDepth) {
				t.Fatalf("decoding refuses a page of %d items: %v", page.Items, errAll)
			}
		case len(values) == 0:
			if err == nil {
				t.Fatal("a page in an empty tuple")
			}
		default:
			samePage(t, page, err, values[0])
		}
	})
}

func samePage(t *testing.T, page Page, err error, value Value) {
	t.Helper()
	items, next := value, Value{}
	if value.Kind() == KindRecord {
		items, next = value.Field("items"), value.Field("next")
	}
	isList := items.Kind() == KindVec || items.Kind() == KindBlob
	switch {
	case err == nil && (!isList || items.Len() != page.Items):
		t.Fatalf("%+v of a %s of %d", page, items.Kind(), items.Len())
	case err == nil && page.HasNext != (next.Kind() == KindNat):
		t.Fatalf("%+v where next is a %s", page, next.Kind())
	case err == nil && page.HasNext:
		if n, ok := next.Uint64(); !ok || n != page.Next {
			t.Fatalf("%+v where next is %s", page, next)
		}
	case err != nil && isList && value.Kind() != KindRecord && !errors.Is(err, errWork) && !errors.Is(err, errDepth):
		t.Fatalf("a %s of %d is no page: %v", items.Kind(), items.Len(), err)
	}
}

// What a decoder allocates is in proportion to its input, or within the limits
// that it was given, whatever the input claims to be.
func FuzzAllocations(f *testing.F) {
	seedCandid(f)
	for _, raw := range pages() {
		f.Add(raw)
	}
	for _, raw := range loadVectors(f).CBOR {
		f.Add(unhex(f, raw))
	}
	for _, js := range loadEnvelopes(f) {
		f.Add(js.bytes(f))
	}
	const (
		perByte = 256 // the dearest byte is one of a type table: an entry takes some fifty for two
		values  = 1000
		each    = 640
	)
	decoders := []struct {
		name string
		more int
		run  func([]byte)
	}{
		{"Decode", values * each, func(b []byte) { _, _ = Decode(b, Limits{Values: values}) }},
		{"DecodePage", 0, func(b []byte) { _, _ = DecodePage(b) }},
		{"DecodeOpenArgs", 0, func(b []byte) { _, _, _ = DecodeOpenArgs(b) }},
		{"DecodeCloseArgs", 0, func(b []byte) { _, _ = DecodeCloseArgs(b) }},
		{"DecodeMessageArgs", 0, func(b []byte) { _, _ = DecodeMessageArgs(b) }},
		{"DecodeGetMessagesArgs", 0, func(b []byte) { _, _ = DecodeGetMessagesArgs(b) }},
		{"DecodeResult", 0, func(b []byte) { _, _, _ = DecodeResult(b) }},
		{"DecodeOutputMessages", 0, func(b []byte) { _, _, _, _ = DecodeOutputMessages(b) }},
		{"DecodeServiceMessage", 0, func(b []byte) { _, _ = DecodeServiceMessage(b) }},
		{"DecodeHandshake", 0, func(b []byte) { _, _ = DecodeHandshake(b) }},
		{"DecodeOutputFrame", 0, func(b []byte) { _, _, _, _, _ = DecodeOutputFrame(b) }},
		{"DecodeWebsocketMessage", 0, func(b []byte) { _, _ = DecodeWebsocketMessage(b) }},
		{"DecodeClientFrame", 0, func(b []byte) { _, _ = DecodeClientFrame(b) }},
		{"DecodeEnvelope", 0, func(b []byte) { _, _ = DecodeEnvelope(b) }},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range decoders {
			testalloc.Within(t, d.name, d.more+perByte*len(b), func() { d.run(b) })
		}
	})
}

// The request id, which is what is signed, stands for all of the content and for
// nothing else: two envelopes share one if and only if they say the same.
func FuzzRequestID(f *testing.F) {
	for _, js := range loadEnvelopes(f) {
		f.Add(js.bytes(f), uint16(7), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint16, change byte) {
		e, err := DecodeEnvelope(b)
		if err != nil || len(b) == 0 || change == 0 {
			return
		}
		other := bytes.Clone(b)
		other[int(at)%len(other)] ^= change
		o, err := DecodeEnvelope(other)
		if err != nil {
			return
		}
		same := sameContent(e, o)
		if same != (e.RequestID() == o.RequestID()) {
			t.Fatalf("the same content is %v, the same id %v: %+v, %+v", same, !same, e, o)
		}
	})
}

// sameContent compares what a request id stands for.
func sameContent(a, b *Envelope) bool {
	samePath := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
	sameExtra := func(a, b extraField) bool { return a.key == b.key && a.hash == b.hash }
	byKey := func(a, b extraField) int { return strings.Compare(a.key, b.key) }
	extraOfA, extraOfB := slices.SortedFunc(slices.Values(a.extra), byKey), slices.SortedFunc(slices.Values(b.extra), byKey)
	sameNonce := bytes.Equal(a.Nonce, b.Nonce) && (a.Nonce == nil) == (b.Nonce == nil)
	return a.RequestType == b.RequestType && a.Canister == b.Canister && a.Method == b.Method && bytes.Equal(a.Arg, b.Arg) && a.Sender == b.Sender &&
		a.IngressExpiry == b.IngressExpiry && sameNonce && slices.EqualFunc(a.Paths, b.Paths, samePath) &&
		slices.EqualFunc(extraOfA, extraOfB, sameExtra)
}
