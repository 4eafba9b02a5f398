package bridge

import (
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// Whatever a client sends is read or refused with a reason that fits into a
// close frame.
func FuzzReadEnvelope(f *testing.F) {
	key, err := ic.BLSKeyFromSeed([]byte("fuzz"))
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := ic.NewVerifier(key.PublicKeyDER())
	if err != nil {
		f.Fatal(err)
	}
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	env := ic.NewCall("\x01\x01", methodOpen, candid.EncodeOpenArgs(1, "\x02"), now)
	if err := ic.Sign(env, identity); err != nil {
		f.Fatal(err)
	}
	f.Add(candid.EncodeClientFrame(env.Encode()))
	f.Add([]byte{})
	f.Add([]byte{0xd9, 0xd9, 0xf7, 0xa1, 0x68, 'e', 'n', 'v', 'e', 'l', 'o', 'p', 'e', 0xa0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		env, raw, reason := readEnvelope(frame)
		if (reason == nil) != (env != nil && raw != nil) {
			t.Fatalf("env %v, reason %v", env, reason)
		}
		if reason == nil {
			reason = checkEnvelope(env, env.RequestID(), verifier, now)
		}
		if reason != nil && (reason.Text == "" || len(reason.frame()) > 125) {
			t.Fatalf("reason %+v", reason)
		}
	})
}
