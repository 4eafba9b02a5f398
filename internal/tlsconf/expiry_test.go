package tlsconf

import (
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

// Each certificate is announced once, and its end once a day.
func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	leaf := pairtest.New(t, 90*day, "a.example", "127.0.0.1").Leaf
	short := pairtest.New(t, 6*day, "short.example").Leaf
	nameless := pairtest.New(t, 90*day).Leaf
	left := func(leaf *x509.Certificate, d time.Duration) time.Time { return leaf.NotAfter.Add(-d) }
	for _, test := range []struct {
		name      string
		leaf      *x509.Certificate
		automatic bool
		looks     []time.Time
		want      []string // the lines, in parts
	}{
		{"new", leaf, false, []time.Time{left(leaf, 89*day), left(leaf, 88*day)}, []string{`level=INFO msg="certificate in use" names="a.example, 127.0.0.1"`}},
		{"near, twice in a day", leaf, false, []time.Time{left(leaf, 13*day), left(leaf, 13*day-time.Hour)}, []string{"in use", `level=WARN msg="the certificate expires soon"`}},
		{"near, two days", leaf, false, []time.Time{left(leaf, 13*day), left(leaf, 12*day)}, []string{"in use", "expires soon", `in="12 days"`}},
		{"short-lived", short, false, []time.Time{left(short, 3*day), left(short, day)}, []string{"in use", "expires soon"}},
		{"renewed in time", leaf, true, []time.Time{left(leaf, 29*day), left(leaf, 16*day)}, []string{"in use"}},
		{"not renewed in time", leaf, true, []time.Time{left(leaf, 29*day), left(leaf, 14*day)}, []string{"in use", "expires soon"}},
		{"expired", leaf, false, []time.Time{left(leaf, -time.Minute), left(leaf, -time.Hour)}, []string{"in use", `level=ERROR msg="the certificate has expired: clients refuse it"`}},
		{"not yet valid", leaf, false, []time.Time{leaf.NotBefore.Add(-time.Hour)}, []string{"in use", `level=ERROR msg="the certificate is not valid yet: clients refuse it"`}},
		{"without names", nameless, false, []time.Time{left(nameless, 80*day), left(nameless, 80*day)}, []string{"in use", "names no host"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := new(testlog.Book)
			e := expiry{log: log.Logger(slog.LevelInfo)}
			for _, now := range test.looks {
				e.look([]*x509.Certificate{test.leaf}, test.automatic, now)
			}
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("logged\n%s\nwant %q", log, test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %q, want %q in it", lines[i], want)
				}
			}
		})
	}
	log := new(testlog.Book)
	e := expiry{log: log.Logger(slog.LevelInfo)}
	for _, l := range []*x509.Certificate{leaf, short, leaf} {
		e.look([]*x509.Certificate{l}, false, time.Now())
	}
	if log.Count("certificate in use") != 3 || len(e.known) != 1 {
		t.Errorf("%d known, logged\n%s", len(e.known), log)
	}
}

func TestProblemOfFiles(t *testing.T) {
	pair := pairtest.New(t, year, "a.example")
	cert, key := pair.Write(t, t.TempDir())
	now := time.Now()
	s, _ := serve(t, false, Options{Settings: Settings{Cert: cert, Key: key}, Now: func() time.Time { return now }, pollEvery: time.Hour})
	if err := s.Problem(); err != nil {
		t.Errorf("err = %v", err)
	}
	now = now.Add(2 * year)
	if err := s.Problem(); err == nil || !strings.Contains(err.Error(), "the certificate for a.example has expired on ") {
		t.Errorf("err = %v", err)
	}
}

func TestHost(t *testing.T) {
	for _, test := range []struct {
		name  string
		names []string
		want  string
	}{
		{"the address", []string{"a.example", "127.0.0.1"}, "127.0.0.1"},
		{"a name", []string{"*.example", "a.example"}, "a.example"},
		{"a wildcard only", []string{"*.example"}, "127.0.0.1"},
		{"nothing", nil, "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cert, key := pairtest.New(t, year, test.names...).Write(t, t.TempDir())
			s, _ := serve(t, false, Options{Settings: Settings{Cert: cert, Key: key}})
			if host := s.Host("127.0.0.1"); host != test.want {
				t.Errorf("%s, want %s", host, test.want)
			}
		})
	}
}
