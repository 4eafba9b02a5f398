package echo

import (
	"slices"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

func TestRecipients(t *testing.T) {
	variant := func(tag string) []byte {
		kind := candid.VariantOf(candid.Field{Label: tag, Type: candid.TextType})
		raw, err := candid.NewBuilder().Add(kind, candid.Tag{Label: tag, Value: "hello"}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ann := candid.ClientKey{Principal: "\x01ann", Nonce: 1}
	bob := candid.ClientKey{Principal: "\x01bob", Nonce: 2}
	const gateway = candid.Principal("\x01gateway")
	for name, test := range map[string]struct {
		content []byte
		want    []candid.ClientKey
	}{
		"to everybody":            {variant("Everybody"), []candid.ClientKey{ann, bob}},
		"to nobody":               {variant("Nobody"), nil},
		"another tag: an echo":    {variant("Somebody"), []candid.ClientKey{ann}},
		"no Candid at all":        {[]byte("Everybody"), []candid.ClientKey{ann}},
		"the beginning of a type": {toEverybody[:len(toEverybody)-1], []candid.ClientKey{ann}},
		"nothing":                 {nil, []candid.ClientKey{ann}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			for _, key := range []candid.ClientKey{ann, bob} {
				if text := b.open(key, gateway); text != "" {
					t.Fatal(text)
				}
			}
			if text := b.message(ann, 1, false, test.content); text != "" {
				t.Fatal(text)
			}
			var got []candid.ClientKey
			for _, m := range b.poll(gateway, 2).Messages {
				w, err := candid.DecodeWebsocketMessage(m.Content)
				if err != nil || string(w.Content) != string(test.content) || w.SequenceNum != 2 {
					t.Errorf("message %d, %q: %v", w.SequenceNum, w.Content, err)
				}
				got = append(got, m.ClientKey)
			}
			slices.SortFunc(got, func(x, y candid.ClientKey) int { return int(x.Nonce) - int(y.Nonce) })
			if !slices.Equal(got, test.want) {
				t.Errorf("it goes to %v, want %v", got, test.want)
			}
		})
	}
}
