package tlsconf

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/tlsconf/acmetest"
	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

const quarter = 90 * 24 * time.Hour // how long public CAs' certificates are valid

func (s *served) expectCertificate(ca *acmetest.CA, name string) (serial string) {
	s.t.Helper()
	eventually(s.t, "there is a certificate for "+name, func() bool {
		state, err := s.handshake(name, ca.Roots)
		if err != nil {
			return false
		}
		serial = state.PeerCertificates[0].SerialNumber.String()
		return true
	})
	return serial
}

func settingsOf(ca *acmetest.CA, storage string, domains ...string) Settings {
	return Settings{Domains: domains, Email: "ops@example.org", CA: ca.URL, CARoot: ca.RootFile, Storage: storage}
}

// Nothing is there, the CA is asked, and validates on the port that serves the
// clients. The next start has what it needs in its folder.
func TestAutomatic(t *testing.T) {
	ca := acmetest.New(t)
	storage := filepath.Join(t.TempDir(), "certificates")
	settings := settingsOf(ca, storage, "ws.example.org", "two.example.org")
	s, stop := serve(t, false, Options{Settings: settings, pollEvery: 10 * time.Millisecond})

	// The CA does not work yet: clients are refused, and it is said why.
	eventually(t, "the failure is known", func() bool {
		err := s.Problem()
		return err != nil && strings.Contains(err.Error(), "no certificate for ws.example.org: ") && strings.Contains(err.Error(), "two.example.org: ")
	})
	if _, err := s.handshake("ws.example.org", nil); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("err = %v, want a refused handshake", err)
	}
	if s.log.Count("level=ERROR") == 0 || s.log.Count("no certificate yet") != 2 {
		t.Errorf("logged\n%s", s.log)
	}

	ca.Open(s.port(), 0, quarter)
	if err := s.Reload(settings); err != nil { // not to wait for the next attempt, a minute later
		t.Fatal(err)
	}
	serial := s.expectCertificate(ca, "ws.example.org")
	s.expectCertificate(ca, "two.example.org")
	eventually(t, "no problem is left", func() bool { return s.Problem() == nil })
	if _, err := s.handshake("three.example.org", ca.Roots); err == nil {
		t.Error("a client that wants another name was served")
	}
	eventually(t, "the certificates are announced", func() bool { return s.log.Count("certificate in use") == 2 })
	if host := s.Host("127.0.0.1"); host != "ws.example.org" {
		t.Errorf("host %s", host)
	}
	stop()

	before := ca.Requests()
	s, _ = serve(t, false, Options{Settings: settings})
	state, err := s.handshake("ws.example.org", ca.Roots) // at once
	if err != nil {
		t.Fatal(err)
	}
	if again := state.PeerCertificates[0].SerialNumber.String(); again != serial {
		t.Errorf("serial %s, want %s", again, serial)
	}
	if err := s.Problem(); err != nil || ca.Requests() != before {
		t.Errorf("%v, and the CA was asked %d times", err, ca.Requests()-before)
	}
	if err := filepath.WalkDir(storage, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if strings.HasSuffix(path, ".key") && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// A client that names no host gets the certificate of the first domain.
func TestAutomaticWithoutName(t *testing.T) {
	ca := acmetest.New(t)
	s, _ := serve(t, false, Options{Settings: settingsOf(ca, t.TempDir(), "ws.example.org")})
	ca.Open(s.port(), 0, quarter)
	if err := s.Reload(s.options.Settings); err != nil {
		t.Fatal(err)
	}
	s.expectCertificate(ca, "ws.example.org")
	_, err := s.handshake("127.0.0.1", ca.Roots)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "internal error") {
		t.Errorf("err = %v, want a certificate for another name", err)
	}
}

// The CA cannot reach the TLS port, so it validates over plain HTTP; everything
// else there is redirected.
func TestHTTPChallenge(t *testing.T) {
	ca := acmetest.New(t)
	closed := listen(t)
	_ = closed.Close()
	settings := settingsOf(ca, t.TempDir(), "ws.example.org")
	s, _ := serve(t, true, Options{Settings: settings})
	ca.Open(portOf(closed.Addr()), s.httpPort(), quarter)
	if err := s.Reload(settings); err != nil {
		t.Fatal(err)
	}
	s.expectCertificate(ca, "ws.example.org")
}

// A certificate is renewed before it ends, while clients use it.
func TestRenewal(t *testing.T) {
	ca := acmetest.New(t)
	settings := settingsOf(ca, t.TempDir(), "ws.example.org")
	s, _ := serve(t, false, Options{Settings: settings, pollEvery: 10 * time.Millisecond, renewalCheck: 100 * time.Millisecond})
	ca.Open(s.port(), 0, 6*time.Second)
	if err := s.Reload(settings); err != nil {
		t.Fatal(err)
	}
	first := s.expectCertificate(ca, "ws.example.org")
	eventually(t, "another certificate is used", func() bool { return s.expectCertificate(ca, "ws.example.org") != first })
	eventually(t, "it is announced", func() bool { return s.log.Count("renewal=true") > 0 && s.log.Count("certificate in use") > 1 })
}

