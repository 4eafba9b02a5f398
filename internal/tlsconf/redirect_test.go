package tlsconf

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

func TestRedirect(t *testing.T) {
	for _, test := range []struct {
		name              string
		httpPort, tlsPort int
		request           string // method, target, host
		want              string // Location, "" for 400
	}{
		{"the usual ports", 80, 443, "GET /a/b?c=d ws.example.org", "https://ws.example.org/a/b?c=d"},
		{"another TLS port", 80, 8443, "GET / ws.example.org", "https://ws.example.org:8443/"},
		{"both other, reached directly", 8080, 8443, "GET / ws.example.org:8080", "https://ws.example.org:8443/"},
		{"both other, forwarded from 80 and 443", 8080, 8443, "GET / ws.example.org", "https://ws.example.org/"},
		{"TLS at the usual port", 8080, 443, "GET / ws.example.org:8080", "https://ws.example.org/"},
		{"an address", 8080, 8443, "GET / [::1]:8080", "https://[::1]:8443/"},
		{"POST keeps its method", 80, 443, "POST /x ws.example.org", "https://ws.example.org/x"},
		{"escapes stay", 80, 443, "GET /a%2Fb%20c?q=%26 ws.example.org", "https://ws.example.org/a%2Fb%20c?q=%26"},
		{"two slashes", 80, 443, "GET //evil.example/ ws.example.org", "https://ws.example.org//evil.example/"},
		{"a proxy's request", 80, 443, "GET http://ws.example.org/a ws.example.org", "https://ws.example.org/a"},
		{"an asterisk", 80, 443, "OPTIONS * ws.example.org", "https://ws.example.org/"},
		{"no host", 80, 443, "GET / -", ""},
		{"a host that is none", 80, 443, "GET / a/b", ""},
		{"a host with a user", 80, 443, "GET / user@ws.example.org", ""},
		{"a port that is none", 80, 443, "GET / ws.example.org:99999", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			parts := strings.Fields(test.request)
			request := httptest.NewRequest(parts[0], parts[1], nil)
			request.Host = strings.TrimPrefix(parts[2], "-")
			got, ok := secureURL(request, test.httpPort, test.tlsPort)
			if ok != (test.want != "") || got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Wherever a request leads, it is to its own host, by https.
func FuzzSecureURL(f *testing.F) {
	f.Add("ws.example.org:8080", "/a%2Fb", "c=d")
	f.Add("[::1]", "//evil.example", "")
	f.Fuzz(func(t *testing.T, host, path, query string) {
		request := &http.Request{Host: host, URL: &url.URL{Path: path, RawQuery: query}}
		target, ok := secureURL(request, 8080, 8443)
		if !ok {
			return
		}
		parsed, err := url.Parse(target)
		if err != nil {
			return // http.Redirect sends it all the same, and no client follows
		}
		asked, _ := hostAndPort(host)
		if parsed.Scheme != "https" || parsed.Hostname() != asked || parsed.User != nil || strings.ContainsAny(parsed.Host, "/\\@ \r\n") {
			t.Errorf("%q leads to %q", host, target)
		}
	})
}

func TestRedirectIsServed(t *testing.T) {
	cert, key := pairtest.New(t, time.Hour, "a.example").Write(t, t.TempDir())
	s, _ := serve(t, true, Options{Settings: Settings{Cert: cert, Key: key}})
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"/page", "/.well-known/acme-challenge/token"} {
		response, err := client.Get("http://" + s.http.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		want := "https://" + net.JoinHostPort("127.0.0.1", portText(s.tls.Addr())) + path
		if location := response.Header.Get("Location"); response.StatusCode != http.StatusPermanentRedirect || location != want {
			t.Errorf("%s, %s, want %s", response.Status, location, want)
		}
	}
}

func portText(address net.Addr) string {
	_, port, _ := net.SplitHostPort(address.String())
	return port
}
