package candid

import (
	"bytes"
	"testing"
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
			_ = v.String()
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
