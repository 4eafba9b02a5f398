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
// certified. The Verifier remembers the certificates that it has seen, and one
// certificate covers a batch of messages.
type checker struct {
	verifier *ic.Verifier
	canister candid.Principal
	maxAge   time.Duration
	every    int // see Options.CheckEvery
	frames   int // that have come
}

// check verifies a frame and returns the message in it.
func (k *checker) check(frame []byte, now time.Time) (candid.WebsocketMessage, error) {
	var none candid.WebsocketMessage
	key, content, cert, tree, err := candid.DecodeOutputFrame(frame)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if k.every <= 1 || k.frames%k.every == 0 {
		if err := k.verify(key, content, cert, tree, now); err != nil {
			return none, err
		}
	}
	k.frames++
	m, err := candid.DecodeWebsocketMessage(content)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}

// verify checks certificate, witness and hash of the content.
func (k *checker) verify(key string, content, cert, tree []byte, now time.Time) error {
	certified, err := k.certifiedData(cert, now)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVerification, err)
	}
	witness, err := ic.DecodeHashTree(tree)
	if err != nil {
		return fmt.Errorf("%w: witness: %w", ErrVerification, err)
	}
	if root := witness.Digest(); !bytes.Equal(root[:], certified) {
		return fmt.Errorf("%w: the witness is not what the canister certified", ErrVerification)
	}
	leaf, found := witness.Lookup([]byte("websocket"), []byte(key))
	if found != ic.Found {
		return fmt.Errorf("%w: the witness has no leaf for %q", ErrVerification, key)
	}
	if sum := sha256.Sum256(content); !bytes.Equal(leaf, sum[:]) {
		return fmt.Errorf("%w: the content is not the one in the witness", ErrVerification)
	}
	return nil
}

// certifiedData is what a certificate says that the canister certified. The
// verifier may keep the certificate, but not the frame that it came in.
func (k *checker) certifiedData(cert []byte, now time.Time) ([]byte, error) {
	c, err := k.verifier.Verify(bytes.Clone(cert), k.canister, now, k.maxAge)
	if err != nil {
		return nil, err
	}
	data, found := c.Tree.Lookup([]byte("canister"), k.canister.Bytes(), []byte("certified_data"))
	if found != ic.Found {
		return nil, fmt.Errorf("the certificate says nothing of canister %s", k.canister)
	}
	return data, nil
}
