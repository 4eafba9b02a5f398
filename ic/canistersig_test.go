package ic

import (
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// A delegation that a real Internet Identity has signed, with mainnet's
// certificates in it.
func TestInternetIdentityOfMainnet(t *testing.T) {
	var v struct {
		PublicKey  string `json:"public_key"`
		Principal  string
		SessionKey string `json:"session_key"`
		Expiration uint64
		Signature  string
	}
	readJSON(t, "testdata/internet_identity.json", &v)
	session := unhex(t, v.SessionKey)
	key := unhex(t, v.PublicKey)
	equal(t, candid.SelfAuthenticating(key).String(), v.Principal)
	before := time.Unix(0, int64(v.Expiration)).Add(-time.Minute)
	mainnet := &verifyOptions{verifier: must(NewVerifier(MainnetRootKey()))(t)}
	envelope := func() *candid.Envelope {
		return &candid.Envelope{
			RequestType: candid.RequestCall, Canister: canisterA, SenderPubkey: key,
			Delegations: []candid.Delegation{{Pubkey: session, Expiration: v.Expiration, Signature: unhex(t, v.Signature)}},
		}
	}
	der, err := verifyDelegations(envelope(), before, mainnet)
	noError(t, err)
	equalBytes(t, der, session)

	_, err = verifyDelegations(envelope(), before.Add(time.Hour), mainnet)
	errorContains(t, err, "has expired")
	_, err = verifyDelegations(envelope(), before, &verifyOptions{verifier: newTestNet(t).verifier()})
	errorContains(t, err, "does not match")
	for name, change := range map[string]func(*candid.Envelope){
		"another session":   func(e *candid.Envelope) { e.Delegations[0].Pubkey = []byte("another key") },
		"a later end":       func(e *candid.Envelope) { e.Delegations[0].Expiration++ },
		"one canister only": func(e *candid.Envelope) { e.Delegations[0].Targets = []candid.Principal{canisterA} },
		"another user":      func(e *candid.Envelope) { e.SenderPubkey = append([]byte{}, key...); e.SenderPubkey[len(key)-1] ^= 1 },
		"another canister":  func(e *candid.Envelope) { e.SenderPubkey = append([]byte{}, key...); e.SenderPubkey[26] ^= 1 },
		"a changed witness": func(e *candid.Envelope) { s := e.Delegations[0].Signature; s[len(s)-3] ^= 1 },
		"a changed root":    func(e *candid.Envelope) { e.Delegations[0].Signature[300] ^= 1 },
		"a signature cut":   func(e *candid.Envelope) { d := &e.Delegations[0]; d.Signature = d.Signature[:len(d.Signature)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			e := envelope()
			change(e)
			if _, err := verifyDelegations(e, before, mainnet); err == nil {
				t.Error("accepted")
			}
		})
	}
}
