package tlsconf

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

const year = 365 * 24 * time.Hour

func TestLoadPair(t *testing.T) {
	one, other := pairtest.New(t, year, "a.example"), pairtest.New(t, year, "b.example")
	block, _ := pem.Decode(one.Key)
	write := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := write("cert.pem", one.Cert), write("key.pem", one.Key)
	for _, test := range []struct {
		name      string
		cert, key string
		ofKey     bool
		want      string // of the error, "" for none
	}{
		{"a pair", cert, key, false, ""},
		{"both in one file", write("both.pem", append(append([]byte{}, one.Key...), one.Cert...)), "", false, ""},
		{"a chain", write("chain.pem", append(append([]byte{}, one.Cert...), other.Cert...)), key, false, ""},
		{"no certificate file", cert + "x", key, false, "no such file"},
		{"no key file", cert, key + "x", true, "no such file"},
		{"a folder", filepath.Dir(cert), key, false, "is a folder"},
		{"a device", cert, os.DevNull, true, "is no ordinary file"},
		{"swapped", key, cert, false, "no certificate in it"},
		{"a certificate twice", cert, cert, true, "has no private key in it, only CERTIFICATE"},
		{"another key", cert, write("other.pem", other.Key), true, "is not the key of the certificate in " + cert},
		{"no PEM", write("der", one.Leaf.Raw), key, false, "is no PEM file"},
		{"empty", cert, write("empty", nil), true, "is no PEM file"},
		{"a broken certificate", write("broken.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Leaf.Raw[:100]})), key, false, "certificate 1 in it"},
		{"a broken second certificate", write("broken2.pem", append(append([]byte{}, one.Cert...), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})...)), key, false, "certificate 2 in it"},
		{"an encrypted key", cert, write("encrypted.pem", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})), true, "is encrypted"},
		{"an old encrypted key", cert, write("encrypted2.pem", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: block.Bytes})), true, "is encrypted"},
		{"a huge file", write("huge.pem", make([]byte, maxFileBytes+1)), key, false, "more than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.key == "" {
				test.key = test.cert
			}
			pair, err := LoadPair(test.cert, test.key)
			if test.want == "" {
				if err != nil || pair.Leaf.DNSNames[0] != "a.example" {
					t.Fatalf("err = %v", err)
				}
				return
			}
			var bad *PairError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), test.want) || bad.OfKey != test.ofKey {
				t.Fatalf("err = %+v, want %q", err, test.want)
			}
			file := test.cert
			if test.ofKey {
				file = test.key
			}
			if bad.File != file || !strings.HasPrefix(err.Error(), file+": ") || strings.Count(err.Error(), file) != 1 {
				t.Errorf("err = %v, want the file %s in it once", err, file)
			}
		})
	}
}

