package config

import (
	"net/netip"

	"github.com/icrelay/icrelay/internal/origin"
)

// Proxies returns the networks of trusted_proxies; nil where none are given.
func (g *Gateway) Proxies() []netip.Prefix {
	if g.TrustedProxies == nil {
		return nil
	}
	list := make([]netip.Prefix, 0, len(g.TrustedProxies))
	for _, text := range g.TrustedProxies {
		if prefix, err := parseNetwork(text); err == nil { // checked by Load
			list = append(list, prefix)
		}
	}
	return list
}

// parseNetwork reads a CIDR, or one address.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(text)
}

func checkProxies(p *problems, key string, list []string) {
	for i, text := range list {
		at := index(key, i)
		prefix, err := parseNetwork(text)
		switch {
		case err != nil:
			p.add(at, `%q is neither an address nor a network like "10.0.0.0/8" or "2001:db8::/32"`, text)
		case prefix.Addr().Is4In6():
			p.add(at, `%q is IPv4 written as IPv6: write it like "10.0.0.0/8"`, text)
		case prefix != prefix.Masked():
			p.add(at, "%q has bits behind its length: the network is %s", text, prefix.Masked())
		case prefix.Bits() == 0:
			p.add(at, "%q trusts everybody: every client could name an address for itself, or go without limits", text)
		}
	}
}

func checkOrigins(p *problems, key string, list []string) {
	for i, text := range list {
		if _, err := origin.Parse(text); err != nil {
			p.add(index(key, i), "%q: %v", text, err)
		}
	}
}
