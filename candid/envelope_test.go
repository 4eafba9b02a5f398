package candid

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/icrelay/icrelay/candid/cbor"
)

type jsEnvelope struct {
	Name, Frame, Envelope, RequestID, Sender, Kind string
}

func loadEnvelopes(tb testing.TB) []jsEnvelope {
	tb.Helper()
	var raw []map[string]string
	readJSON(tb, "testdata/js/envelopes.json", &raw)
	list := make([]jsEnvelope, len(raw))
	for i, m := range raw {
		list[i] = jsEnvelope{m["name"], m["frame"], m["envelope"], m["request_id"], m["sender"], m["kind"]}
	}
	return list
}

// bytes returns the envelope, unwrapped if it came in a client's frame.
func (e jsEnvelope) bytes(tb testing.TB) []byte {
	tb.Helper()
	if e.Frame == "" {
		return unhex(tb, e.Envelope)
	}
	b, err := DecodeClientFrame(unhex(tb, e.Frame))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestEnvelopesOfJS(t *testing.T) {
	for _, js := range loadEnvelopes(t) {
		t.Run(js.Name, func(t *testing.T) {
			b := js.bytes(t)
			e, err := DecodeEnvelope(b)
			if err != nil {
				t.Fatal(err)
			}
			id := e.RequestID()
			equal(t, hex.EncodeToString(id[:]), js.RequestID)
			equal(t, e.Sender.String(), js.Sender)
			equal(t, e.RequestType, js.Kind)
			equal(t, e.HasExtraFields(), js.Name == "extra")

			again, err := DecodeEnvelope(e.Encode())
			if err != nil {
				t.Fatal(err)
			}
			equal(t, again.RequestID(), id)
			equalBytes(t, again.SenderSig, e.SenderSig)
			equalBytes(t, again.SenderPubkey, e.SenderPubkey)
			equal(t, len(again.Delegations), len(e.Delegations))
			for i := range e.Delegations {
				equal(t, again.Delegations[i].Hash(), e.Delegations[i].Hash())
			}
			for i := range b {
				if _, err := DecodeEnvelope(b[:i]); err == nil {
					t.Fatalf("prefix of %d bytes was accepted", i)
				}
			}
		})
	}
}

func TestEnvelopeFieldsOfJS(t *testing.T) {
	for _, js := range loadEnvelopes(t) {
		e, err := DecodeEnvelope(js.bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		switch js.Name {
		case "chain":
			equal(t, len(e.Delegations), 2)
			equal(t, len(e.Delegations[0].Targets), 0)
			equal(t, len(e.Delegations[1].Targets), 1)
			equal(t, e.Delegations[0].Expiration, 4102444800000000000)
			fallthrough
		case "ed25519", "secp256k1", "p256", "delegated":
			equal(t, e.Canister.String(), "bkyz2-fmaaa-aaaaa-qaaaq-cai")
			equal(t, e.Method, "ws_open")
			equal(t, len(e.Nonce), 16)
			nonce, gateway, err := DecodeOpenArgs(e.Arg)
			equal(t, err, nil)
			equal(t, nonce, 42)
			equal(t, gateway.String(), gatewayText)
		case "bignum":
			equal(t, e.IngressExpiry, 1700000000000000000)
		case "read_state":
			equal(t, len(e.Paths), 2)
			equal(t, string(e.Paths[1][0]), "request_status")
		}
	}
}

// TestRequestIDOfSpecification is the example of the interface specification.
func TestRequestIDOfSpecification(t *testing.T) {
	e := Envelope{
		RequestType: RequestCall, Sender: Anonymous, IngressExpiry: 1685570400000000000,
		Canister: "\x00\x00\x00\x00\x00\x00\x04\xd2", Method: "hello", Arg: []byte("DIDL\x00\xfd*"),
	}
	id := e.RequestID()
	equal(t, hex.EncodeToString(id[:]), "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101")
}

// content builds the CBOR of an envelope from raw key-value pairs of its content.
func envelopeOf(content ...string) []byte {
	inner := cbor.AppendMap(nil, len(content)/2)
	for i := 0; i < len(content); i += 2 {
		inner = append(cbor.AppendText(inner, content[i]), content[i+1]...)
	}
	return append(cbor.AppendText(cbor.AppendMap(nil, 1), "content"), inner...)
}

func TestDecodeEnvelopeRefuses(t *testing.T) {
	good := []string{
		"request_type", "\x64call", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x40",
		"sender", "\x41\x04", "ingress_expiry", "\x01",
	}
	if _, err := DecodeEnvelope(envelopeOf(good...)); err != nil {
		t.Fatal(err)
	}
	with := func(pairs ...string) []byte { return envelopeOf(append(slices.Clone(good), pairs...)...) }
	changed := func(key, value string) []byte {
		pairs := slices.Clone(good)
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				pairs[i+1] = value
			}
		}
		return envelopeOf(pairs...)
	}
	without := func(key string) []byte {
		var pairs []string
		for i := 0; i < len(good); i += 2 {
			if good[i] != key {
				pairs = append(pairs, good[i], good[i+1])
			}
		}
		return envelopeOf(pairs...)
	}
	delegations := func(n int) []byte {
		b := envelopeOf(good...)
		b[0] = 0xa2
		b = cbor.AppendArray(cbor.AppendText(b, "sender_delegation"), n)
		for range n {
			d := Delegation{Pubkey: []byte("k"), Signature: []byte("s")}
			b = d.appendSigned(b)
		}
		return b
	}
	var deep []byte
	for range 200 {
		deep = append(deep, 0x81)
	}
	tests := map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":                 {nil, "ends inside"},
		"not a map":               {[]byte{0x80}, "expected a map, found an array"},
		"no content":              {[]byte{0xa0}, "content"},
		"text instead of content": {append(cbor.AppendText([]byte{0xa1}, "content"), 0x60), "expected a map, found a text"},
		"trailing byte":           {append(envelopeOf(good...), 0), "after the end"},
		"duplicate key":           {with("arg", "\x40"), `duplicate key "arg"`},
		"unknown type":            {changed("request_type", "\x64cell"), `unknown request_type "cell"`},
		"no type":                 {without("request_type"), "request_type"},
		"no canister":             {without("canister_id"), "canister_id"},
		"no sender":               {without("sender"), "sender"},
		"no expiry":               {without("ingress_expiry"), "ingress_expiry"},
		"paths in a call":         {with("paths", "\x80"), "has no field paths"},
		"call as read_state":      {changed("request_type", "\x6aread_state"), "canister_id"},
		"long principal":          {changed("sender", "\x58\x1e"+string(make([]byte, 30))), "longer than 29"},
		"long nonce":              {with("nonce", "\x58\x21"+string(make([]byte, 33))), "at most 32"},
		"negative expiry":         {changed("ingress_expiry", "\x20"), "expected an unsigned integer, found a negative"},
		"float expiry":            {changed("ingress_expiry", "\xfa\x00\x00\x00\x00"), "found a float"},
		"large expiry":            {changed("ingress_expiry", "\xc2\x49\x01"+string(make([]byte, 8))), "exceeds 64 bits"},
		"bytes as method":         {changed("method_name", "\x41m"), "expected a text string"},
		"method not UTF-8":        {changed("method_name", "\x61\xff"), "not UTF-8"},
		"length of a lie":         {changed("arg", "\x5b\xff\xff\xff\xff\xff\xff\xff\xff"), "ends inside"},
		"map of a lie":            {[]byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "ends inside"},
		"unknown field too deep":  {with("x", string(deep)+"\x00"), "too deep"},
		"unknown float":           {with("x", "\xfa\x00\x00\x00\x00"), "cannot be hashed"},
		"integer key":             {append([]byte{0xa1, 0x01}, 0x01), "expected a text string"},
		"reserved head":           {changed("arg", "\x5c"), "reserved head"},
		"21 delegations":          {delegations(21), "more than 20 delegations"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeEnvelope(tt.raw)
			errorContains(t, err, tt.want)
		})
	}
	if _, err := DecodeEnvelope(delegations(20)); err != nil {
		t.Error(err)
	}
	for i := range maxExtraFields + 1 {
		good = append(good, fmt.Sprintf("x%d", i), "\x00")
	}
	_, err := DecodeEnvelope(envelopeOf(good...))
	errorContains(t, err, "too many unknown fields")
}

