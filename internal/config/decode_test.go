package config

import (
	"fmt"
	"strings"
	"testing"
)

const routeOfAny = "[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n"

// Whatever cannot be read is one problem, with its key and line, and hides no other.
func TestUnreadable(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"a list over several lines", "[gateway]\nlisten = [\n  1,\n  2,\n]\nidentity = 3\n" + routeOfAny,
			[]string{":2: gateway.listen: must be a text in quotes, not a list", ":6: gateway.identity: must be a text in quotes, not 3"}},
		{"a text over several lines", "[gateway.limits]\nmax_connections = \"\"\"\na = 1\n\"\"\"\nqueue_bytes = 1.5\n" + routeOfAny,
			[]string{":2: gateway.limits.max_connections: must be a whole number", ":5: gateway.limits.queue_bytes: must be a whole number, not 1.5"}},
		{"a required value", "[[route]]\ncanister = 5\nadapter = \"cdk\"\n", []string{":2: route[0].canister: must be a text in quotes, not 5"}},
		{"an adapter", replaced(t, `adapter = "relay"`, "adapter = 5"), []string{":17: route[0].adapter: must be a text in quotes, not 5"}},
		{"an adapter, with its settings", replaced(t, `adapter = "relay"`, "adapter = 5") + "[[route.relay.call]]\n", []string{":17: route[0].adapter: ", ":24: route[0].relay.call[1].target: ", ":24: route[0].relay.call[1].method: ", ":24: route[0].relay.call[1].tag: missing"}},
		{"a canister's name, which routes use", replaced(t, `name = "guestbook"`, "name = true"), []string{":10: network.canister[0].name: must be a text in quotes, not true"}},
		{"the URL, on which other keys depend", replaced(t, `url = "embedded"`, "url = 1\nroot_key = \"\""), []string{":7: network.url: must be a text in quotes, not 1"}},
		{"one of two that are compared", replaced(t, `idle_timeout = "2m"`, "idle_timeout = \"20s\"\nping_interval = 5"), []string{":6: gateway.limits.ping_interval: must be a duration"}},
		{"a duration", replaced(t, `"2m"`, `1979-05-27T07:32:00Z`), []string{`:5: gateway.limits.idle_timeout: must be a duration like "500ms", "5s" or "1m30s", not a date`}},
		{"a table that is none", "gateway = 5\n" + routeOfAny, []string{":1: gateway: must be a table, not 5"}},
		{"a table inside that is none", "[gateway]\nlimits = \"none\"\n" + routeOfAny, []string{`:2: gateway.limits: must be a table, not "none"`}},
		{"a list that is none", "route = 5\n", []string{":1: route: must be a list, not 5"}},
		{"a table where a list is wanted", "[route]\ncanister = \"*\"\n", []string{":1: route: must be a list, not a table"}},
		{"an element of a list", "route = [\n  5,\n  { canister = \"*\", adapter = \"cdk\" },\n]\n", []string{":1: route[0]: must be a table, not 5"}},
		{"an admin", good + "[route.relay]\nadmins = [\"2vxsx-fae\", 5]\n",
			[]string{":25: route[0].relay.admins[0]: the anonymous", ":25: route[0].relay.admins[1]: must be a text in quotes, not 5"}},
		{"a relay table", "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"relay\"\nrelay = true\n", []string{":4: route[0].relay: must be a table, not true"}},
		{"calls", "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"relay\"\nrelay.call = \"post\"\n", []string{`:4: route[0].relay.call: must be a list, not "post"`}},
		{"a flag", good + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = \"t\"\npass_client = \"yes\"\n", []string{`:28: route[0].relay.call[1].pass_client: must be true or false, not "yes"`}},
		{"tags, which are compared", good + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = 1\n[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = 2\n",
			[]string{":27: route[0].relay.call[1].tag: must be a text in quotes, not 1", ":31: route[0].relay.call[2].tag: must be a text in quotes, not 2"}},
		{"a reply, which a tag needs", good + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"m\"\ntag = \"t\"\nreply = true\nreply_tag = \"r\"\n", []string{":28: route[0].relay.call[1].reply: must be a text in quotes, not true"}},
		{"a hook's methods", good + "[[route.relay.hook]]\ntarget = \"guestbook\"\nopen = 1\n", []string{":26: route[0].relay.hook[0].open: must be a text in quotes, not 1"}},
		{"hooks", "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"relay\"\nrelay.hook = 1\n", []string{":4: route[0].relay.hook: must be a list, not 1"}},
		{"pushers", "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"relay\"\nrelay.pushers = \"guestbook\"\n", []string{`:4: route[0].relay.pushers: must be a list, not "guestbook"`}},
		{"a number beyond 64 bits", "[gateway.limits]\nqueue_bytes = 99999999999999999999\n", []string{":2: "}},

		{"an unknown key in an inline table", "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"relay\"\nrelay.call = [{ target = \"ryjl3-tyaaa-aaaaa-aaaba-cai\", method = \"m\", retries = 3 }]\n",
			[]string{":4: route[0].relay.call[0].retries: unknown key"}},
		{"an unknown key in one of several tables", strings.Repeat(routeOfAny, 1) + "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\nadapter = \"cdk\"\nadaptor = 1\n",
			[]string{":7: route[1].adaptor: unknown key"}},
		{"the first table after a byte order mark", "\xef\xbb\xbf[gateway]\nlisten = 5\n" + routeOfAny, []string{":2: gateway.listen: must be a text"}},
		{"a key in other letters", "[gateway]\nListen = \"127.0.0.1:0\"\n" + routeOfAny, []string{":2: gateway.Listen: unknown key"}},
		{"a key in both", "[gateway]\nlisten = \"127.0.0.1:0\"\nListen = \"127.0.0.1:1\"\n" + routeOfAny, []string{":3: gateway.Listen: unknown key"}},
		{"a table in other letters", "[Gateway]\n" + routeOfAny, []string{":1: Gateway: unknown key"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

// However many there are, all are reported and none is invented.
func TestManyUnreadable(t *testing.T) {
	var text strings.Builder
	var want []string
	for i := range 200 {
		text.WriteString("[[route]]\ncanister = 5\nadapter = \"cdk\"\n")
		want = append(want, fmt.Sprintf(":%d: route[%d].canister: must be", 3*i+2, i))
	}
	wantProblems(t, text.String(), want)
}
