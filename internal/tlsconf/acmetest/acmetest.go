// Package acmetest runs pebble, Let's Encrypt's small CA for tests, in the
// process and on loopback. It makes its validations for real.
package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

// A CA answers "503 Service Unavailable" until it is opened.
type CA struct {
	URL      string         // of the ACME directory
	RootFile string         // PEM file that its own server is checked with
	Roots    *x509.CertPool // of the certificates that it gives; after Open

	t         testing.TB
	handler   atomic.Pointer[http.Handler] // nil while it is shut
	store     *db.MemoryStore
	authority *ca.CAImpl

	mu     sync.Mutex
	orders int
	asked  int
}

// Leaks are the goroutines that pebble and certmagic never end.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"), // one for each CA and account
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),             // ends within seconds after its lock
	}
}

// New starts the CA's server, which ends with the test.
func New(t testing.TB) *CA {
	t.Helper()
	c := &CA{t: t}
	server := httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c.URL = server.URL + wfe.DirectoryPath
	c.RootFile = filepath.Join(t.TempDir(), "ca-root.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(c.RootFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// Open makes the CA work. It validates every domain on this machine, at these
// ports, and its certificates are valid for so long: what the first Open says.
func (c *CA) Open(tlsPort, httpPort int, validity time.Duration) {
	c.t.Helper()
	c.t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	c.t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	c.t.Setenv("PEBBLE_AUTHZREUSE", "0") // every order is validated
	quiet := log.New(io.Discard, "", 0)
	if c.store == nil {
		c.store = db.NewMemoryStore()
		profiles := map[string]ca.Profile{"default": {ValidityPeriod: uint64(validity / time.Second)}} //nolint:gosec // positive
		c.authority = ca.New(quiet, c.store, "", "ecdsa", 0, 1, profiles)
		c.Roots = x509.NewCertPool()
		c.Roots.AddCert(c.authority.GetRootCert(0).Cert)
	}
	validator := va.New(quiet, httpPort, tlsPort, true, c.resolver(), c.store)
	front := wfe.New(quiet, c.store, validator, c.authority, []string{"pebble.example"}, true, false, 0, 0)
	handler := front.Handler()
	c.handler.Store(&handler)
}

// Shut makes it answer 503 again.
func (c *CA) Shut() { c.handler.Store(nil) }

// Orders is the number of certificates that were asked for.
func (c *CA) Orders() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orders
}

// Requests is the number of all requests.
func (c *CA) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *CA) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked++
	if strings.HasSuffix(r.URL.Path, "/order-plz") {
		c.orders++
	}
	c.mu.Unlock()
	handler := c.handler.Load()
	if handler == nil {
		http.Error(w, "the CA is closed", http.StatusServiceUnavailable)
		return
	}
	(*handler).ServeHTTP(w, r)
}

// resolver is a DNS server that knows every name: it is this machine.
func (c *CA) resolver() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(question)
		if q := question.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer)
	})}
	served := make(chan struct{})
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(served)
		_ = server.ActivateAndServe() // nil after Shutdown
	}()
	<-started
	c.t.Cleanup(func() {
		_ = server.Shutdown()
		<-served
	})
	return listener.Addr().String()
}
