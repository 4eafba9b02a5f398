package localnet

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
)

func labels(parts ...any) [][]byte {
	var p [][]byte
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			p = append(p, []byte(part))
		case candid.Principal:
			p = append(p, part.Bytes())
		case [32]byte:
			p = append(p, part[:])
		}
	}
	return p
}

func TestReadStatePaths(t *testing.T) {
	n := startFake(t)
	e := n.envelope("call", n.user)
	n.certificate(n.post(callURL("v3", testCanister), e.Encode()))
	mine, unknown := e.RequestID(), [32]byte{1, 2, 3}
	subnet := n.Subnet()
	atCanister, atSubnet := readStateURL("v3", testCanister), "/api/v3/subnet/"+subnet.String()+"/read_state"
	cases := []struct {
		name   string
		url    string
		as     ic.Identity
		status int
		text   string
		paths  [][][]byte
	}{
		{"time", atCanister, nil, 200, "", [][][]byte{labels("time")}},
		{"no path at all", atCanister, nil, 200, "", nil},
		{"the empty path", atCanister, nil, 404, "Invalid path requested.", [][][]byte{{}}},
		{"unknown path", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("secrets")}},
		{"all requests", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("request_status")}},
		{"all canisters", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("canister")}},
		{"all of a canister", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("canister", testCanister)}},
		{"below the time", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("time", "x")}},
		{"certified data", atCanister, n.controller, 404, "Invalid path requested.", [][][]byte{labels("canister", testCanister, "certified_data")}},

		{"module hash", atCanister, nil, 200, "", [][][]byte{labels("canister", testCanister, "module_hash")}},
		{"controllers", atCanister, nil, 200, "", [][][]byte{labels("canister", testCanister, "controllers")}},
		{"install time", atCanister, nil, 200, "", [][][]byte{labels("canister", testCanister, "last_install_timestamp")}},
		{"module hash of another", atCanister, nil, 400, "does not match requested principal id", [][][]byte{labels("canister", otherCanister, "module_hash")}},
		{"principal that is none", atCanister, nil, 400, "Could not parse principal ID", [][][]byte{labels("canister", strings.Repeat("x", 30), "controllers")}},
		{"canister at the subnet", atSubnet, nil, 404, "Invalid path requested.", [][][]byte{labels("canister", testCanister, "module_hash")}},
		{"public section", atCanister, nil, 200, "", [][][]byte{labels("canister", testCanister, "metadata", "candid:service")}},
		{"private section", atCanister, n.user, 403, "can only be requested by the controllers", [][][]byte{labels("canister", testCanister, "metadata", "secret")}},
		{"private section, anonymously", atCanister, nil, 403, "can only be requested by the controllers", [][][]byte{labels("canister", testCanister, "metadata", "secret")}},
		{"private section, by the controller", atCanister, n.controller, 200, "", [][][]byte{labels("canister", testCanister, "metadata", "secret")}},
		{"section that is not there", atCanister, nil, 200, "", [][][]byte{labels("canister", testCanister, "metadata", "nothing")}},
		{"section name that is no text", atCanister, nil, 400, "Could not parse the custom section name", [][][]byte{labels("canister", testCanister, "metadata", "\xff")}},
		{"all sections", atCanister, n.controller, 404, "Invalid path requested.", [][][]byte{labels("canister", testCanister, "metadata")}},
		{"section of a canister that does not exist", readStateURL("v2", absentCanister), nil, 200, "", [][][]byte{labels("canister", absentCanister, "metadata", "x")}},

		{"own request", atCanister, n.user, 200, "", [][][]byte{labels("request_status", mine)}},
		{"own request, at the subnet", atSubnet, n.user, 200, "", [][][]byte{labels("request_status", mine)}},
		{"own request's parts", atCanister, n.user, 200, "", [][][]byte{labels("request_status", mine, "status"), labels("request_status", mine, "reply")}},
		{"own request's unknown part", atCanister, n.user, 404, "Invalid path requested.", [][][]byte{labels("request_status", mine, "sender")}},
		{"somebody else's request", atCanister, n.stranger, 403, "not signed by the caller", [][][]byte{labels("request_status", mine)}},
		{"somebody else's request, anonymously", atCanister, nil, 403, "not signed by the caller", [][][]byte{labels("request_status", mine, "status")}},
		{"somebody else's request, as controller", atCanister, n.controller, 403, "not signed by the caller", [][][]byte{labels("request_status", mine)}},
		{"unknown request", atCanister, n.stranger, 200, "", [][][]byte{labels("request_status", unknown)}},
		{"two requests", atCanister, n.user, 400, "More than one", [][][]byte{labels("request_status", mine), labels("request_status", unknown)}},
		{"short request id", atCanister, n.user, 400, "Invalid request id", [][][]byte{labels("request_status", "short")}},
		{"long request id", atCanister, n.user, 400, "Invalid request id", [][][]byte{labels("request_status", strings.Repeat("x", 33))}},

		{"all subnets", atCanister, nil, 200, "", [][][]byte{labels("subnet")}},
		{"a subnet's key", atCanister, nil, 200, "", [][][]byte{labels("subnet", subnet, "public_key")}},
		{"a subnet's nodes", atSubnet, nil, 200, "", [][][]byte{labels("subnet", subnet, "node")}},
		{"a node's key", atSubnet, nil, 200, "", [][][]byte{labels("subnet", subnet, "node", n.node.id, "public_key")}},
		{"the root subnet's ranges", atCanister, nil, 200, "", [][][]byte{labels("subnet", subnet, "canister_ranges")}},
		{"sharded ranges", atSubnet, nil, 200, "", [][][]byte{labels("canister_ranges", subnet)}},
		{"sharded ranges at a canister", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("canister_ranges", subnet)}},
		{"sharded ranges of two subnets", atSubnet, nil, 400, "More than one subnet", [][][]byte{labels("canister_ranges", subnet), labels("canister_ranges", n.node.id)}},
		{"metrics", atSubnet, nil, 200, "", [][][]byte{labels("subnet", subnet, "metrics")}},
		{"metrics of another subnet", atSubnet, nil, 400, "does not match", [][][]byte{labels("subnet", n.node.id, "metrics")}},
		{"metrics at a canister", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("subnet", subnet, "metrics")}},
		{"another subnet", "/api/v2/subnet/" + n.node.id.String() + "/read_state", nil, 400, "not part of this network", [][][]byte{labels("time")}},
		{"boundary nodes", atCanister, nil, 200, "", [][][]byte{labels("api_boundary_nodes")}},
		{"something of a boundary node", atCanister, nil, 404, "Invalid path requested.", [][][]byte{labels("api_boundary_nodes", n.node.id, "password")}},
		{"1000 paths", atCanister, nil, 200, "", make1000(labels("time"))},
		{"1001 paths", atCanister, nil, 400, "path", append(make1000(labels("time")), labels("time"))},
		{"128 labels", atCanister, nil, 400, "label", [][][]byte{make([][]byte, 128)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := n.post(c.url, n.envelope("read_state", c.as, func(e *candid.Envelope) { e.Paths = c.paths }).Encode())
			if r.status != c.status || c.status != 200 && !strings.Contains(string(r.body), c.text) {
				t.Fatalf("%d %q, expected %d with %q", r.status, r.body, c.status, c.text)
			}
			if c.status == 200 {
				cert := n.certificate(r)
				if _, ok := lookup(t, cert, "time"); !ok {
					t.Error("no time")
				}
				for _, p := range c.paths {
					if _, result := cert.Tree.LookupSubtree(p...); result != ic.Found && result != ic.Absent {
						t.Errorf("%q is %v", p, result)
					}
				}
				if !cert.Tree.WellFormed() {
					t.Error("the tree is not well-formed")
				}
			}
		})
	}
}