// A new pair is used as soon as both files are there; until then, and when it
// cannot be used, the old one is.
func TestFilesChange(t *testing.T) {
	folder := t.TempDir()
	one, two := pairtest.New(t, year, "a.example"), pairtest.New(t, year, "a.example")
	cert, key := one.Write(t, folder)
	s, _ := serve(t, false, Options{Settings: Settings{Cert: cert, Key: key}, pollEvery: 10 * time.Millisecond})
	expect := func(pair pairtest.Pair) {
		t.Helper()
		eventually(t, "the certificate is used", func() bool {
			_, err := s.handshake("a.example", pair.Roots())
			return err == nil
		})
	}
	expect(one)

	// The new certificate without its key: after a while somebody is told.
	pairtest.Replace(t, cert, two.Cert)
	eventually(t, "an error is logged", func() bool { return s.log.Count("level=ERROR") == 1 })
	expect(one)
	for range 5 {
		s.look()
	}
	if n := s.log.Count("level=ERROR"); n != 1 || s.log.Count(key+": is not the key of the certificate in "+cert) != 1 {
		t.Errorf("%d errors:\n%s", n, s.log)
	}

	pairtest.Replace(t, key, two.Key)
	expect(two)

	// Gone, and back as it was.
	if err := os.Rename(cert, cert+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an error is logged", func() bool { return s.log.Count("level=ERROR") == 2 })
	expect(two)
	if err := os.Rename(cert+".away", cert); err != nil {
		t.Fatal(err)
	}
	one.Write(t, folder)
	expect(one)
	if n := s.log.Count("certificate in use"); n != 3 {
		t.Errorf("%d certificates came into use:\n%s", n, s.log)
	}
}

// Links that are turned to another folder, as certbot and Kubernetes do it,
// with files of the same size and time.
func TestFilesBehindLinks(t *testing.T) {
	root := t.TempDir()
	one, two := pairtest.New(t, year, "a.example"), pairtest.New(t, year, "a.example")
	for name, pair := range map[string]pairtest.Pair{"1": one, "2": two} {
		folder := filepath.Join(root, name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := pair.Write(t, folder)
		for _, file := range []string{cert, key} {
			if err := os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	turn := func(to string) {
		link := filepath.Join(root, "live")
		if err := os.Symlink(to, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	turn("1")
	settings := Settings{Cert: filepath.Join(root, "live", "cert.pem"), Key: filepath.Join(root, "live", "key.pem")}
	s, _ := serve(t, false, Options{Settings: settings, pollEvery: 10 * time.Millisecond})
	if _, err := s.handshake("a.example", one.Roots()); err != nil {
		t.Fatal(err)
	}
	turn("2")
	eventually(t, "the certificate is used", func() bool {
		_, err := s.handshake("a.example", two.Roots())
		return err == nil
	})
}

// Reload does not wait for the next look, and takes other files.
func TestReload(t *testing.T) {
	one, two := pairtest.New(t, year, "a.example"), pairtest.New(t, year, "a.example")
	folder := t.TempDir()
	cert, key := one.Write(t, folder)
	settings := Settings{Cert: cert, Key: key}
	s, _ := serve(t, false, Options{Settings: settings, pollEvery: time.Hour})

	// An open connection outlives it.
	conn, err := tls.Dial("tcp", s.tls.Addr().String(), &tls.Config{ServerName: "a.example", RootCAs: one.Roots()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	two.Write(t, folder)
	if err := s.Reload(settings); err != nil {
		t.Fatal(err)
	}
	if _, err := s.handshake("a.example", two.Roots()); err != nil {
		t.Error(err)
	}
	otherCert, otherKey := one.Write(t, t.TempDir())
	if err := s.Reload(Settings{Cert: otherCert, Key: otherKey}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.handshake("a.example", one.Roots()); err != nil {
		t.Error(err)
	}
	if err := s.Reload(Settings{Cert: otherCert, Key: key}); err == nil {
		t.Error("files that do not belong together were taken")
	}
	if _, err := s.handshake("a.example", one.Roots()); err != nil {
		t.Error(err)
	}

	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("the open connection brought %q, %v", answer, err)
	}
}

// What clients may speak: TLS 1.2 or newer, HTTP/1.1, and no ACME challenges
// where nobody asks for certificates.
func TestProtocols(t *testing.T) {
	pair := pairtest.New(t, year, "a.example")
	cert, key := pair.Write(t, t.TempDir())
	s, _ := serve(t, false, Options{Settings: Settings{Cert: cert, Key: key}})
	if state, err := s.handshake("a.example", pair.Roots(), "h2", "http/1.1"); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("%+v, %v, want http/1.1", state, err)
	}
	if _, err := s.handshake("a.example", pair.Roots(), "acme-tls/1"); err == nil {
		t.Error("a challenge was answered")
	}
	old := &tls.Config{ServerName: "a.example", RootCAs: pair.Roots(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if _, err := tls.Dial("tcp", s.tls.Addr().String(), old); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{ServerName: "a.example", RootCAs: pair.Roots()},
	}}
	response, err := client.Get("https://" + s.tls.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if string(body) != "HTTP/1.1" {
		t.Errorf("a client that would like HTTP/2 speaks %s", body)
	}
	// A browser that was given http:// by mistake gets a sentence.
	conn, err := net.Dial("tcp", s.tls.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	if answer, _ := io.ReadAll(conn); !strings.Contains(string(answer), "Client sent an HTTP request to an HTTPS server") {
		t.Errorf("plain HTTP is answered %q", answer)
	}
}

func TestFilesNotThere(t *testing.T) {
	listener := listen(t)
	_, err := New(Options{Settings: Settings{Cert: "nowhere.pem", Key: "nowhere.pem"}, Listen: listener.Addr(), Log: new(testlog.Book).Logger(0)})
	if err == nil || !strings.HasPrefix(err.Error(), "nowhere.pem: no such file") {
		t.Errorf("err = %v", err)
	}
}
