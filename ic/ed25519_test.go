package ic

import (
	"crypto/ed25519"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"
)

// smallOrder are all encodings of the eight points of small order: the first eight
// the canonical ones.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// TestEd25519AsReplicas: with keys and nonces of small order, in any encoding, and
// s = 0, every signature holds by the rules of ZIP 215, which replicas follow, and
// only some of them by the standard library's.
func TestEd25519AsReplicas(t *testing.T) {
	strict := 0
	for _, key := range smallOrder {
		for _, nonce := range smallOrder {
			public, err := hex.DecodeString(key)
			if err != nil {
				t.Fatal(err)
			}
			signature := make([]byte, ed25519.SignatureSize)
			if _, err := hex.Decode(signature, []byte(nonce)); err != nil {
				t.Fatal(err)
			}
			if err := ed25519Key(public).verify([]byte("message"), signature); err != nil {
				t.Errorf("key %s, nonce %s: %v", key, nonce, err)
			}
			if ed25519.Verify(public, []byte("message"), signature) {
				strict++
			}
			signature[32] = 1
			if ed25519Key(public).verify([]byte("message"), signature) == nil {
				t.Errorf("key %s, nonce %s: s = 1 is accepted", key, nonce)
			}
		}
	}
	if n := len(smallOrder); strict == 0 || strict == n*n {
		t.Errorf("the standard library accepts %d of them", strict)
	}
}

// TestEd25519AsStandardLibrary: of keys that somebody has made, both accept the
// same signatures, also wrong and mutilated ones.
func TestEd25519AsStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		private := ed25519.NewKeyFromSeed(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		public := []byte(private.Public().(ed25519.PublicKey)) //nolint:forcetypeassert // it is one
		message := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "message")
		signature := ed25519.Sign(private, message)
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			where := rapid.SampledFrom([][]byte{public, signature}).Draw(t, "where")
			where[rapid.IntRange(0, len(where)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		signature = signature[:len(signature)-rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 1, 32, 64}).Draw(t, "cut")]
		wanted := len(signature) == ed25519.SignatureSize && ed25519.Verify(public, message, signature)
		if got := ed25519Key(public).verify(message, signature) == nil; got != wanted {
			t.Fatalf("key %x, message %x, signature %x: %v, the standard library says %v", public, message, signature, got, wanted)
		}
	})
}
