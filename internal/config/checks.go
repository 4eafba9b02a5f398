package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Bounds of durations: below them the process would do little but look at the
// clock, above them a typing error is more likely than a wish.
const (
	shortestPolling = 5 * time.Millisecond
	shortestWatch   = 10 * time.Millisecond
	shortest        = 100 * time.Millisecond // of everything else
	longest         = 24 * time.Hour
)

// checkDuration sets the default where there is none, and reports whether the
// value can be used.
func checkDuration(p *problems, key string, d *Duration, fallback, atLeast time.Duration) bool {
	switch v := time.Duration(*d); {
	case v < 0:
		p.add(key, "%s is negative; 0 or no setting means the default", *d)
	case v == 0:
		*d = Duration(fallback)
		return p.read(key)
	case v < atLeast:
		p.add(key, "%s is too short: at least %s", *d, Duration(atLeast))
	case v > longest:
		p.add(key, "%s is too long: at most %s", *d, Duration(longest))
	default:
		return true
	}
	return false
}

func checkOneOf(p *problems, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func checkNotNegative[T int | int64](p *problems, key string, value T) {
	if value < 0 {
		p.add(key, "%d is negative; 0 or no setting means the default", value)
	}
}

func checkAddress(p *problems, key, value string) {
	host, port, err := net.SplitHostPort(value)
	switch {
	case err != nil:
		p.add(key, `%q is not an address like "127.0.0.1:8080"`, value)
	case port == "":
		p.add(key, `%q has no port; 0 lets the system choose one`, value)
	default:
		if port != "0" && !isPort(port) {
			p.add(key, "%q is not a port", port)
		}
		if host != "" && host != "localhost" && net.ParseIP(host) == nil {
			p.add(key, `%q is not an IP address; "0.0.0.0" listens on all`, host)
		}
	}
}

// isPort reports whether text is the number or the name of a port.
func isPort(text string) bool {
	n, err := net.LookupPort("tcp", text)
	return err == nil && n > 0
}

// sameAddress reports whether only one of two listeners could have its address.
func sameAddress(a, b string) bool {
	hostA, portA := splitAddress(a)
	hostB, portB := splitAddress(b)
	if portA != portB || portA == 0 {
		return false
	}
	return hostA.Equal(hostB) || hostA.IsUnspecified() || hostB.IsUnspecified()
}

// splitAddress returns port 0 for what is no address, which is reported elsewhere.
func splitAddress(address string) (net.IP, int) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, 0
	}
	switch host {
	case "":
		return net.IPv6unspecified, n
	case "localhost":
		return net.IPv4(127, 0, 0, 1), n
	}
	return net.ParseIP(host), n
}

// index is the key of an element of a list.
func index(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }
