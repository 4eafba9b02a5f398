package canister_test

import (
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// What cannot be read as a method's arguments is rejected by the canister's Candid decoder, as in the CDK, and changes
// nothing.
func TestCDKBadArguments(t *testing.T) {
	w := newCDK(t, settings{})
	c := w.open(client(1), 1, gateway1)
	c.send(candid.EncodeText("1"))
	before := w.poll(gateway1, 0)

	valid := map[string][]byte{
		"ws_open":         candid.EncodeOpenArgs(2, gateway1),
		"ws_close":        candid.EncodeCloseArgs(c.key),
		"ws_message":      candid.EncodeMessageArgs(message(c.key, 2)),
		"ws_get_messages": candid.EncodeGetMessagesArgs(0),
	}
	nat64 := func(label string) candid.Field { return candid.Field{Label: label, Type: candid.Nat64Type} }
	bad := map[string][]byte{
		"nothing":           {},
		"no Candid":         []byte("ws_open"),
		"no value":          candid.EncodeEmpty(),
		"a text":            candid.EncodeText("x"),
		"an empty record":   encode(t, candid.NewBuilder().Add(candid.RecordOf(), candid.Fields{})),
		"other fields":      encode(t, candid.NewBuilder().Add(candid.RecordOf(nat64("a")), candid.Fields{"a": uint64(1)})),
		"a nonce as a nat":  encode(t, candid.NewBuilder().Add(candid.RecordOf(candid.Field{Label: "client_nonce", Type: candid.NatType}, candid.Field{Label: "nonce", Type: candid.NatType}, candid.Field{Label: "gateway_principal", Type: candid.PrincipalType}), candid.Fields{"client_nonce": 1, "nonce": 1, "gateway_principal": gateway1})),
		"an endless type":   []byte("DIDL\x01\x6c\x01\x00\x00\x01\x00"),
		"a huge type table": append([]byte("DIDL"), 0xff, 0xff, 0xff, 0x7f),
	}
	for method, good := range valid {
		for name, arg := range bad {
			for _, sender := range []candid.Principal{gateway1, client(1), candid.Anonymous} {
				checkRejected(t, w, sender, method, name, arg)
			}
		}
		checkRejected(t, w, client(1), method, "arguments cut short", good[:len(good)-1])
		checkRejected(t, w, client(1), method, "a byte too many", append(good[:len(good):len(good)], 0))
	}
	// The state is what it was.
	if got := w.poll(gateway1, 0); len(got.Messages) != len(before.Messages) {
		t.Errorf("%d messages, before there were %d", len(got.Messages), len(before.Messages))
	}
	c.send(candid.EncodeText("2"))
	if got := w.texts(w.target, "log"); len(got) != 2 {
		t.Errorf("the target got %q", got)
	}
}

func checkRejected(t *testing.T, w *cdkWorld, sender candid.Principal, method, name string, arg []byte) {
	t.Helper()
	var result execution.Result
	if method == "ws_get_messages" {
		result = w.machine.Query(t.Context(), sender, w.relay, method, arg)
	} else {
		result = w.wait(w.start(sender, w.relay, method, arg))
	}
	if result.Reject == nil {
		t.Errorf("%s with %s: reply %x", method, name, result.Reply)
		return
	}
	if result.Reject.Code != 5 || result.Reject.Text == "" {
		t.Errorf("%s with %s: %+v", method, name, *result.Reject)
	}
}

// Fields that a method does not know are skipped: a later version of a client or gateway may send them.
func TestCDKMoreFields(t *testing.T) {
	w := newCDK(t, settings{})
	text := candid.Field{Label: "later", Type: candid.OptOf(candid.TextType)}
	key := candid.RecordOf(
		candid.Field{Label: "client_principal", Type: candid.PrincipalType},
		candid.Field{Label: "client_nonce", Type: candid.Nat64Type},
		text,
	)
	keyValue := candid.Fields{"client_principal": client(1), "client_nonce": uint64(5), "later": "x"}
	call := func(sender candid.Principal, method string, argument candid.Type, value candid.Fields) {
		t.Helper()
		value["later"] = "y"
		arg := encode(t, candid.NewBuilder().Add(argument, value).Add(candid.TextType, "one argument more"))
		if method == "ws_message" {
			arg = encode(t, candid.NewBuilder().Add(argument, value))
		}
		if got := w.result(w.start(sender, w.relay, method, arg)); got != "" {
			t.Errorf("%s: %s", method, got)
		}
	}
	call(client(1), "ws_open", candid.RecordOf(
		candid.Field{Label: "client_nonce", Type: candid.Nat64Type},
		candid.Field{Label: "gateway_principal", Type: candid.PrincipalType},
		text,
	), candid.Fields{"client_nonce": uint64(5), "gateway_principal": gateway1})
	call(client(1), "ws_message", candid.RecordOf(candid.Field{Label: "msg", Type: candid.RecordOf(
		candid.Field{Label: "client_key", Type: key},
		candid.Field{Label: "sequence_num", Type: candid.Nat64Type},
		candid.Field{Label: "timestamp", Type: candid.Nat64Type},
		candid.Field{Label: "is_service_message", Type: candid.BoolType},
		candid.Field{Label: "content", Type: candid.VecOf(candid.Nat8Type)},
		text,
	)}, text), candid.Fields{"msg": candid.Fields{
		"client_key": keyValue, "sequence_num": uint64(1), "timestamp": uint64(0), "is_service_message": false,
		"content": candid.EncodeText("x"), "later": "z",
	}})
	call(gateway1, "ws_close", candid.RecordOf(candid.Field{Label: "client_key", Type: key}, text), candid.Fields{"client_key": keyValue})
}
