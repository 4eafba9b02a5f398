package execution

import (
	"github.com/icrelay/icrelay/candid"
)

func (m *Machine) submitManagement(in Ingress, done func(Result)) error {
	return canisterNotFound(in.Canister)
}

func (m *Machine) callManagement(c *canister, msg *message) {
	m.respond(msg.origin, rejected(reject(icMethodNotFound, "Management canister has no method '%s'", msg.method)), msg.cycles)
}

func (m *Machine) queryManagement(sender candid.Principal, method string, arg []byte) Result {
	return Result{Reject: reject(icMethodNotFound, "Management canister has no query method '%s'", method)}
}
