// Package origin decides which web pages may connect: it reads the patterns of
// a configuration and compares the Origin headers of browsers with them (RFC 6454).
package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A Pattern stands for one origin, for all origins on the subdomains of a
// name, or for any origin.
type Pattern struct {
	any        bool
	opaque     bool // "null": what browsers send for files and sandboxed frames
	subdomains bool // host is the part behind "*."
	origin     parts
}

// parts are those of an origin, in lower case and without a default port.
type parts struct{ scheme, host, port string }

// Parse reads a pattern: "https://app.example.com", "https://*.example.com",
// "null" or "*".
func Parse(text string) (Pattern, error) {
	switch text {
	case "*":
		return Pattern{any: true}, nil
	case "null":
		return Pattern{opaque: true}, nil
	}
	scheme, name, subdomains := strings.Cut(text, "://*.")
	if subdomains {
		text = scheme + "://" + name
	}
	origin, err := split(text)
	if err != nil {
		return Pattern{}, fmt.Errorf(`%w; an origin is written like "https://app.example.com" or "https://*.example.com"`, err)
	}
	if subdomains && isAddress(origin.host) {
		return Pattern{}, errors.New("an IP address has no subdomains")
	}
	return Pattern{subdomains: subdomains, origin: origin}, nil
}

// Match reports whether the value of an Origin header is one of the pattern's.
func (p Pattern) Match(header string) bool {
	if p.any || (p.opaque && header == "null") {
		return true
	}
	o, err := split(header)
	if err != nil || p.opaque || o.scheme != p.origin.scheme || o.port != p.origin.port {
		return false
	}
	if !p.subdomains {
		return o.host == p.origin.host
	}
	return strings.HasSuffix(o.host, "."+p.origin.host)
}

// split takes scheme://host[:port] apart.
func split(text string) (parts, error) {
	scheme, rest, found := strings.Cut(strings.ToLower(text), "://")
	if !found || scheme == "" || scheme[0] < 'a' || scheme[0] > 'z' || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return parts{}, errors.New("it does not begin with a scheme like https://")
	}
	if strings.ContainsAny(rest, "/?#@") {
		return parts{}, errors.New("it has more than scheme, host and port")
	}
	host, port, err := splitPort(rest)
	if err != nil {
		return parts{}, err
	}
	if (scheme == "https" && port == "443") || (scheme == "http" && port == "80") {
		port = ""
	}
	return parts{scheme, host, port}, nil
}

func splitPort(text string) (host, port string, err error) {
	host, rest := text, ""
	if end := strings.IndexByte(text, ']'); strings.HasPrefix(text, "[") && end > 0 {
		host, rest = text[:end+1], text[end+1:]
		if !isAddress(host) {
			return "", "", errors.New("its host is no IPv6 address")
		}
	} else {
		if colon := strings.IndexByte(text, ':'); colon >= 0 {
			host, rest = text[:colon], text[colon:]
		}
		if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
			return "", "", errors.New("its host has other characters than letters, digits, '-', '.' and '_' (a name in another script is written as xn--...)")
		}
	}
	if rest == "" {
		return host, "", nil
	}
	port, found := strings.CutPrefix(rest, ":")
	if !found || port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return "", "", errors.New("its port is no number")
	}
	return host, port, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