func make1000(p [][]byte) [][][]byte {
	paths := make([][][]byte, 1000)
	for i := range paths {
		paths[i] = p
	}
	return paths
}

func TestReadStateValues(t *testing.T) {
	n := startFake(t)
	read := func(url string, paths ...[][]byte) *ic.Certificate {
		t.Helper()
		return n.certificate(n.post(url, n.envelope("read_state", n.controller, func(e *candid.Envelope) { e.Paths = paths }).Encode()))
	}
	expect := func(cert *ic.Certificate, want []byte, labels ...any) {
		t.Helper()
		if got, ok := lookup(t, cert, labels...); !ok || !bytes.Equal(got, want) {
			t.Errorf("%q is %q, %v", labels, got, ok)
		}
	}
	absent := func(cert *ic.Certificate, labels ...any) {
		t.Helper()
		if got, ok := lookup(t, cert, labels...); ok {
			t.Errorf("%q is %q", labels, got)
		}
	}
	subnet := n.Subnet()
	atCanister, atSubnet := readStateURL("v2", testCanister), "/api/v2/subnet/"+subnet.String()+"/read_state"

	cert := read(atCanister, labels("canister", testCanister, "module_hash"), labels("canister", testCanister, "controllers"),
		labels("canister", testCanister, "metadata", "secret"), labels("canister", testCanister, "metadata", "candid:service"),
		labels("canister", testCanister, "metadata", "nothing"), labels("canister", testCanister, "last_install_timestamp"))
	expect(cert, bytes.Repeat([]byte{7}, 32), "canister", testCanister, "module_hash")
	expect(cert, []byte("private words"), "canister", testCanister, "metadata", "secret")
	expect(cert, []byte("service : {}"), "canister", testCanister, "metadata", "candid:service")
	absent(cert, "canister", testCanister, "metadata", "nothing")
	absent(cert, "canister", testCanister, "last_install_timestamp")
	if _, result := cert.Tree.Lookup(labels("canister", testCanister, "certified_data")...); result == ic.Found {
		t.Error("certified data is revealed")
	}
	controllers, _ := lookup(t, cert, "canister", testCanister, "controllers")
	r := cbor.NewReader(controllers)
	if !r.SkipSelfDescribe() {
		t.Error("controllers are not self-described")
	}
	if c, err := r.Array(); err != nil || c.Len() != 1 {
		t.Errorf("controllers %x", controllers)
	}
	if p, err := r.Bytes(); err != nil || candid.Principal(p) != n.controller.Principal() {
		t.Errorf("controllers %x", controllers)
	}

	empty := read(readStateURL("v3", otherCanister), labels("canister", otherCanister, "module_hash"), labels("canister", otherCanister, "controllers"))
	absent(empty, "canister", otherCanister, "module_hash")
	if _, ok := lookup(t, empty, "canister", otherCanister, "controllers"); !ok {
		t.Error("an empty canister has controllers")
	}
	absent(read(readStateURL("v3", absentCanister), labels("canister", absentCanister, "module_hash")), "canister", absentCanister, "module_hash")

	cert = read(atSubnet, labels("subnet"), labels("canister_ranges", subnet))
	expect(cert, n.RootKey(), "subnet", subnet, "public_key")
	expect(cert, n.node.key, "subnet", subnet, "node", n.node.id, "public_key")
	expect(cert, []byte("system"), "subnet", subnet, "type")
	ranges, _ := lookup(t, cert, "subnet", subnet, "canister_ranges")
	expect(cert, ranges, "canister_ranges", subnet, firstCanister)
	if want := "\xd9\xd9\xf7\x81\x82\x4a\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x4a\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01"; string(ranges) != want {
		t.Errorf("canister ranges %x", ranges)
	}
	if subnet != candid.SelfAuthenticating(n.RootKey()) {
		t.Errorf("subnet id %s", subnet)
	}
	if cert.Time.Sub(n.clock.now()).Abs() > 5*time.Second {
		t.Errorf("time %v", cert.Time)
	}
}

