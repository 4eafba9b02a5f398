package localnet

import (
	"context"
	"net/http"

	"github.com/icrelay/icrelay/candid"
)

// queryEndpoint serves queries (interface specification, "Request: Query call").
func (n *Network) queryEndpoint(atSubnet bool) func(*http.Request, candid.Principal, []byte) (answer, error) {
	return func(r *http.Request, effective candid.Principal, body []byte) (answer, error) {
		e, err := n.openEnvelope(body, candid.RequestQuery)
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
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		result := n.machine.Query(ctx, e.Sender, e.Canister, e.Method, e.Arg)
		response, err := n.node.signResponse(e.RequestID(), result, n.now())
		return answer{cbor: response}, err
	}
}
