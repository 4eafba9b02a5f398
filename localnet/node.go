package localnet

import (
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
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
// specification, "Request: Query call").
func (n *node) signResponse(requestID [32]byte, result execution.Result, now time.Time) ([]byte, error) {
	response := &ic.QueryResponse{Reply: result.Reply}
	if rej := result.Reject; rej != nil {
		response = &ic.QueryResponse{Reject: &ic.RejectError{Code: rej.Code, Text: rejectText(rej), ErrorCode: errorCode(rej)}}
	}
	if err := ic.SignResponse(response, requestID, n.id, n.identity, now); err != nil {
		return nil, err
	}
	return response.Encode(), nil
}
