package localnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

// node is the one node of the subnet. It signs the answers to queries.
type node struct {
	identity ic.Identity
	id       candid.Principal
	key      []byte // DER
}

func newNode() (*node, error) {
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make the node's key: %w", err)
	}
	return &node{identity: identity, id: identity.Principal(), key: identity.PublicKeyDER()}, nil
}

// signResponse returns the CBOR answer to a query, signed (interface
// specification, "Request: Query call"). now is in nanoseconds since 1970.
func (n *node) signResponse(requestID [32]byte, result execution.Result, now uint64) ([]byte, error) {
	hash := responseHash(requestID, result, now)
	signature, err := n.identity.Sign(append([]byte("\x0Bic-response"), hash[:]...))
	if err != nil {
		return nil, fmt.Errorf("sign a query response: %w", err)
	}
	b := cbor.AppendSelfDescribe(make([]byte, 0, 256+len(result.Reply)))
	if rej := result.Reject; rej == nil {
		b = cbor.AppendMap(b, 3)
		b = cbor.AppendText(b, "status")
		b = cbor.AppendText(b, "replied")
		b = cbor.AppendText(b, "reply")
		b = cbor.AppendMap(b, 1)
		b = cbor.AppendText(b, "arg")
		b = cbor.AppendBytes(b, result.Reply)
	} else {
		b = cbor.AppendMap(b, 2+rejectFields)
		b = cbor.AppendText(b, "status")
		b = cbor.AppendText(b, "rejected")
		b = appendReject(b, rej)
	}
	b = cbor.AppendText(b, "signatures")
	b = cbor.AppendArray(b, 1)
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendText(b, "timestamp")
	b = cbor.AppendUint(b, now)
	b = cbor.AppendText(b, "signature")
	b = cbor.AppendBytes(b, signature)
	b = cbor.AppendText(b, "identity")
	b = cbor.AppendBytes(b, n.id)
	return b, nil
}

// responseHash is the representation-independent hash of a response with its time and request.
func responseHash(requestID [32]byte, result execution.Result, now uint64) [32]byte {
	fields := []field{{"timestamp", hashNat(now)}, {"request_id", sha256.Sum256(requestID[:])}}
	if rej := result.Reject; rej == nil {
		fields = append(fields,
			field{"status", hashText("replied")},
			field{"reply", hashMap([]field{{"arg", sha256.Sum256(result.Reply)}})})
	} else {
		fields = append(fields,
			field{"status", hashText("rejected")},
			field{"reject_code", hashNat(rejectCode(rej))},
			field{"reject_message", hashText(rejectText(rej))},
			field{"error_code", hashText(errorCode(rej))})
	}
	return hashMap(fields)
}

// field is a field of a map, its value hashed (interface specification,
// "Representation-independent hashing of structured data").
type field struct {
	name  string
	value [32]byte
}

func hashMap(fields []field) [32]byte {
	pairs := make([][]byte, len(fields))
	for i, f := range fields {
		name := sha256.Sum256([]byte(f.name))
		pairs[i] = append(name[:], f.value[:]...)
	}
	slices.SortFunc(pairs, bytes.Compare)
	return sha256.Sum256(bytes.Join(pairs, nil))
}

func hashText(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func hashNat(n uint64) [32]byte {
	return sha256.Sum256(binary.AppendUvarint(nil, n)) // the same as unsigned LEB128
}
