package client

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// A checker decides whether a frame holds a message that the canister
// certified. It keeps nothing: the Verifier remembers the certificates that
// it has seen, and one certificate covers a batch of messages.
type checker struct {
	verifier *ic.Verifier
	canister candid.Principal
	maxAge   time.Duration
}

// check verifies a frame (certificate, witness, hash of the content) and
// returns the message in it.
func (k *checker) check(frame []byte, now time.Time) (candid.WebsocketMessage, error) {
	var none candid.WebsocketMessage
	key, content, cert, tree, err := candid.DecodeOutputFrame(frame)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	certified, err := k.certifiedData(cert, now)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrVerification, err)
	}
	witness, err := ic.DecodeHashTree(tree)
	if err != nil {
		return none, fmt.Errorf("%w: witness: %w", ErrVerification, err)
	}
	if root := witness.Digest(); !bytes.Equal(root[:], certified) {
		return none, fmt.Errorf("%w: the witness is not what the canister certified", ErrVerification)
	}
	leaf, found := witness.Lookup([]byte("websocket"), []byte(key))
	if found != ic.Found {
		return none, fmt.Errorf("%w: the witness has no leaf for %q", ErrVerification, key)
	}
	if sum := sha256.Sum256(content); !bytes.Equal(leaf, sum[:]) {
		return none, fmt.Errorf("%w: the content is not the one in the witness", ErrVerification)
	}
	m, err := candid.DecodeWebsocketMessage(content)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}

// certifiedData is what a certificate says that the canister certified.
func (k *checker) certifiedData(cert []byte, now time.Time) ([]byte, error) {
	c, err := k.verifier.Verify(cert, k.canister, now, k.maxAge)
	if err != nil {
		return nil, err
	}
	data, found := c.Tree.Lookup([]byte("canister"), k.canister.Bytes(), []byte("certified_data"))
	if found != ic.Found {
		return nil, fmt.Errorf("the certificate says nothing of canister %s", k.canister)
	}
	return data, nil
}
