package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3"
)

// Settings says where certificates come from: Cert and Key, or Domains and what
// stands below them. internal/config has checked them.
type Settings struct {
	Cert, Key string // PEM files

	Domains []string // names to obtain certificates for
	Email   string   // for the CA's messages; may be empty
	CA      string   // its ACME directory; Let's Encrypt if empty
	CARoot  string   // PEM file of the root that CA's own server is checked with; the system's if empty
	Storage string   // folder for accounts, certificates and keys
}

func (s Settings) automatic() bool { return len(s.Domains) > 0 }

// Options says what a Manager is made of.
type Options struct {
	Settings
	Listen     net.Addr // where TLS is spoken: a CA's challenges arrive there
	HTTPListen net.Addr // where the Manager itself answers as an http.Handler; nil for nowhere
	Log        *slog.Logger

	Now          func() time.Time // time.Now if nil; for expiry dates
	pollEvery    time.Duration    // pollEvery, but for tests
	renewalCheck time.Duration    // certmagic's default, but for tests
}

// pollEvery is how often files are looked at.
const pollEvery = 3 * time.Second

// A source has certificates. poll, reload and close are called one at a time,
// the others at any time.
type source interface {
	certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	leaves() []*x509.Certificate                       // in use
	names() []string                                   // that clients can connect to; may have wildcards
	failure(name string) error                         // why there is no certificate for one of names
	challenge(http.ResponseWriter, *http.Request) bool // answers a CA's HTTP-01 challenge
	poll()                                             // every few seconds
	reload()                                           // somebody says that something has changed
	close()
}

// A Manager gives a listener its certificates. It is also the http.Handler for
// the port beside it: it answers challenges there and redirects everything else.
type Manager struct {
	options Options
	config  *tls.Config
	cancel  context.CancelFunc
	done    chan struct{}

	current atomic.Pointer[inUse]

	mu     sync.Mutex // held while the source is polled or replaced
	expiry expiry
}

// inUse is a source and the settings that it was made of.
type inUse struct {
	source
	settings Settings
}

// New loads or begins to obtain certificates. With files, it fails where they
// cannot be used. A CA that gives no certificate is no error: it is asked again
// and again, and until it gives one clients are refused in the handshake.
func New(o Options) (*Manager, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.pollEvery == 0 {
		o.pollEvery = pollEvery
	}
	m := &Manager{options: o, done: make(chan struct{}), expiry: expiry{log: o.Log}}
	m.config = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return m.current.Load().certificate(hello) },
		// No HTTP/2: a WebSocket begins as an HTTP/1.1 request (RFC 6455, 4.1), and
		// nothing else here is worth a second protocol.
		NextProtos: []string{"http/1.1", acmez.ACMETLS1Protocol},
	}
	first, err := m.newSource(o.Settings)
	if err != nil {
		return nil, err
	}
	m.current.Store(first)
	m.look()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.run(ctx)
	return m, nil
}

func (m *Manager) newSource(s Settings) (*inUse, error) {
	var made source
	var err error
	if s.automatic() {
		made, err = newAutomatic(s, m.options)
	} else {
		made, err = newFiles(s, m.options.Log)
	}
	if err != nil {
		return nil, err
	}
	return &inUse{made, s}, nil
}

// TLS returns the listener's configuration, which follows every Reload.
func (m *Manager) TLS() *tls.Config { return m.config }

// Reload reads files again, or asks the CA again for what it has not given.
// Other settings than before get a new source; when that cannot be made, the
// old one stays. Open connections go on.
func (m *Manager) Reload(s Settings) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.current.Load()
	if reflect.DeepEqual(s, old.settings) {
		old.reload()
		m.lookLocked()
		return nil
	}
	next, err := m.newSource(s)
	if err != nil {
		return err
	}
	m.current.Store(next)
	old.close()
	m.lookLocked()
	return nil
}

// Problem says why clients are refused: names without a certificate, or with
// one that is not valid now. nil means that all is well.
func (m *Manager) Problem() error {
	current := m.current.Load()
	now := m.options.Now()
	var problems []error
	for _, leaf := range current.leaves() {
		if err := invalid(leaf, now); err != nil {
			problems = append(problems, err)
		}
	}
	for _, name := range current.names() {
		if err := current.failure(name); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Host returns a name or address by which clients of this listener find its
// certificate valid: the address, if the certificate has it, or the first name.
func (m *Manager) Host(address string) string {
	current := m.current.Load()
	for _, leaf := range current.leaves() {
		if leaf.VerifyHostname(address) == nil {
			return address
		}
	}
	for _, name := range current.names() {
		if !strings.HasPrefix(name, "*") {
			return name
		}
	}
	return address
}

// Close ends what runs in the background. The listener must be closed.
func (m *Manager) Close() {
	m.cancel()
	<-m.done
	m.current.Load().close()
}

// run looks at the source until ctx ends.
func (m *Manager) run(ctx context.Context) {
	defer close(m.done)
	ticker := time.NewTicker(m.options.pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.look()
		}
	}
}

func (m *Manager) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current.Load().poll()
	m.lookLocked()
}

// lookLocked must be called with mu held.
func (m *Manager) lookLocked() {
	current := m.current.Load()
	m.expiry.look(current.leaves(), current.settings.automatic(), m.options.Now())
}
