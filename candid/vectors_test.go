package candid

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/js/ours.json")

// jsVectors are messages that JavaScript libraries encoded; see testdata/js.
type jsVectors struct {
	Candid, CBOR, Principals map[string]string
}

func loadVectors(tb testing.TB) jsVectors {
	tb.Helper()
	var v jsVectors
	readJSON(tb, "testdata/js/vectors.json", &v)
	return v
}

func readJSON(tb testing.TB, path string, into any) {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustPrincipal(tb testing.TB, text string) Principal {
	tb.Helper()
	p, err := ParsePrincipal(text)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// The values that the script encodes.
const (
	testClient  = Principal("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a")
	gatewayText = "sqdfl-mr4km-2hfjy-gajqo-xqvh7-hf4mf-nra4i-3it6l-neaw4-soolw-tae"
)

func testBlob(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func testClientKey() ClientKey { return ClientKey{testClient, 1<<64 - 1} }

func testMessage() WebsocketMessage {
	return WebsocketMessage{
		ClientKey: testClientKey(), SequenceNum: 7, Timestamp: 1700000000123456789, Content: testBlob(300),
	}
}

func testBatch() OutputMessages {
	key := gatewayText + "_0000000000000000000"
	return OutputMessages{
		Messages: []OutputMessage{
			{testClientKey(), key + "0", testBlob(40)},
			{testClientKey(), key + "1", testBlob(41)},
		},
		Cert: testBlob(1000), Tree: testBlob(200),
	}
}

func TestDecodeJSMessages(t *testing.T) {
	v := loadVectors(t)
	gateway := mustPrincipal(t, gatewayText)
	message := testMessage()
	batch := testBatch()
	ended := batch
	ended.EndOfQueue = true

	open := func(t *testing.T, b []byte) {
		nonce, gw, err := DecodeOpenArgs(b)
		equal(t, err, nil)
		equal(t, nonce, 42)
		equal(t, gw, gateway)
	}
	msg := func(t *testing.T, b []byte) {
		m, err := DecodeMessageArgs(b)
		equal(t, err, nil)
		sameMessage(t, m, message)
	}
	result := func(text string, refused bool) func(*testing.T, []byte) {
		return func(t *testing.T, b []byte) {
			gotText, gotRefused, err := DecodeResult(b)
			equal(t, err, nil)
			equal(t, gotText, text)
			equal(t, gotRefused, refused)
		}
	}
	output := func(want OutputMessages) func(*testing.T, []byte) {
		return func(t *testing.T, b []byte) {
			m, _, refused, err := DecodeOutputMessages(b)
			equal(t, err, nil)
			equal(t, refused, false)
			sameBatch(t, m, want)
		}
	}
	service := func(want ServiceMessage) func(*testing.T, []byte) {
		return func(t *testing.T, b []byte) {
			m, err := DecodeServiceMessage(b)
			equal(t, err, nil)
			equal(t, m, want)
		}
	}
	tests := map[string]func(*testing.T, []byte){
		"open_args":              open,
		"open_args_extra_fields": open,
		"close_args": func(t *testing.T, b []byte) {
			k, err := DecodeCloseArgs(b)
			equal(t, err, nil)
			equal(t, k, testClientKey())
		},
		"message_args":       msg,
		"message_args_one":   msg,
		"message_args_typed": msg,
		"get_messages_args": func(t *testing.T, b []byte) {
			n, err := DecodeGetMessagesArgs(b)
			equal(t, err, nil)
			equal(t, n, 99)
		},
		"result_ok":         result("", false),
		"result_err":        result("Client with key … doesn't have an open connection", true),
		"result_ok_record":  result("", false),
		"result_three_tags": result("no", true),
		"batch":             output(batch),
		"batch_without_end": output(ended),
		"batch_opt_end":     output(batch),
		"batch_empty":       output(OutputMessages{EndOfQueue: true}),
		"batch_err": func(t *testing.T, b []byte) {
			_, text, refused, err := DecodeOutputMessages(b)
			equal(t, err, nil)
			equal(t, refused, true)
			equal(t, text, "not now")
		},
		"service_open":              service(ServiceMessage{Kind: OpenMessage, ClientKey: testClientKey()}),
		"service_ack":               service(ServiceMessage{Kind: AckMessage, LastIncoming: 12}),
		"service_keep_alive":        service(ServiceMessage{Kind: KeepAliveMessage, LastIncoming: 13}),
		"service_close_wrong":       service(ServiceMessage{Kind: CloseMessage, Reason: WrongSequenceNumber}),
		"service_close_invalid":     service(ServiceMessage{Kind: CloseMessage, Reason: InvalidServiceMessage}),
		"service_close_timeout":     service(ServiceMessage{Kind: CloseMessage, Reason: KeepAliveTimeout}),
		"service_close_application": service(ServiceMessage{Kind: CloseMessage, Reason: ClosedByApplication}),
		"nat": func(t *testing.T, b []byte) {
			n, err := DecodeNat(b)
			equal(t, err, nil)
			equal(t, n, 300)
		},
		"nat_large": func(t *testing.T, b []byte) {
			_, err := DecodeNat(b)
			equal(t, err, errOverflow)
		},
		"text": func(t *testing.T, b []byte) {
			s, err := DecodeText(b)
			equal(t, err, nil)
			equal(t, s, "Grüße, 世界")
		},
		"vec_records": func(t *testing.T, b []byte) {
			page, err := DecodePage(b)
			equal(t, err, nil)
			equal(t, page, Page{Items: 3})
		},
		"zoo": func(t *testing.T, b []byte) {
			_, err := DecodeText(b)
			errorContains(t, err, "expected text, found record")
		},
		"zoo_with_references": func(t *testing.T, b []byte) {
			_, err := DecodePage(b)
			errorContains(t, err, "a record without the fields items and next")
		},
	}
	for name, raw := range v.Candid {
		t.Run(name, func(t *testing.T) {
			check, ok := tests[name]
			if !ok {
				t.Fatal("no expectation for this vector")
			}
			b := unhex(t, raw)
			check(t, b)
			// Every prefix, and one byte more, must be refused without a panic.
			for i := range b {
				if _, err := Decode(b[:i], Limits{}); err == nil {
					t.Fatalf("prefix of %d bytes was accepted", i)
				}
			}
			if _, err := Decode(append(bytes.Clone(b), 0), Limits{}); err == nil {
				t.Fatal("trailing byte was accepted")
			}
		})
	}
	equal(t, len(v.Candid), len(tests))
}

func TestDecodeJSFrames(t *testing.T) {
	v := loadVectors(t)
	gw, err := DecodeHandshake(unhex(t, v.CBOR["handshake"]))
	equal(t, err, nil)
	equal(t, gw.String(), gatewayText)

	key, content, cert, tree, err := DecodeOutputFrame(unhex(t, v.CBOR["output_frame"]))
	equal(t, err, nil)
	equal(t, key, gatewayText+"_00000000000000000003")
	equalBytes(t, content, testBlob(300))
	equalBytes(t, cert, testBlob(1000))
	equalBytes(t, tree, testBlob(200))

	m, err := DecodeWebsocketMessage(unhex(t, v.CBOR["websocket_message"]))
	equal(t, err, nil)
	sameMessage(t, m, testMessage())
}

func TestPrincipalsOfJS(t *testing.T) {
	for raw, text := range loadVectors(t).Principals {
		p, err := PrincipalFromBytes(unhex(t, raw))
		equal(t, err, nil)
		equal(t, p.String(), text)
		equal(t, mustPrincipal(t, text), p)
	}
}

// ours holds what the JavaScript libraries have decoded with the expected result.
type ours struct {
	Candid    map[string]string `json:"candid"`
	CBOR      map[string]string `json:"cbor"`
	Envelopes []oursEnvelope    `json:"envelopes"`
}

type oursEnvelope struct {
	Name      string `json:"name"`
	Envelope  string `json:"envelope"`
	RequestID string `json:"request_id"`
}

func TestOurs(t *testing.T) {
	gateway := mustPrincipal(t, gatewayText)
	batch := testBatch()
	empty := OutputMessages{EndOfQueue: true}
	got := ours{
		Candid: map[string]string{
			"open_args":                 hex.EncodeToString(EncodeOpenArgs(42, gateway)),
			"close_args":                hex.EncodeToString(EncodeCloseArgs(testClientKey())),
			"message_args":              hex.EncodeToString(EncodeMessageArgs(testMessage())),
			"get_messages_args":         hex.EncodeToString(EncodeGetMessagesArgs(99)),
			"result_ok":                 hex.EncodeToString(EncodeResult("")),
			"result_err":                hex.EncodeToString(EncodeResult("Client with key … doesn't have an open connection")),
			"batch":                     hex.EncodeToString(EncodeOutputMessages(batch)),
			"batch_empty":               hex.EncodeToString(EncodeOutputMessages(empty)),
			"service_open":              hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: OpenMessage, ClientKey: testClientKey()})),
			"service_ack":               hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: AckMessage, LastIncoming: 12})),
			"service_keep_alive":        hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: KeepAliveMessage, LastIncoming: 13})),
			"service_close_wrong":       hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: CloseMessage, Reason: WrongSequenceNumber})),
			"service_close_invalid":     hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: CloseMessage, Reason: InvalidServiceMessage})),
			"service_close_timeout":     hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: CloseMessage, Reason: KeepAliveTimeout})),
			"service_close_application": hex.EncodeToString(EncodeServiceMessage(ServiceMessage{Kind: CloseMessage, Reason: ClosedByApplication})),
			"nat":                       hex.EncodeToString(EncodeNat(300)),
			"text":                      hex.EncodeToString(EncodeText("Grüße, 世界")),
			"zoo":                       hex.EncodeToString(buildZoo(t)),
		},
		CBOR: map[string]string{
			"handshake":         hex.EncodeToString(EncodeHandshake(gateway)),
			"output_frame":      hex.EncodeToString(EncodeOutputFrame(gatewayText+"_00000000000000000003", testBlob(300), testBlob(1000), testBlob(200))),
			"websocket_message": hex.EncodeToString(EncodeWebsocketMessage(testMessage())),
		},
	}
	for _, e := range sampleEnvelopes() {
		id := e.RequestID()
		got.Envelopes = append(got.Envelopes, oursEnvelope{e.Method + e.RequestType, hex.EncodeToString(e.Encode()), hex.EncodeToString(id[:])})
	}
	const path = "testdata/js/ours.json"
	if *update {
		raw, err := json.MarshalIndent(got, "", " ")
		if err == nil {
			err = os.WriteFile(path, append(raw, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var want ours
	readJSON(t, path, &want)
	for name, raw := range got.Candid {
		equal(t, raw, want.Candid[name])
	}
	for name, raw := range got.CBOR {
		equal(t, raw, want.CBOR[name])
	}
	equal(t, len(got.Envelopes), len(want.Envelopes))
	for i := range got.Envelopes {
		equal(t, got.Envelopes[i], want.Envelopes[i])
	}
}

func sampleEnvelopes() []*Envelope {
	sender := SelfAuthenticating([]byte("a key"))
	return []*Envelope{
		{RequestType: RequestCall, Canister: testClient, Method: "ws_open", Arg: EncodeEmpty(), Sender: sender, IngressExpiry: 1700000000000000000, Nonce: []byte{1, 2, 3}},
		{RequestType: RequestQuery, Canister: testClient, Method: "since", Arg: EncodeNat(7), Sender: Anonymous, IngressExpiry: 1},
		{RequestType: RequestReadState, Sender: sender, IngressExpiry: 1<<64 - 1, Paths: [][][]byte{{[]byte("time")}, {[]byte("a"), {}, []byte("b")}, {}}},
		{
			RequestType: RequestCall, Canister: testClient, Method: "delegated", Arg: []byte{}, Sender: sender, IngressExpiry: 5,
			SenderPubkey: []byte("a key"), SenderSig: []byte("sig"),
			Delegations: []Delegation{
				{Pubkey: []byte("k"), Expiration: 1 << 63, Signature: []byte("s")},
				{Pubkey: []byte("l"), Expiration: 1, Targets: []Principal{testClient, ""}, Permissions: "all", Signature: []byte("t")},
			},
		},
	}
}

func equal[T comparable](tb testing.TB, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("got %v, want %v", got, want)
	}
}

func equalBytes(tb testing.TB, got, want []byte) {
	tb.Helper()
	if !bytes.Equal(got, want) {
		tb.Errorf("got %x, want %x", got, want)
	}
}

func sameMessage(tb testing.TB, got, want WebsocketMessage) {
	tb.Helper()
	equalBytes(tb, got.Content, want.Content)
	equal(tb, got.ClientKey, want.ClientKey)
	equal(tb, got.SequenceNum, want.SequenceNum)
	equal(tb, got.Timestamp, want.Timestamp)
	equal(tb, got.IsServiceMessage, want.IsServiceMessage)
}

func sameBatch(tb testing.TB, got, want OutputMessages) {
	tb.Helper()
	equal(tb, len(got.Messages), len(want.Messages))
	for i := range min(len(got.Messages), len(want.Messages)) {
		equal(tb, got.Messages[i].ClientKey, want.Messages[i].ClientKey)
		equal(tb, got.Messages[i].Key, want.Messages[i].Key)
		equalBytes(tb, got.Messages[i].Content, want.Messages[i].Content)
	}
	equalBytes(tb, got.Cert, want.Cert)
	equalBytes(tb, got.Tree, want.Tree)
	equal(tb, got.EndOfQueue, want.EndOfQueue)
}
