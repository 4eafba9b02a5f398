package localnet

import (
	"context"
	"net/http"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// signatureLead is how far ahead the time in a query's signature lies. The
// agents of 2024 and before refuse an answer that is older, by a millisecond,
// than the newest certificate they hold, and they ask for the nodes' keys while
// they wait for the answer. On a replica both carry the time of the same block,
// which lasts about a second; here each certificate has a time of its own.
const signatureLead = time.Second

// queryEndpoint serves queries (interface specification, "Request: Query call").
func (n *Network) queryEndpoint(atSubnet bool) func(*http.Request, candid.Principal, []byte) (answer, error) {
	return func(r *http.Request, effective candid.Principal, body []byte) (answer, error) {
		e, id, err := n.openEnvelope(body, candid.RequestQuery)
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
		response, err := n.node.signResponse(id, result, n.now().Add(signatureLead))
		return answer{cbor: response}, err
	}
}
