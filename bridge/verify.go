package bridge

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
)

// maxCertificateAge is how old a batch's certificate may be. Clients refuse
// what is older than five minutes; a batch that would reach them later than
// that is better fetched again.
const maxCertificateAge = 4*time.Minute + 30*time.Second

// A checkedBatch is a batch whose certificate, witness and contents agree.
type checkedBatch struct {
	Batch
	greets  []bool // for each message: it is the first of a connection
	witness *ic.HashTree
	time    time.Time // of the certificate

	path   [2][]byte // memory that frame uses again
	pruned []byte
}

// verify makes the checks that each client will make: the certificate is the
// network's and recent, it certifies the witness for this canister, and the
// witness holds the hash of every message. One bad replica must not cost
// every client its connection.
func verify(verifier *ic.Verifier, canister candid.Principal, batch Batch, now time.Time) (*checkedBatch, error) {
	cert, err := verifier.Verify(batch.Cert, canister, now, maxCertificateAge)
	if err != nil {
		return nil, flawed(flawCertificate, fmt.Errorf("certificate: %w", err))
	}
	certified, found := cert.Tree.Lookup([]byte("canister"), canister.Bytes(), []byte("certified_data"))
	if found != ic.Found {
		return nil, flawed(flawCertificate, errors.New("certificate: it has no certified data of the canister"))
	}
	witness, err := ic.DecodeHashTree(batch.Tree)
	if err != nil {
		return nil, flawed(flawWitness, fmt.Errorf("witness: %w", err))
	}
	if root := witness.Digest(); subtle.ConstantTimeCompare(root[:], certified) != 1 {
		return nil, flawed(flawWitness, errors.New("witness: its root is not the certified data"))
	}
	if !witness.WellFormed() {
		return nil, flawed(flawWitness, errors.New("witness: its labels are not in order"))
	}
	checked := &checkedBatch{Batch: batch, greets: make([]bool, len(batch.Messages)), witness: witness, time: cert.Time}
	var label []byte
	for i := range batch.Messages {
		message := &batch.Messages[i]
		label = append(label[:0], message.Key...)
		leaf, found := witness.Lookup(websocketLabel, label)
		if found != ic.Found {
			return nil, flawed(flawWitness, fmt.Errorf("witness: message %s is not in it", message.Key))
		}
		if sum := sha256.Sum256(message.Content); subtle.ConstantTimeCompare(sum[:], leaf) != 1 {
			return nil, flawed(flawContent, fmt.Errorf("message %s: its content is not the certified one", message.Key))
		}
		// Whom it is for stands outside of what is certified, and once more inside.
		inner, err := candid.DecodeWebsocketMessage(message.Content)
		if err != nil {
			continue // what it says is for the client to judge
		}
		if inner.ClientKey != message.ClientKey {
			return nil, flawed(flawContent, fmt.Errorf("message %s: it is for %s, not for %s", message.Key, inner.ClientKey, message.ClientKey))
		}
		// The open message has sequence number 1, and a client refuses any other start.
		checked.greets[i] = inner.SequenceNum == 1
	}
	return checked, nil
}

// VerifyBatch makes a client's checks on a batch that has messages.
func VerifyBatch(verifier *ic.Verifier, canister candid.Principal, batch Batch, now time.Time) error {
	_, err := verify(verifier, canister, batch, now)
	return err
}

// frame is what one client gets: its message, the batch's certificate, and
// the witness pruned to its own leaf.
func (b *checkedBatch) frame(message *candid.OutputMessage) *frame {
	b.path[0], b.path[1] = websocketLabel, append(b.path[1][:0], message.Key...)
	b.pruned = b.witness.AppendWitness(cbor.AppendSelfDescribe(b.pruned[:0]), b.path[:]...)
	f := newFrame()
	f.bytes = candid.AppendOutputFrame(f.bytes, message.Key, message.Content, b.Cert, b.pruned)
	return f
}

var websocketLabel = []byte("websocket")
