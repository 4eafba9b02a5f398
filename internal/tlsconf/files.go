package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync/atomic"

	"github.com/mholt/acmez/v3"
)

// files has the certificate of a pair of files.
type files struct {
	cert, key string
	log       *slog.Logger
	current   atomic.Pointer[tls.Certificate]

	// Of poll and reload, which the Manager calls one at a time.
	tried snapshot // what the files were like when they were last loaded, or could not be
	last  snapshot // what they were like at the last look
}

var _ source = (*files)(nil)

func newFiles(s Settings, log *slog.Logger) (*files, error) {
	f := &files{cert: s.Cert, key: s.Key, log: log}
	f.tried = look(f.cert, f.key)
	f.last = f.tried
	pair, err := LoadPair(f.cert, f.key)
	if err != nil {
		return nil, err
	}
	f.current.Store(pair)
	return f, nil
}

func (f *files) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{acmez.ACMETLS1Protocol}) {
		return nil, errors.New("an ACME challenge, but the certificates come from files")
	}
	return f.current.Load(), nil
}

func (f *files) leaves() []*x509.Certificate { return []*x509.Certificate{f.current.Load().Leaf} }

// poll loads files that have changed. Two files cannot change at once, so it
// waits until both have been the same for one look.
func (f *files) poll() {
	now := look(f.cert, f.key)
	still := now.same(f.last)
	f.last = now
	if still && !now.same(f.tried) {
		f.load(now)
	}
}

func (f *files) reload() { f.load(look(f.cert, f.key)) }

func (f *files) load(now snapshot) {
	f.tried, f.last = now, now
	pair, err := LoadPair(f.cert, f.key)
	if err != nil {
		f.log.Error("the new certificate cannot be used; the old one stays in use until the files change again", "error", err)
		return
	}
	f.current.Store(pair)
}

func (f *files) challenge(http.ResponseWriter, *http.Request) bool { return false }
func (f *files) failure(string) error                              { return nil }
func (f *files) names() []string                                   { return f.current.Load().Leaf.DNSNames }
func (f *files) close()                                            {}

// A snapshot is what two files looked like from outside.
type snapshot [2]os.FileInfo // nil for a file that is not there

func look(cert, key string) snapshot {
	var s snapshot
	for i, name := range []string{cert, key} {
		if info, err := os.Stat(name); err == nil { // follows links, which is how most tools swap certificates
			s[i] = info
		}
	}
	return s
}

func (s snapshot) same(other snapshot) bool {
	for i, a := range s {
		b := other[i]
		if (a == nil) != (b == nil) {
			return false
		}
		if a != nil && (a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) || !os.SameFile(a, b)) {
			return false
		}
	}
	return true
}
