package localnet

import (
	"net/http"
	"unicode/utf8"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

// readStateEndpoint serves read_state for a canister or for the subnet
// (interface specification, "Request: Read state"). v2 and v3 differ only in
// what they reveal of the canister ranges of subnets other than the root subnet,
// and here is no other.
func (n *Network) readStateEndpoint(ofSubnet bool) func(*http.Request, candid.Principal, []byte) (answer, error) {
	return func(_ *http.Request, effective candid.Principal, body []byte) (answer, error) {
		if ofSubnet && !n.isSubnet(effective) {
			return answer{}, errUnknownSubnet(effective)
		}
		e, _, err := n.openEnvelope(body, candid.RequestReadState)
		if err != nil {
			return answer{}, err
		}
		reader := pathReader{n: n, sender: e.Sender, targets: targetsOf(e), effective: effective, ofSubnet: ofSubnet}
		for _, p := range e.Paths {
			if err := reader.check(p); err != nil {
				return answer{}, err
			}
		}
		state, err := n.certifier.state()
		if err != nil {
			return answer{}, err
		}
		certificate := state.certificate(e.Paths)
		b := cbor.AppendSelfDescribe(make([]byte, 0, len(certificate)+24))
		b = cbor.AppendMap(b, 1)
		b = cbor.AppendText(b, "certificate")
		return answer{cbor: cbor.AppendBytes(b, certificate)}, nil
	}
}

// pathReader decides which paths one read_state request may read.
type pathReader struct {
	n         *Network
	sender    candid.Principal
	targets   targets
	effective candid.Principal // the canister, or the subnet, in the URL
	ofSubnet  bool
	request   string // the one request whose status is asked for, "" before the first
	ranges    string // the one subnet whose sharded ranges are asked for
}

func (r *pathReader) check(p path) error {
	head := ""
	if len(p) > 0 {
		head = string(p[0])
	}
	switch {
	case head == "time" && len(p) == 1:
		return nil
	case head == "api_boundary_nodes" && len(p) <= 3:
		if len(p) < 3 || is(p[2], "domain", "ipv4_address", "ipv6_address") {
			return nil
		}
	case head == "subnet":
		return r.checkSubnet(p)
	case head == "canister_ranges" && len(p) == 2 && r.ofSubnet:
		if r.ranges != "" && r.ranges != string(p[1]) {
			return badRequest("More than one subnet ID exists in canister_ranges paths.")
		}
		r.ranges = string(p[1])
		return nil
	case head == "request_status":
		return r.checkRequest(p)
	case head == "canister" && !r.ofSubnet:
		return r.checkCanister(p)
	}
	return errInvalidPath
}

var errInvalidPath = refusef(http.StatusNotFound, "Invalid path requested.")

func (r *pathReader) checkSubnet(p path) error {
	switch {
	case len(p) <= 2,
		len(p) == 3 && is(p[2], "public_key", "type", "canister_ranges", "node"),
		len(p) == 4 && is(p[2], "node"),
		len(p) == 5 && is(p[2], "node") && is(p[4], "public_key"):
		return nil
	case len(p) == 3 && is(p[2], "metrics") && r.ofSubnet:
		return r.matchEffective(p[1])
	}
	return errInvalidPath
}

func (r *pathReader) checkCanister(p path) error {
	switch {
	case len(p) == 3 && is(p[2], "module_hash", "controllers", "canister_creation_timestamp", "last_install_timestamp"):
		return r.matchEffective(p[1])
	case len(p) == 4 && is(p[2], "metadata"):
		if !utf8.Valid(p[3]) {
			return badRequest("Could not parse the custom section name: it is not UTF-8.")
		}
		if err := r.matchEffective(p[1]); err != nil {
			return err
		}
		return r.checkMetadata(string(p[3]))
	}
	return errInvalidPath
}

// checkMetadata keeps private sections for the controllers. What does not exist may be asked for by anybody.
func (r *pathReader) checkMetadata(name string) error {
	info, ok := r.n.machine.Info(r.effective)
	if !ok {
		return nil
	}
	if section, ok := info.Metadata[name]; !ok || section.Public {
		return nil
	}
	for _, c := range info.Controllers {
		if c == r.sender {
			return nil
		}
	}
	return refusef(http.StatusForbidden, "Custom section %.100s can only be requested by the controllers of the canister.", name)
}

// checkRequest lets the sender of a call read its status, nobody else. The
// status of a call that is not known may be asked for by anybody.
func (r *pathReader) checkRequest(p path) error {
	if len(p) != 2 && (len(p) != 3 || !is(p[2], "status", "reply", "reject_code", "reject_message", "error_code")) {
		return errInvalidPath
	}
	var id [32]byte
	if copy(id[:], p[1]) != len(p[1]) || len(p[1]) != len(id) {
		return badRequest("Invalid request id in paths. Maybe the request ID is not of %d bytes in length?!", len(id))
	}
	if r.request != "" && r.request != string(p[1]) {
		return badRequest("More than one non-unique request ID exists in request_status paths: 0x%x and 0x%x.", r.request, p[1])
	}
	r.request = string(p[1])
	known := r.n.requests.lookup(id)
	switch {
	case known == nil:
		return nil
	case known.sender != r.sender:
		return refusef(http.StatusForbidden, "The user tries to access Request ID not signed by the caller.")
	case !r.targets.allow(known.canister):
		return refusef(http.StatusForbidden, "The user tries to access request IDs for canisters not belonging to sender delegation targets.")
	}
	return nil
}

// matchEffective checks that a label names what the URL names.
func (r *pathReader) matchEffective(label []byte) error {
	id, err := candid.PrincipalFromBytes(label)
	if err != nil {
		return badRequest("Could not parse principal ID: %v.", err)
	}
	if id != r.effective {
		return badRequest("Effective principal id in URL %s does not match requested principal id: %s.", r.effective, id)
	}
	return nil
}

func is(label []byte, names ...string) bool {
	for _, name := range names {
		if string(label) == name {
			return true
		}
	}
	return false
}
