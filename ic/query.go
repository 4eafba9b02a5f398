package ic

import (
	"context"
	"fmt"

	"github.com/icrelay/icrelay/candid"
)

// Query signs a query call, sends it and returns the reply. The reply is what
// one node says: it is checked against the keys of the subnet's nodes if the
// options ask for it, but never certified. A refusal is a *RejectError.
func (c *Client) Query(ctx context.Context, id Identity, canister candid.Principal, method string, arg []byte) ([]byte, error) {
	reply, err := c.sendQuery(ctx, id, canister, method, arg)
	if err != nil {
		return nil, fmt.Errorf("query %s of %s: %w", method, canister, err)
	}
	return reply, nil
}

func (c *Client) sendQuery(ctx context.Context, id Identity, canister candid.Principal, method string, arg []byte) ([]byte, error) {
	e := NewCall(canister, method, arg, c.opts.Now())
	e.RequestType = candid.RequestQuery
	if err := Sign(e, id); err != nil {
		return nil, errRequest{err}
	}
	body, _, err := c.post(ctx, &c.query, canister, e.Encode())
	if err != nil {
		return nil, err
	}
	answer, err := DecodeQueryResponse(body)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if c.opts.VerifyQueries {
		if err := c.verifyQuery(ctx, canister, e.RequestID(), answer); err != nil {
			return nil, err
		}
	}
	if answer.Reject != nil {
		return nil, answer.Reject
	}
	return answer.Reply, nil
}

// ReadState asks for parts of the state tree and returns the verified
// certificate that has them. The paths of a call's status may be read only by
// the sender of that call. canister is the effective canister id.
func (c *Client) ReadState(ctx context.Context, id Identity, canister candid.Principal, paths [][][]byte) (*Certificate, error) {
	v := c.Verifier()
	if v == nil {
		return nil, fmt.Errorf("read state: %w", ErrNoRootKey)
	}
	e := NewCall(canister, "", nil, c.opts.Now())
	e = &candid.Envelope{RequestType: candid.RequestReadState, Paths: paths, IngressExpiry: e.IngressExpiry, Nonce: e.Nonce}
	if err := Sign(e, id); err != nil {
		return nil, fmt.Errorf("read state: %w", errRequest{err})
	}
	body, _, err := c.post(ctx, &c.readState, canister, e.Encode())
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	raw, err := decodeReadState(body)
	if err != nil {
		return nil, fmt.Errorf("read state: answer: %w", err)
	}
	cert, err := v.Verify(raw, canister, c.opts.Now(), c.opts.MaxCertificateAge)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return cert, nil
}
