package origin

import (
	"net/url"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, header string
		want            bool
	}{
		{"https://example.com", "https://example.com", true},
		{"https://example.com", "https://EXAMPLE.com", true},
		{"HTTPS://Example.com", "https://example.com", true},
		{"https://example.com:443", "https://example.com", true},
		{"https://example.com", "https://example.com:443", true},
		{"http://example.com:80", "http://example.com", true},
		{"https://example.com", "http://example.com", false},
		{"https://example.com", "https://example.com:8443", false},
		{"https://example.com:8443", "https://example.com:8443", true},
		{"https://example.com:80", "https://example.com", false},
		{"https://example.com", "https://app.example.com", false},
		{"https://example.com", "https://example.com.evil.org", false},
		{"https://example.com", "https://evilexample.com", false},
		{"https://example.com", "https://example.com.", false},
		{"https://example.com", "null", false},
		{"https://example.com", "", false},
		{"https://example.com", "https://user@example.com", false},
		{"https://example.com", "https://example.com/path", false},
		{"https://example.com", "https://example.com https://evil.org", false},

		{"https://*.example.com", "https://app.example.com", true},
		{"https://*.example.com", "https://a.b.example.com", true},
		{"https://*.example.com", "https://App.Example.com", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://.example.com.evil.org", false},
		{"https://*.example.com", "https://evilexample.com", false},
		{"https://*.example.com", "http://app.example.com", false},
		{"https://*.example.com", "https://app.example.com:8443", false},
		{"https://*.example.com:8443", "https://app.example.com:8443", true},
		{"http://*.localhost:8000", "http://bkyz2-fmaaa-aaaaa-qaaaq-cai.localhost:8000", true},

		{"http://127.0.0.1:5173", "http://127.0.0.1:5173", true},
		{"http://[::1]:5173", "http://[::1]:5173", true},
		{"http://[::1]", "http://[::1]:80", true},
		{"http://[::1]", "http://[::2]", false},
		{"chrome-extension://abcdefgh", "chrome-extension://abcdefgh", true},
		{"tauri://localhost", "tauri://localhost", true},

		{"null", "null", true},
		{"null", "https://example.com", false},
		{"null", "://", false},
		{"*", "https://example.com", true},
		{"*", "null", true},
	}
	for _, test := range tests {
		t.Run(test.pattern+" and "+test.header, func(t *testing.T) {
			p, err := Parse(test.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(test.header); got != test.want {
				t.Errorf("Match = %t", got)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, part := range map[string]string{
		"":                              "scheme",
		"example.com":                   "scheme",
		"://example.com":                "scheme",
		"ht tp://example.com":           "scheme",
		"https://":                      "host",
		"https://*":                     "host",
		"https://*.":                    "host",
		"https://*.*.example.com":       "host",
		"https://app*.example.com":      "host",
		"https://app.*.com":             "host",
		"https://exämple.com":           "xn--",
		"https://example.com/":          "more than",
		"https://example.com/path":      "more than",
		"https://example.com?q":         "more than",
		"https://me@example.com":        "more than",
		"https://example.com:":          "port",
		"https://example.com:https":     "port",
		"https://example.com:123456":    "port",
		"https://[::1":                  "host",
		"https://[nonsense]":            "IPv6",
		"https://[::1]8080":             "port",
		"https://*.127.0.0.1":           "no subdomains",
		"https://*.[::1]":               "no subdomains",
		"https://a.com, https://b.com":  "more than",
		"https://a.com https://b.com":   "more than",
		"https://*.example.com:0x1f90*": "port",
		"0://example.com":               "scheme",
	} {
		t.Run(text, func(t *testing.T) {
			if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("err = %v, want %q in it", err, part)
			}
		})
	}
}

// Headers come from strangers: none of them is a reason to panic, and none
// matches a pattern whose host it does not end with.
func FuzzMatch(f *testing.F) {
	p, err := Parse("https://*.example.com")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://app.example.com:443")
	f.Add("https://[::1]:1")
	f.Add("null")
	f.Fuzz(func(t *testing.T, header string) {
		if p.Match(header) && !strings.Contains(strings.ToLower(header), ".example.com") {
			t.Fatalf("%q matches", header)
		}
	})
}

// FuzzPattern: a pattern matches itself, or what is below it, and what it
// matches is an origin of the same scheme and host for the standard library, too.
func FuzzPattern(f *testing.F) {
	for _, pattern := range []string{"*", "null", "https://app.example.com", "https://*.example.com:8443", "http://[::1]:80", "HTTP://LOCALHOST:5173", "https://*.1.2.3.4", "a+b://x_y"} {
		for _, header := range []string{"null", "https://app.example.com:443", "https://a.b.example.com:8443", "http://[::1]", "https://example.com@evil", ""} {
			f.Add(pattern, header)
		}
	}
	f.Add("0://0", "0://0") // once accepted, though a scheme begins with a letter
	f.Fuzz(func(t *testing.T, text, header string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		own := strings.Replace(text, "://*.", "://any.", 1)
		if !p.Match(own) {
			t.Fatalf("%q does not match %q", text, own)
		}
		if p.any || !p.Match(header) || p.opaque && header == "null" {
			return
		}
		u, err := url.Parse(header)
		if err != nil || u.Scheme != p.origin.scheme || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q matches %q: %v, %v", header, text, u, err)
		}
		host := strings.ToLower(u.Hostname())
		want := strings.Trim(p.origin.host, "[]")
		if host != want && (!p.subdomains || !strings.HasSuffix(host, "."+want)) {
			t.Fatalf("%q, whose host is %q, matches %q", header, host, text)
		}
	})
}
