package tlsconf

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ServeHTTP answers a CA's challenges and sends everybody else to https.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.current.Load().challenge(w, r) {
		return
	}
	w.Header().Set("Connection", "close") // nothing more will come on it
	target, ok := secureURL(r, portOf(m.options.HTTPListen), portOf(m.options.Listen))
	if !ok {
		http.Error(w, "this address redirects to https, and the request names no host", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, target, http.StatusPermanentRedirect) //nolint:gosec // the client's own host, with https
}

// secureURL is the same address with https. A client that names the port on
// which the relay listens reached it directly: then TLS is where the relay has
// it. Otherwise something forwards the ports, and TLS is at the usual one.
func secureURL(r *http.Request, httpPort, tlsPort int) (string, bool) {
	host, named := hostAndPort(r.Host)
	if host == "" {
		return "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	const usual = 443
	if named == httpPort && tlsPort != usual {
		host += ":" + strconv.Itoa(tlsPort)
	}
	target := url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	if !strings.HasPrefix(target.Path, "/") { // a proxy's request, or "*"
		target.Path, target.RawPath = "/", ""
	}
	return target.String(), true
}

// hostAndPort splits a Host header. What is none gives no host.
func hostAndPort(header string) (host string, port int) {
	parsed, err := url.Parse("http://" + header)
	if err != nil || parsed.Host != header || parsed.User != nil {
		return "", 0
	}
	port = 80
	if text := parsed.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return "", 0
		}
	}
	return parsed.Hostname(), port
}

func portOf(address net.Addr) int {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