// What came near its end while the relay was stopped is renewed at the start;
// until then it is used.
func TestRenewedAtStart(t *testing.T) {
	const life = 30 * time.Minute // less than five of certmagic's looks, which is too little for it
	ca := acmetest.New(t)
	settings := settingsOf(ca, t.TempDir(), "ws.example.org")
	s, stop := serve(t, false, Options{Settings: settings})
	ca.Open(s.port(), 0, life)
	if err := s.Reload(settings); err != nil {
		t.Fatal(err)
	}
	first := s.expectCertificate(ca, "ws.example.org")
	stop()

	ca.Shut()
	s, _ = serve(t, false, Options{Settings: settings})
	if again := s.expectCertificate(ca, "ws.example.org"); again != first {
		t.Errorf("certificate %s, want %s until there is another", again, first)
	}
	ca.Open(s.port(), 0, life)
	if err := s.Reload(settings); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another certificate is used", func() bool { return s.expectCertificate(ca, "ws.example.org") != first })
}

// From files to automatic certificates and to other domains, while it serves.
func TestReloadOfDomains(t *testing.T) {
	ca := acmetest.New(t)
	pair := pairtest.New(t, year, "files.example.org")
	cert, key := pair.Write(t, t.TempDir())
	s, _ := serve(t, false, Options{Settings: Settings{Cert: cert, Key: key}})
	ca.Open(s.port(), 0, quarter)
	storage := t.TempDir()
	if err := s.Reload(settingsOf(ca, storage, "one.example.org")); err != nil {
		t.Fatal(err)
	}
	s.expectCertificate(ca, "one.example.org")
	if err := s.Reload(settingsOf(ca, storage, "one.example.org", "two.example.org")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.handshake("one.example.org", ca.Roots); err != nil {
		t.Errorf("the certificate that was there is not used: %v", err)
	}
	s.expectCertificate(ca, "two.example.org")
	if n := ca.Orders(); n != 2 {
		t.Errorf("%d certificates were asked for", n)
	}
	bad := settingsOf(ca, storage, "one.example.org")
	bad.CARoot = filepath.Join(storage, "nowhere.pem")
	if err := s.Reload(bad); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	if _, err := s.handshake("two.example.org", ca.Roots); err != nil {
		t.Error(err)
	}
	if err := s.Reload(Settings{Cert: cert, Key: key}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.handshake("files.example.org", pair.Roots()); err != nil {
		t.Error(err)
	}
}

// A folder that cannot be used is said, and tried again.
func TestStorageNotUsable(t *testing.T) {
	ca := acmetest.New(t)
	storage := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(storage, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := settingsOf(ca, storage, "ws.example.org")
	s, _ := serve(t, false, Options{Settings: settings})
	ca.Open(s.port(), 0, quarter)
	eventually(t, "the failure is known", func() bool { return s.log.Count("tried again later") > 0 && s.Problem() != nil })
	if err := os.Remove(storage); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(settings); err != nil {
		t.Fatal(err)
	}
	s.expectCertificate(ca, "ws.example.org")
}

// A CA that takes requests and says nothing does not hold the end up.
func TestCloseWhileWaiting(t *testing.T) {
	silent := listen(t)
	settings := Settings{Domains: []string{"ws.example.org"}, CA: "http://" + silent.Addr().String() + "/dir", Storage: t.TempDir()}
	s, stop := serve(t, false, Options{Settings: settings})
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	start := time.Now()
	stop()
	if took := time.Since(start); took > closeTimeout {
		t.Errorf("took %s:\n%s", took, s.log)
	}
}

// certmagic's steps are for debugging, its errors for everybody.
func TestLogOfCertmagic(t *testing.T) {
	ca := acmetest.New(t)
	log := new(testlog.Book)
	listener := listen(t)
	m, err := New(Options{Settings: settingsOf(ca, t.TempDir(), "ws.example.org"), Listen: listener.Addr(), Log: log.Logger(slog.LevelDebug)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	eventually(t, "an error is logged", func() bool {
		return strings.Contains(log.String(), `level=ERROR msg="certificates: will retry" error="[ws.example.org] Obtain: `)
	})
	if !strings.Contains(log.String(), `level=DEBUG msg="certificates: acquiring lock" identifier=ws.example.org`) {
		t.Errorf("logged\n%s", log)
	}
}
