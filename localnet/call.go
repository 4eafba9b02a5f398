package localnet

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/localnet/execution"
)

// Texts of a 202 answer, which says that the call is on its way and its status
// has to be read.
const (
	acceptedLate    = "Message did not complete execution and certification within the replica defined timeout."
	acceptedClosing = "The network is being stopped. Please try /read_state for the status."
)

// callEndpoint serves calls: asynchronous ones (interface specification,
// "Request: Asynchronous Call"), synchronous ones ("Request: Call"), and those
// that create canisters on the subnet. v3 and v4 differ only in the delegation
// of certificates, and the root subnet's have none.
func (n *Network) callEndpoint(sync, atSubnet bool) func(*http.Request, candid.Principal, []byte) (answer, error) {
	return func(r *http.Request, effective candid.Principal, body []byte) (answer, error) {
		e, id, err := n.openEnvelope(body, candid.RequestCall)
		if err != nil {
			return answer{}, err
		}
		if atSubnet {
			err = n.checkSubnetDestination(e, effective)
		} else {
			err = checkDestination(e, effective)
		}
		if err != nil {
			return answer{}, err
		}
		if len(body) > maxIngressBytes {
			return answer{}, refusef(http.StatusRequestEntityTooLarge,
				"Request 0x%x is too large. Message byte size %d is larger than the max allowed %d.", id, len(body), maxIngressBytes)
		}
		req, err := n.submit(e, id, effective)
		var rej *execution.Reject
		switch {
		case errors.As(err, &rej):
			return answer{cbor: encodeRejection(rej, sync)}, nil
		case err != nil:
			return answer{}, err
		case !sync:
			return answer{}, nil
		}
		return n.awaitReply(r.Context(), req)
	}
}

// submit gives a call to the machine, once: the same call sent again joins the
// first one. A *execution.Reject means that the call was not accepted.
func (n *Network) submit(e *candid.Envelope, id [32]byte, effective candid.Principal) (*request, error) {
	expiry := time.Unix(0, int64(e.IngressExpiry)) //nolint:gosec // within minutes of now, as checkExpiry found
	req, first, err := n.requests.begin(id, e.Sender, e.Canister, expiry)
	if err != nil {
		n.log.Warn("call refused", "error", err)
		return nil, errIngressFull
	}
	if !first {
		return req, nil
	}
	err = n.machine.Submit(execution.Ingress{
		ID:        id,
		Sender:    e.Sender,
		Canister:  e.Canister,
		Method:    e.Method,
		Arg:       e.Arg,
		Effective: effective,
		Expiry:    expiry,
	}, func(result execution.Result) { n.requests.settle(req, result) })
	if err != nil {
		var rej *execution.Reject
		busy := errors.Is(err, execution.ErrBusy) // it says so with a reject, too
		switch {
		case !busy && errors.As(err, &rej):
		case errors.Is(err, execution.ErrClosed):
			err = errClosing
		default:
			n.log.Warn("call refused", "canister", e.Canister.String(), "method", e.Method, "error", err)
			err = errIngressFull
		}
		n.requests.refuse(req, err)
		return nil, err
	}
	n.requests.accept(req)
	return req, nil
}

// awaitReply waits for the answer to a call and certifies it.
func (n *Network) awaitReply(ctx context.Context, req *request) (answer, error) {
	timer := time.NewTimer(n.syncTimeout)
	defer timer.Stop()
	select {
	case <-req.settled:
	case <-timer.C:
		return answer{accepted: acceptedLate}, nil
	case <-n.closing:
		return answer{accepted: acceptedClosing}, nil
	case <-ctx.Done():
		return answer{accepted: acceptedLate}, nil // nobody reads it
	}
	var rej *execution.Reject
	switch {
	case errors.As(req.refusal, &rej): // a duplicate of a call that was then not accepted
		return answer{cbor: encodeRejection(rej, true)}, nil
	case req.refusal != nil:
		return answer{}, req.refusal
	}
	state, err := n.certifier.state()
	if err != nil {
		return answer{}, err
	}
	certificate := state.certificate([]path{{[]byte("request_status"), req.id[:]}})
	b := cbor.AppendSelfDescribe(make([]byte, 0, len(certificate)+48))
	b = cbor.AppendMap(b, 2)
	b = cbor.AppendText(b, "status")
	b = cbor.AppendText(b, "replied")
	b = cbor.AppendText(b, "certificate")
	return answer{cbor: cbor.AppendBytes(b, certificate)}, nil
}

// encodeRejection says that a call was not accepted. The asynchronous endpoint leaves the status away.
func encodeRejection(rej *execution.Reject, sync bool) []byte {
	b := cbor.AppendSelfDescribe(nil)
	if !sync {
		return appendReject(cbor.AppendMap(b, rejectFields), rej)
	}
	b = cbor.AppendMap(b, 1+rejectFields)
	b = cbor.AppendText(b, "status")
	b = cbor.AppendText(b, "non_replicated_rejection")
	return appendReject(b, rej)
}
