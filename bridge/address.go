package bridge

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
)

// A caller is where a request comes from, as far as limits are concerned.
type caller struct {
	// own: a trusted proxy that names nobody, which is the machine's own programs,
	// or a proxy that passes bytes on. Limits by address do not apply to it.
	own bool
	// addr is the zero Addr where nobody can tell; all of these count as one.
	addr netip.Addr
}

// key is what limits by address count by: an IPv4 address, or the /64 that one
// customer of an IPv6 provider gets.
func (c caller) key() netip.Prefix {
	bits := 32
	if c.addr.Is6() {
		bits = 64
	}
	key, err := c.addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return key
}

func (c caller) String() string { return c.addr.String() }

// proxies are the networks whose word about a client's address is believed.
type proxies []netip.Prefix

// loopback is trusted unless the configuration says otherwise: a proxy on this machine.
var loopback = proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func (p proxies) trust(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// caller finds out who has sent a request. Each proxy on the way adds the
// address it was called from behind what was there, and only what trusted
// proxies have added is true: so the lists are read from the end, up to the
// first address that is not a trusted proxy's.
//
// Some proxies write X-Forwarded-For, some Forwarded (RFC 7239), and most pass
// the other one on as the client sent it. Where both are there and disagree, or
// the last entry cannot be read, the proxy is the last that is known for sure:
// who plays such tricks shares its place with the others who do.
func (p proxies) caller(r *http.Request) caller {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return caller{}
	}
	hop := plain(peer.Addr())
	if !p.trust(hop) {
		return caller{addr: hop}
	}
	lists, elements := r.Header.Values("X-Forwarded-For"), r.Header.Values("Forwarded")
	fromLists := p.walk(hop, splitLists(lists))
	fromElements := p.walk(hop, forwardedFor(elements))
	switch {
	case len(lists) == 0 && len(elements) == 0:
		return caller{own: true, addr: hop}
	case len(elements) == 0:
		return caller{addr: fromLists}
	case len(lists) == 0:
		return caller{addr: fromElements}
	case fromLists == fromElements:
		return caller{addr: fromLists}
	}
	return caller{addr: hop}
}

// walk goes from a trusted proxy back along the nodes that proxies have named,
// the last of which is the nearest.
func (p proxies) walk(hop netip.Addr, nodes []string) netip.Addr {
	for i := len(nodes) - 1; i >= 0; i-- {
		addr, ok := parseNode(nodes[i])
		if !ok {
			return hop
		}
		if hop = addr; !p.trust(hop) {
			return hop
		}
	}
	return hop
}

// plain is an address without a zone, and IPv4 where it is IPv4 in IPv6's clothes.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// parseNode reads an address as proxies write it: with or without a port, IPv6
// with or without brackets.
func parseNode(node string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(node); err == nil {
		return plain(withPort.Addr()), true
	}
	if inner, found := strings.CutPrefix(node, "["); found {
		if node, found = strings.CutSuffix(inner, "]"); !found {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(node)
	return plain(addr), err == nil
}

// splitLists takes comma-separated header values apart, in order.
func splitLists(values []string) (nodes []string) {
	for _, value := range values {
		for node := range strings.SplitSeq(value, ",") {
			if node = strings.Trim(node, " \t"); node != "" {
				nodes = append(nodes, node)
			}
		}
	}
	return nodes
}

// forwardedFor returns the "for" of each element of Forwarded headers, in
// order. An element without one, and a header that cannot be read, is a node
// that no address can be read from.
func forwardedFor(values []string) (nodes []string) {
	for _, value := range values {
		for rest := strings.Trim(value, " \t"); rest != ""; {
			node, next, err := forwardedElement(rest)
			if err != nil {
				// Where this element ends is a guess, so the rest says nothing.
				nodes = append(nodes, "")
				break
			}
			if node != nil {
				nodes = append(nodes, *node)
			}
			rest = next
		}
	}
	return nodes
}

var errForwarded = errors.New("malformed Forwarded header")

// forwardedElement reads the first element: name=value pairs between
// semicolons, up to a comma. node is nil for an empty element.
func forwardedElement(text string) (node *string, rest string, err error) {
	unnamed := ""
	found := false
	for {
		text = strings.TrimLeft(text, " \t")
		switch {
		case text == "":
			return node, "", nil
		case text[0] == ',':
			return node, text[1:], nil
		case text[0] == ';':
			text = text[1:]
			continue
		}
		name, behind, ok := strings.Cut(text, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t\",;") {
			return nil, "", errForwarded
		}
		var value string
		if value, text, err = forwardedValue(behind); err != nil {
			return nil, "", err
		}
		if node == nil {
			node = &unnamed
		}
		if strings.EqualFold(name, "for") {
			if found {
				return nil, "", errForwarded
			}
			node, found = &value, true
		}
	}
}

// forwardedValue reads a token or a quoted string and what ends it.
func forwardedValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " \t\",;")
		if end < 0 {
			end = len(text)
		}
		value, rest = text[:end], text[end:]
	} else if value, rest, err = quoted(text[1:]); err != nil {
		return "", "", err
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest != "" && rest[0] != ',' && rest[0] != ';' {
		return "", "", errForwarded
	}
	return value, rest, nil
}

// quoted reads up to the closing quote.
func quoted(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], nil
		case '\\':
			if i++; i == len(text) {
				return "", "", errForwarded
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", errForwarded
}