func TestEnvelopeAcceptsForms(t *testing.T) {
	want := Envelope{
		RequestType: RequestCall, Canister: "\x01", Method: "m", Arg: []byte("ab"), Sender: Anonymous, IngressExpiry: 500,
	}
	id := want.RequestID()
	for name, raw := range map[string][]byte{
		"self-described": want.Encode(),
		"bare":           want.Encode()[3:],
		"bignum":         envelopeOf("request_type", "\x64call", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x42ab", "sender", "\x41\x04", "ingress_expiry", "\xc2\x42\x01\xf4"),
		"padded bignum":  envelopeOf("request_type", "\x64call", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x42ab", "sender", "\x41\x04", "ingress_expiry", "\xc2\x4a\x00\x00\x00\x00\x00\x00\x00\x00\x01\xf4"),
		"long integer":   envelopeOf("request_type", "\x64call", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x42ab", "sender", "\x41\x04", "ingress_expiry", "\x1b\x00\x00\x00\x00\x00\x00\x01\xf4"),
		"null nonce":     envelopeOf("nonce", "\xf6", "request_type", "\x64call", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x42ab", "sender", "\x41\x04", "ingress_expiry", "\x19\x01\xf4"),
		"undefined":      envelopeOf("sender_info", "\xf7", "request_type", "\x64call", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x42ab", "sender", "\x41\x04", "ingress_expiry", "\x19\x01\xf4"),
		"chunked":        envelopeOf("request_type", "\x7f\x62ca\x62ll\xff", "canister_id", "\x41\x01", "method_name", "\x61m", "arg", "\x5f\x41a\x41b\xff", "sender", "\x41\x04", "ingress_expiry", "\x19\x01\xf4"),
	} {
		t.Run(name, func(t *testing.T) {
			e, err := DecodeEnvelope(raw)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, e.RequestID(), id)
			equalBytes(t, e.Encode(), want.Encode())
		})
	}
}

func TestClientFrame(t *testing.T) {
	e := sampleEnvelopes()[0]
	for name, frame := range map[string][]byte{
		"tagged":    EncodeClientFrame(e.Encode()),
		"untagged":  EncodeClientFrame(e.Encode())[3:],
		"inner tag": append(cbor.AppendText([]byte{0xa1}, "envelope"), e.Encode()...),
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := DecodeClientFrame(frame)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeEnvelope(raw)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got.RequestID(), e.RequestID())
		})
	}
	for name, tt := range map[string]struct {
		raw  []byte
		want string
	}{
		"empty":         {nil, "ends inside"},
		"text":          {[]byte("hello"), "expected a map"},
		"json":          {[]byte(`{"envelope":1}`), "client frame"},
		"other key":     {cbor.AppendText(cbor.AppendText([]byte{0xa1}, "envelop"), ""), "envelope"},
		"trailing byte": {append(EncodeClientFrame(e.Encode()), 0), "after the end"},
		"deep":          {append(cbor.AppendText([]byte{0xa1}, "envelope"), bytes.Repeat([]byte{0x81}, 100_000)...), "too deep"},
		"many keys":     {manyKeys(65), "more than 64 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeClientFrame(tt.raw)
			errorContains(t, err, tt.want)
		})
	}
}

func manyKeys(n int) []byte {
	b := cbor.AppendMap(nil, n)
	for i := range n {
		b = cbor.AppendUint(cbor.AppendText(b, fmt.Sprint(i)), 0)
	}
	return b
}