// TestTopLabelsAreHidden guards agents that compare labels byte by byte and so
// take "canister_ranges" for smaller than "canister".
func TestTopLabelsAreHidden(t *testing.T) {
	n := startFake(t)
	url := "/api/v3/subnet/" + n.Subnet().String() + "/read_state"
	cert := n.certificate(n.post(url, n.envelope("read_state", nil, func(e *candid.Envelope) {
		e.Paths = [][][]byte{labels("canister_ranges", n.Subnet())}
	}).Encode()))
	for _, label := range []string{"canister", "request_status", "subnet"} {
		if bytes.Contains(cert.Tree.Encode(), append([]byte{byte(0x40 + len(label))}, label...)) {
			t.Errorf("%s is visible", label)
		}
	}
}

func TestStateFollowsTheMachine(t *testing.T) {
	n := startFake(t)
	moduleHash := func() ([]byte, bool) {
		t.Helper()
		return lookup(t, n.certificate(n.post(readStateURL("v3", testCanister), n.envelope("read_state", nil, func(e *candid.Envelope) {
			e.Paths = [][][]byte{labels("canister", testCanister, "module_hash")}
		}).Encode())), "canister", testCanister, "module_hash")
	}
	moduleHash()
	info, _ := n.fake.Info(testCanister)
	info.ModuleHash = bytes.Repeat([]byte{8}, 32)
	n.fake.set(info)
	if got, _ := moduleHash(); !bytes.Equal(got, info.ModuleHash) {
		t.Errorf("module hash %x", got)
	}
	n.fake.remove(testCanister)
	if _, ok := moduleHash(); ok {
		t.Error("a deleted canister is in the state")
	}
}

func TestStatusOfDelegatedCall(t *testing.T) {
	n := startFake(t)
	e := n.envelope("call", n.user)
	n.certificate(n.post(callURL("v3", testCanister), e.Encode()))
	for name, c := range map[string]struct {
		targets []candid.Principal
		status  int
	}{
		"no targets":     {nil, 200},
		"the canister":   {[]candid.Principal{testCanister}, 200},
		"another":        {[]candid.Principal{otherCanister}, http.StatusForbidden},
		"none in common": {[]candid.Principal{}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			session := n.delegate(candid.Delegation{Expiration: nanoseconds(time.Now().Add(time.Hour)), Targets: c.targets})
			read := n.envelope("read_state", session, func(r *candid.Envelope) {
				r.Paths = [][][]byte{labels("request_status", e.RequestID())}
			})
			if r := n.post(readStateURL("v3", testCanister), read.Encode()); r.status != c.status {
				t.Errorf("%d %q", r.status, r.body)
			}
		})
	}
}
