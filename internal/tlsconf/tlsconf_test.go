package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/tlsconf/acmetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, acmetest.Leaks()...) }

const patience = 60 * time.Second // for what should take a moment

// eventually waits for something that goes on in the background.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// A served Manager, as the gateway has it: TLS on one port, the Manager's own
// handler on another.
type served struct {
	*Manager
	t    *testing.T
	tls  net.Listener
	http net.Listener // nil for none
	log  *testlog.Book
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// serve makes a Manager and serves it until the test ends, or stop is called.
func serve(t *testing.T, withHTTP bool, o Options) (s *served, stop func()) {
	t.Helper()
	s = &served{t: t, tls: listen(t), log: new(testlog.Book)}
	o.Listen, o.Log = s.tls.Addr(), s.log.Logger(slog.LevelInfo)
	if withHTTP {
		s.http = listen(t)
		o.HTTPListen = s.http.Addr()
	}
	var err error
	if s.Manager, err = New(o); err != nil {
		t.Fatal(err)
	}
	greeting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.Proto) })
	var serving sync.WaitGroup
	var servers []*http.Server
	start := func(listener net.Listener, handler http.Handler) {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		servers = append(servers, server)
		serving.Go(func() { _ = server.Serve(listener) })
	}
	start(tls.NewListener(s.tls, s.TLS()), greeting)
	if withHTTP {
		start(s.http, s.Manager)
	}
	stop = sync.OnceFunc(func() {
		for _, server := range servers {
			_ = server.Close()
		}
		serving.Wait()
		s.Close()
	})
	t.Cleanup(stop)
	return s, stop
}

func (s *served) port() int     { return portOf(s.tls.Addr()) }
func (s *served) httpPort() int { return portOf(s.http.Addr()) }

// handshake connects as a client that trusts roots, and returns the certificate.
func (s *served) handshake(name string, roots *x509.CertPool, protocols ...string) (*tls.ConnectionState, error) {
	s.t.Helper()
	config := &tls.Config{ServerName: name, RootCAs: roots, NextProtos: protocols, MinVersion: tls.VersionTLS12}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.tls.Addr().String(), config)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	state := conn.ConnectionState()
	return &state, nil
}
