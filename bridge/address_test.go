package bridge

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func request(remote string, headers ...string) *http.Request {
	r := &http.Request{RemoteAddr: remote, Header: make(http.Header)}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestCaller(t *testing.T) {
	const proxy, stranger, client = "10.1.2.3:5000", "203.0.113.9:5000", "198.51.100.7"
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	const own = "own"
	tests := []struct {
		name    string
		remote  string
		headers []string
		want    string // an address, own, or "" for nobody can tell
	}{
		{"straight", stranger, nil, "203.0.113.9"},
		{"straight, IPv6", "[2001:db8:ffff::7]:5000", nil, "2001:db8:ffff::7"},
		{"straight, IPv6 with a zone", "[fe80::1%eth0]:5000", nil, "fe80::1"},
		{"straight, IPv4 in IPv6", "[::ffff:203.0.113.9]:5000", nil, "203.0.113.9"},
		{"no address at all", "@", nil, ""},
		{"a stranger's word", stranger, []string{"X-Forwarded-For: 198.51.100.7"}, "203.0.113.9"},
		{"a stranger's other word", stranger, []string{"Forwarded: for=198.51.100.7"}, "203.0.113.9"},
		{"a stranger who claims to be a proxy", stranger, []string{"X-Forwarded-For: 198.51.100.7, 10.1.1.1"}, "203.0.113.9"},

		{"proxy without a word", proxy, nil, own},
		{"IPv6 proxy without a word", "[2001:db8:1::5]:5000", nil, own},
		{"proxy as IPv4 in IPv6", "[::ffff:10.1.2.3]:5000", []string{"X-Forwarded-For: 198.51.100.7"}, client},
		{"one proxy", proxy, []string{"X-Forwarded-For: 198.51.100.7"}, client},
		{"with a port", proxy, []string{"X-Forwarded-For: 198.51.100.7:4711"}, client},
		{"IPv6", proxy, []string{"X-Forwarded-For: 2001:db8:ffff::7"}, "2001:db8:ffff::7"},
		{"IPv6 in brackets", proxy, []string{"X-Forwarded-For: [2001:db8:ffff::7]"}, "2001:db8:ffff::7"},
		{"IPv6 with a port", proxy, []string{"X-Forwarded-For: [2001:db8:ffff::7]:443"}, "2001:db8:ffff::7"},
		{"IPv4 in IPv6", proxy, []string{"X-Forwarded-For: ::ffff:198.51.100.7"}, client},
		{"spoofed entry in front", proxy, []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.7"}, client},
		{"spoofed header in front", proxy, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.7"}, client},
		{"spoofed proxy in front", proxy, []string{"X-Forwarded-For: 10.9.9.9, 198.51.100.7"}, client},
		{"two proxies", proxy, []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.7, 10.7.7.7"}, client},
		{"two proxies, two headers", proxy, []string{"X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 10.7.7.7"}, client},
		{"nothing but proxies", proxy, []string{"X-Forwarded-For: 10.8.8.8, 10.7.7.7"}, "10.8.8.8"},
		{"empty entries", proxy, []string{"X-Forwarded-For: , 198.51.100.7 ,,"}, client},
		{"nothing in it", proxy, []string{"X-Forwarded-For: "}, "10.1.2.3"},
		{"unknown", proxy, []string{"X-Forwarded-For: unknown"}, "10.1.2.3"},
		{"unknown behind a proxy", proxy, []string{"X-Forwarded-For: 1.1.1.1, unknown, 10.7.7.7"}, "10.7.7.7"},
		{"garbage in front", proxy, []string{"X-Forwarded-For: x'; drop table, 198.51.100.7"}, client},
		{"garbage at the end", proxy, []string{"X-Forwarded-For: 198.51.100.7, ]["}, "10.1.2.3"},
		{"port without an address", proxy, []string{"X-Forwarded-For: :80"}, "10.1.2.3"},
		{"half a bracket", proxy, []string{"X-Forwarded-For: [2001:db8::1"}, "10.1.2.3"},

		{"Forwarded", proxy, []string{"Forwarded: for=198.51.100.7"}, client},
		{"Forwarded with everything", proxy, []string{`Forwarded: by=10.0.0.1;FOR="198.51.100.7:4711" ; host=example.com;proto=https`}, client},
		{"Forwarded, IPv6", proxy, []string{`Forwarded: for="[2001:db8:ffff::7]:4711"`}, "2001:db8:ffff::7"},
		{"Forwarded, two proxies", proxy, []string{`Forwarded: for=1.1.1.1, for=198.51.100.7;proto=https, for=10.7.7.7`}, client},
		{"Forwarded, two headers", proxy, []string{`Forwarded: for=1.1.1.1`, `Forwarded: for=198.51.100.7`}, client},
		{"Forwarded, unquoted port", proxy, []string{`Forwarded: for=198.51.100.7:80`}, client},
		{"Forwarded, escaped", proxy, []string{`Forwarded: for="198.51.100\.7"`}, client},
		{"Forwarded, empty elements", proxy, []string{`Forwarded: , for=198.51.100.7,, ;,`}, client},
		{"Forwarded, hidden", proxy, []string{`Forwarded: for=1.1.1.1, for=_hidden`}, "10.1.2.3"},
		{"Forwarded, unknown", proxy, []string{`Forwarded: for=unknown`}, "10.1.2.3"},
		{"Forwarded, a hop that names nobody", proxy, []string{`Forwarded: for=1.1.1.1, proto=https`}, "10.1.2.3"},
		{"Forwarded, named twice", proxy, []string{`Forwarded: for=1.1.1.1;for=198.51.100.7`}, "10.1.2.3"},
		{"Forwarded, open quote swallows the proxy's entry", proxy, []string{`Forwarded: for=1.1.1.1;x=", for=198.51.100.7`}, "10.1.2.3"},
		{"Forwarded, quotes that meet", proxy, []string{`Forwarded: for=1.1.1.1;x=", for="[2001:db8::1]";y="`}, "10.1.2.3"},
		{"Forwarded, open quote in a header of its own", proxy, []string{`Forwarded: x="`, `Forwarded: for=198.51.100.7`}, client},
		{"Forwarded, backslash at the end", proxy, []string{`Forwarded: for="1.1.1.1\`}, "10.1.2.3"},
		{"Forwarded, no pair", proxy, []string{`Forwarded: 198.51.100.7`}, "10.1.2.3"},
		{"Forwarded, no name", proxy, []string{`Forwarded: =198.51.100.7`}, "10.1.2.3"},

		{"both, the same", proxy, []string{"X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.7"}, client},
		{"both, the client's own Forwarded", proxy, []string{"X-Forwarded-For: 198.51.100.7", "Forwarded: for=1.1.1.1"}, "10.1.2.3"},
		{"both, the client's own X-Forwarded-For", proxy, []string{"X-Forwarded-For: 1.1.1.1", "Forwarded: for=198.51.100.7"}, "10.1.2.3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := trusted.caller(request(test.remote, test.headers...))
			got := c.addr.String()
			switch {
			case c.own:
				got = own
			case !c.addr.IsValid():
				got = ""
			}
			if got != test.want {
				t.Errorf("caller = %q, want %q", got, test.want)
			}
		})
	}
}

// Nobody's word counts where nobody is trusted, and then nobody is the machine's own.
func TestCallerWithoutProxies(t *testing.T) {
	if c := (proxies{}).caller(request("127.0.0.1:1", "X-Forwarded-For: 198.51.100.7")); c.own || c.addr.String() != "127.0.0.1" {
		t.Errorf("caller = %+v", c)
	}
	for _, remote := range []string{"127.0.0.1:1", "127.9.9.9:1", "[::1]:1"} {
		if c := loopback.caller(request(remote)); !c.own {
			t.Errorf("%s is not the machine's own", remote)
		}
	}
}

func TestCallerKey(t *testing.T) {
	for a, want := range map[string]string{
		"203.0.113.9":      "203.0.113.9/32",
		"2001:db8:1:2::1":  "2001:db8:1:2::/64",
		"2001:db8:1:2:f::": "2001:db8:1:2::/64",
		"2001:db8:1:3::1":  "2001:db8:1:3::/64",
	} {
		if got := (caller{addr: netip.MustParseAddr(a)}).key().String(); got != want {
			t.Errorf("key of %s = %s, want %s", a, got, want)
		}
	}
	if key := (caller{}).key(); key != (netip.Prefix{}) {
		t.Errorf("key of nobody = %s", key)
	}
}

// Headers come from strangers: whatever stands in them, what a trusted proxy
// has written behind it in a header of its own decides.
func FuzzCaller(f *testing.F) {
	f.Add("1.1.1.1, 2.2.2.2", `for="[::1]:80";by=_x, for=unknown`)
	f.Add(",", `";=,\`)
	f.Fuzz(func(t *testing.T, list, elements string) {
		r := request("127.0.0.1:1")
		r.Header["X-Forwarded-For"] = []string{list, "198.51.100.7"}
		r.Header["Forwarded"] = []string{elements, `for="198.51.100.7"`}
		if c := loopback.caller(r); c.own || c.addr.String() != "198.51.100.7" {
			t.Fatalf("caller = %+v", c)
		}
		loopback.caller(&http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"Forwarded": {elements}, "X-Forwarded-For": {list}}})
	})
}
