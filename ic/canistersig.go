package ic

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

// ErrNeedsRootKey reports a canister signature where no Verifier was given: it
// can neither be accepted nor refused.
var ErrNeedsRootKey = errors.New("canister signature: checking it needs the network's root key")

// canisterKey is the public key of a canister's signatures, as Internet
// Identity makes them (interface specification, "Canister signatures").
type canisterKey struct {
	canister candid.Principal
	seed     [32]byte // its hash
	verifier *Verifier
}

func parseCanisterKey(raw []byte, v *Verifier) (publicKey, error) {
	if len(raw) == 0 || len(raw)-1 < int(raw[0]) {
		return nil, errors.New("canister signature: malformed public key")
	}
	n := 1 + int(raw[0])
	canister, err := candid.PrincipalFromBytes(raw[1:n])
	if err != nil {
		return nil, fmt.Errorf("canister signature: %w", err)
	}
	return canisterKey{canister, sha256.Sum256(raw[n:]), v}, nil
}

func (k canisterKey) verify(message, signature []byte) error {
	if k.verifier == nil {
		return ErrNeedsRootKey
	}
	if err := k.check(message, signature); err != nil {
		return fmt.Errorf("canister signature: %w", err)
	}
	return nil
}

func (k canisterKey) check(message, signature []byte) error {
	var certificate []byte
	var tree *HashTree
	r := cbor.NewReader(signature)
	r.SkipSelfDescribe()
	err := eachKey(&r, func(key []byte) (known bool, err error) {
		switch string(key) {
		case "certificate":
			certificate, err = r.Bytes()
		case "tree":
			tree, err = readTree(&r)
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return err
	}
	if certificate == nil || tree == nil {
		return errors.New("certificate or tree is missing")
	}
	// A signature does not age: delegations carry their own expiry.
	c, subnet, err := k.verifier.verify(certificate, time.Unix(1<<33, 0), 0, false)
	if err != nil {
		return err
	}
	if subnet != nil {
		if !inRanges(k.canister, subnet.ranges) {
			return ErrNotInRange
		}
		if subnet.kind == "cloud_engine" {
			return errors.New("canisters of cloud engines cannot sign")
		}
	}
	digest := tree.Digest()
	data, result := c.Lookup([]byte("canister"), []byte(k.canister), []byte("certified_data"))
	if result != Found || string(data) != string(digest[:]) {
		return fmt.Errorf("%w: the certificate does not cover the tree", ErrSignature)
	}
	if !tree.WellFormed() {
		return errors.New("malformed tree")
	}
	sum := sha256.Sum256(message)
	value, result := tree.Lookup([]byte("sig"), k.seed[:], sum[:])
	if result != Found || len(value) != 0 {
		return ErrSignature
	}
	return nil
}
