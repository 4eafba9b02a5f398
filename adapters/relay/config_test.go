package relay

import (
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

func TestArgument(t *testing.T) {
	guestbook := candid.Principal("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01")
	s := Settings{
		Calls:       []Target{{guestbook, "post"}},
		Feeds:       []Target{{guestbook, "since"}},
		Admins:      []candid.Principal{candid.Anonymous},
		AckInterval: 5 * time.Second,
	}
	raw, err := s.Argument()
	if err != nil {
		t.Fatal(err)
	}
	values, err := candid.Decode(raw, candid.Limits{})
	if err != nil || len(values) != 1 {
		t.Fatalf("Decode = %v, %v", values, err)
	}
	for name, method := range map[string]string{"calls": "post", "feeds": "since"} {
		list, _ := values[0].Field(name).Vec()
		if len(list) != 1 {
			t.Fatalf("%s = %v", name, list)
		}
		if target, ok := targetOf(list[0]); !ok || target != (Target{guestbook, method}) {
			t.Errorf("%s[0] = %v", name, target)
		}
	}
	if ack, some := values[0].Field("ack_interval_ms").Opt(); !some {
		t.Error("ack_interval_ms is null")
	} else if n, _ := ack.Uint64(); n != 5000 {
		t.Errorf("ack_interval_ms = %d, want 5000", n)
	}
	if _, some := values[0].Field("max_messages").Opt(); some {
		t.Error("max_messages is not null, so the canister's default does not hold")
	}
}

func TestDecodePulled(t *testing.T) {
	result := candid.VariantOf(candid.Field{Label: "Ok", Type: candid.NatType}, candid.Field{Label: "Err", Type: candid.TextType})
	encode := func(value any) []byte {
		raw, err := candid.NewBuilder().Add(result, value).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if n, err := decodePulled(encode(candid.Tag{Label: "Ok", Value: uint64(7)})); n != 7 || err != nil {
		t.Errorf("Ok 7 = %d, %v", n, err)
	}
	if _, err := decodePulled(encode(candid.Tag{Label: "Err", Value: "no such feed"})); err == nil || err.Error() != "refused: no such feed" {
		t.Errorf("Err = %v", err)
	}
	for name, raw := range map[string][]byte{"nothing": candid.EncodeEmpty(), "text": candid.EncodeText("x"), "garbage": []byte("x")} {
		if _, err := decodePulled(raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestDecodeStatusRefusesOthers(t *testing.T) {
	for name, raw := range map[string][]byte{"nothing": candid.EncodeEmpty(), "text": candid.EncodeText("x"), "garbage": []byte("x")} {
		if _, err := decodeStatus(raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
