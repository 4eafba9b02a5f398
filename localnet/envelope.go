package localnet

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// openEnvelope decodes a request and checks everything about it that does not
// depend on the endpoint: its form and sizes (which the decoder bounds), its type,
// its expiry and its signature. It returns the request id, too.
func (n *Network) openEnvelope(body []byte, kind string) (e *candid.Envelope, id [32]byte, err error) {
	if e, err = candid.DecodeEnvelope(body); err != nil {
		return nil, id, badRequest("Failed to deserialize cbor request: %v", err)
	}
	if e.RequestType != kind {
		return nil, id, badRequest("Failed to deserialize cbor request: unknown variant `%s`, expected `%s`", e.RequestType, kind)
	}
	// Anonymous queries and reads may carry any expiry (interface specification,
	// "Authentication"), as replicas see it.
	now := n.now()
	if kind == candid.RequestCall || !e.Sender.IsAnonymous() {
		if err := checkExpiry(e.IngressExpiry, now); err != nil {
			return nil, id, err
		}
	}
	id = e.RequestID()
	if err := ic.VerifyEnvelope(e, now, ic.WithVerifier(n.verifier), ic.WithRequestID(id)); err != nil {
		return nil, id, authenticationError(e, now, err)
	}
	return e, id, nil
}

// authenticationError says in a replica's words why VerifyEnvelope failed:
// applications look for these words to tell their users to log in again.
func authenticationError(e *candid.Envelope, now time.Time, err error) error {
	switch {
	case e.Sender.IsAnonymous():
		return badRequest("Signature is not allowed for the anonymous user")
	case e.SenderPubkey == nil || e.SenderSig == nil:
		return badRequest("Missing signature from user: %s", e.Sender)
	case candid.SelfAuthenticating(e.SenderPubkey) != e.Sender:
		return badRequest("The user id %s does not match the public key %x", e.Sender, e.SenderPubkey)
	}
	for i := range e.Delegations {
		if expiration := e.Delegations[i].Expiration; expiration < nanoseconds(now) {
			return badRequest("Invalid delegation expiry: Specified sender delegation has expired:\nProvided expiry:    %s\nLocal replica time: %s",
				utc(expiration), utc(nanoseconds(now)))
		}
	}
	if e.RequestType != candid.RequestReadState && !targetsOf(e).allow(e.Canister) {
		return badRequest("Canister %s is not one of the delegation targets", e.Canister)
	}
	if errors.Is(err, ic.ErrDelegation) {
		return badRequest("Invalid delegation: %v", err)
	}
	return badRequest("Invalid signature: %v", err)
}

// Expiry window of requests: what a replica accepts.
const (
	maxIngressTTL  = 5 * time.Minute
	permittedDrift = 30 * time.Second
)

// checkExpiry refuses a request whose time is over, or that would stay valid for too long.
func checkExpiry(expiry uint64, now time.Time) error {
	earliest := nanoseconds(now)
	latest := earliest + uint64(maxIngressTTL+permittedDrift)
	if expiry >= earliest && expiry <= latest {
		return nil
	}
	return badRequest("Invalid request expiry: Specified ingress_expiry not within expected range: "+
		"Minimum allowed expiry: %s, Maximum allowed expiry: %s, Provided expiry:        %s",
		utc(earliest), utc(latest), utc(expiry))
}

// utc writes a time as replicas do.
func utc(ns uint64) string {
	const billion = 1_000_000_000
	return time.Unix(int64(ns/billion), int64(ns%billion)).UTC().Format("2006-01-02 15:04:05.999999999 UTC") //nolint:gosec // both fit
}

// targets are the canisters that a chain of delegations is good for. The zero
// value stands for all canisters.
type targets struct {
	limited bool
	list    []candid.Principal
}

// targetsOf intersects the targets of an envelope's delegations.
func targetsOf(e *candid.Envelope) targets {
	var t targets
	for i := range e.Delegations {
		these := e.Delegations[i].Targets
		switch {
		case these == nil:
		case !t.limited:
			t = targets{limited: true, list: these}
		default:
			t.list = slices.DeleteFunc(slices.Clone(t.list), func(p candid.Principal) bool { return !slices.Contains(these, p) })
		}
	}
	return t
}

func (t targets) allow(canister candid.Principal) bool {
	return !t.limited || slices.Contains(t.list, canister)
}

// checkDestination compares the canister in a request with the one in the URL
// (interface specification, "Effective canister id").
func checkDestination(e *candid.Envelope, effective candid.Principal) error {
	if e.Canister == candid.ManagementCanister {
		named, anywhere := managementTarget(e.Method, e.Arg)
		if anywhere || named == effective {
			return nil
		}
		return errDestination(named, effective)
	}
	if e.Canister != effective {
		return errDestination(e.Canister, effective)
	}
	return nil
}

// checkSubnetDestination does the same for the endpoints of a subnet, which
// serve one method of the management canister each (interface specification,
// "Effective subnet id").
func (n *Network) checkSubnetDestination(e *candid.Envelope, subnet candid.Principal) error {
	if !n.isSubnet(subnet) {
		return errUnknownSubnet(subnet)
	}
	if e.Canister != candid.ManagementCanister || !atSubnet(e.RequestType, e.Method) {
		return badRequest("Specified method %.100s of canister %s cannot be called at the subnet endpoint", e.Method, e.Canister)
	}
	return nil
}

// isSubnet reports whether an id is one of those that the subnet is listed under.
func (n *Network) isSubnet(id candid.Principal) bool {
	return id == n.subnet || id == n.certifier.alias
}

func errDestination(named, effective candid.Principal) error {
	return badRequest("Specified CanisterId %s does not match effective canister id in URL %s", named, effective)
}

func errUnknownSubnet(subnet candid.Principal) error {
	return refusef(http.StatusBadRequest, "Subnet %s is not part of this network.", subnet)
}
