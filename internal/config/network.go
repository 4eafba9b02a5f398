package config

import (
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// names are those of the embedded canisters.
type names struct {
	list    []string
	unknown bool // some could not be read
}

func (n *Network) validate(p *problems, path func(string) string) names {
	known := names{unknown: !p.read("network.canister")}
	for i := range n.Canisters {
		known.add(p, index("network.canister", i), &n.Canisters[i], path)
	}
	if !p.read("network.url") {
		return known
	}
	if n.URL != Embedded {
		n.validateRemote(p)
		return known
	}
	if n.Listen == "" {
		n.Listen = DefaultNetworkListen
	}
	checkAddress(p, "network.listen", n.Listen)
	if n.RootKey != "" {
		p.add("network.root_key", "the embedded network makes its own root key; remove this")
	}
	return known
}

func (n *names) add(p *problems, key string, c *Canister, path func(string) string) {
	switch {
	case !p.read(key + ".name"):
		n.unknown = true
	case c.Name == "":
		p.add(key+".name", "every canister needs a name, which routes use")
	case c.Name == anyCanister:
		p.add(key+".name", `"*" in a route means any canister, so it cannot be the name of one`)
	case slices.Contains(n.list, c.Name):
		p.add(key+".name", "%q is the name of another canister", c.Name)
	}
	if _, err := candid.ParsePrincipal(c.Name); err == nil && c.Name != "" {
		p.add(key+".name", "%q is a principal; a name must not look like one", c.Name)
	}
	n.list = append(n.list, c.Name)
	c.validateWasm(p, key+".wasm", path)
}

func (c *Canister) validateWasm(p *problems, key string, path func(string) string) {
	if name, ok := c.Builtin(); ok {
		if !slices.Contains(builtins, name) {
			p.add(key, "there is no module %q in the relay; known: %s%s", c.Wasm, builtin, strings.Join(builtins, ", "+builtin))
		}
		return
	}
	if c.Wasm == "" {
		p.add(key, `must name a Wasm file, or "builtin:relay"`)
		return
	}
	c.Wasm = path(c.Wasm)
	if info, err := os.Stat(c.Wasm); err != nil {
		p.add(key, "%v", err)
	} else if info.IsDir() {
		p.add(key, "%s is a folder, not a Wasm file", c.Wasm)
	}
}

func (n *Network) validateRemote(p *problems) {
	host := n.validateURL(p)
	if n.Listen != "" {
		p.add("network.listen", `is for url = "embedded" only`)
	}
	if len(n.Canisters) > 0 {
		p.add("network.canister[0]", `canisters are installed in the embedded network only; with url = %q deploy them with your own tool and name them by principal in the routes`, n.URL)
	}
	switch {
	case n.RootKey != "":
		checkRootKey(p, n.RootKey)
	case host != "" && !n.IsMainnet() && !isLoopback(host):
		p.add("network.root_key", "needed for %s: only a network on this machine may be asked for its own root key (without a key of yours, anybody in between could forge certificates)", n.URL)
	}
}

// validateURL returns the host of a URL that can be used.
func (n *Network) validateURL(p *problems) string {
	const key = "network.url"
	u, err := url.Parse(n.URL)
	switch {
	case n.URL == "":
		p.add(key, `must be "embedded", or the URL of a network, for example "http://127.0.0.1:8000" or "https://icp-api.io"`)
	case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		p.add(key, `%q is neither "embedded" nor an http or https URL`, n.URL)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(n.URL, "#"):
		p.add(key, "%q has more than a network's address: leave out the user, the query and the fragment", n.URL)
	case u.Port() != "" && !isPort(u.Port()):
		p.add(key, "%q is not a port", u.Port())
	default:
		return u.Hostname()
	}
	return ""
}

func checkRootKey(p *problems, text string) {
	const key = "network.root_key"
	der, err := hex.DecodeString(text)
	if err != nil {
		p.add(key, "must be the hexadecimal DER of the network's public key: %v", err)
		return
	}
	if _, err := ic.NewVerifier(der); err != nil {
		p.add(key, "must be the hexadecimal DER of the network's public key, 133 bytes: %v", err)
	}
}

// IsMainnet reports whether the URL is one of the Internet Computer's own
// API addresses, whose root key is a constant.
func (n *Network) IsMainnet() bool {
	u, err := url.Parse(n.URL)
	if err != nil || u.Scheme != "https" {
		return false
	}
	host := u.Hostname()
	for _, domain := range []string{"icp-api.io", "icp0.io", "ic0.app", "internetcomputer.org"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}
