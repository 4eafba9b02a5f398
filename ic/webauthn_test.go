package ic

import (
	"encoding/json"
	"testing"
)

// Real authenticators, a YubiKey (ECDSA) and Windows Hello (RSA). One has its
// client data as text, as the specification has it, the other as bytes, which
// the replica takes, too.
func TestPasskeys(t *testing.T) {
	var all map[string]json.RawMessage
	readJSON(t, "testdata/passkeys.json", &all)
	for _, name := range []string{"yubikey", "windows hello"} {
		t.Run(name, func(t *testing.T) {
			var v struct {
				Message   string
				PublicKey string `json:"public_key"`
				Signature string
			}
			noError(t, json.Unmarshal(all[name], &v))
			key := must(parsePublicKey(unhex(t, v.PublicKey), nil))(t)
			signature := unhex(t, v.Signature)
			noError(t, key.verify([]byte(v.Message), signature))
			errorContains(t, key.verify([]byte("hullo"), signature), "challenge is not the message")
			for i := range signature {
				signature[i] ^= 1
				if err := key.verify([]byte(v.Message), signature); err == nil {
					t.Fatalf("accepted with byte %d changed", i)
				}
				signature[i] ^= 1
			}
		})
	}
}
