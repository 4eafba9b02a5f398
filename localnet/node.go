package localnet

import (
	"fmt"

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
	when, request := candid.NatField("timestamp", now), candid.BytesField("request_id", requestID[:])
	rej := result.Reject
	if rej == nil {
		return candid.HashOfMap(when, request, candid.TextField("status", "replied"),
			candid.MapField("reply", candid.BytesField("arg", result.Reply)))
	}
	return candid.HashOfMap(when, request, candid.TextField("status", "rejected"),
		candid.NatField("reject_code", rejectCode(rej)),
		candid.TextField("reject_message", rejectText(rej)),
		candid.TextField("error_code", errorCode(rej)))
}
