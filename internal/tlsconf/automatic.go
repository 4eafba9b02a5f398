package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// automatic has certificates that a CA gives by ACME. What it has is in the
// storage folder, so that a restart asks the CA for nothing.
type automatic struct {
	settings Settings
	log      *slog.Logger
	cache    *certmagic.Cache
	magic    *certmagic.Config
	issuer   *certmagic.ACMEIssuer

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	failures map[string]error // why a domain's last attempt brought nothing
	attempt  context.Context  // of the attempts that are under way or wait for their turn
	again    context.CancelFunc
}

var _ source = (*automatic)(nil)

const (
	// pauseAfterError is for errors that certmagic does not try again by itself,
	// such as a storage folder that cannot be written.
	pauseAfterError = time.Minute
	// closeTimeout bounds the wait for a CA that does not answer.
	closeTimeout = 5 * time.Second
)

func newAutomatic(s Settings, o Options) (*automatic, error) {
	a := &automatic{settings: s, log: o.Log, failures: make(map[string]error)}
	var roots *x509.CertPool
	if s.CARoot != "" {
		var err error
		if roots, err = LoadRoots(s.CARoot); err != nil {
			return nil, err
		}
	}
	zapLog := zap.New(zapCore{log: o.Log})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: o.renewalCheck,
		Logger:             zapLog,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: s.Storage},
		DefaultServerName: s.Domains[0], // for clients that name none
		OnEvent:           a.event,
		Logger:            zapLog,
		// certmagic asks OCSP responders without a deadline, and Let's Encrypt has none.
		OCSP: certmagic.OCSPConfig{DisableStapling: true},
	})
	a.issuer = certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA:           s.CA,
		Email:        s.Email,
		Agreed:       true, // or the configuration's checks would have refused
		TrustedRoots: roots,
		Logger:       zapLog,
		// The relay's own listeners answer the challenges. certmagic wants to open
		// some, and sees by these that they are there already.
		AltTLSALPNPort:       portOf(o.Listen),
		AltHTTPPort:          portOf(o.HTTPListen),
		DisableHTTPChallenge: o.HTTPListen == nil,
		ListenHost:           commonHost(o.Listen, o.HTTPListen),
	})
	a.magic.Issuers = []certmagic.Issuer{a.issuer}

	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.attempt, a.again = context.WithCancel(a.ctx)
	for _, domain := range s.Domains {
		// What the folder has is there before the first client comes.
		if _, err := a.magic.CacheManagedCertificate(a.ctx, domain); errors.Is(err, fs.ErrNotExist) {
			a.log.Info("no certificate yet; the CA is asked for one, and until it gives it clients are refused", "domain", domain, "ca", a.issuer.CA, "storage", s.Storage)
		}
		a.running.Go(func() { a.manage(domain) })
	}
	return a, nil
}

// commonHost is the address that two listeners share, or "".
func commonHost(a, b net.Addr) string {
	host := func(address net.Addr) string {
		if tcp, ok := address.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
			return tcp.IP.String()
		}
		return ""
	}
	if b != nil && host(a) != host(b) {
		return ""
	}
	return host(a)
}

// manage sees to it that a domain has a certificate. From then on certmagic's
// maintenance renews it.
func (a *automatic) manage(domain string) {
	for {
		ctx := a.currentAttempt()
		err := a.obtain(ctx, domain)
		switch {
		case a.ctx.Err() != nil:
			return
		case ctx.Err() != nil:
			continue // somebody wants it tried again at once
		case err == nil:
			return
		}
		a.fail(domain, err)
		a.log.Error("no certificate; tried again later", "domain", domain, "error", err, "retry_in", pauseAfterError)
		pause := time.NewTimer(pauseAfterError)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// obtain brings a certificate that is good for a while into the cache: from the
// storage or from the CA. While the CA refuses or does not answer it tries
// again, for days, at certmagic's intervals.
func (a *automatic) obtain(ctx context.Context, domain string) error {
	certificate, err := a.magic.CacheManagedCertificate(ctx, domain)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := a.magic.ObtainCertAsync(ctx, domain); err != nil {
			return err
		}
		_, err = a.magic.CacheManagedCertificate(ctx, domain)
		return err
	case err != nil:
		return fmt.Errorf("the certificate in %s cannot be used; remove it there, and the CA is asked for another: %w", a.settings.Storage, err)
	case certificate.NeedsRenewal(a.magic):
		if err := a.magic.RenewCertAsync(ctx, domain, false); err != nil {
			return err
		}
		return a.cache.RenewManagedCertificates(ctx) // takes the new one from the storage
	}
	return nil
}

func (a *automatic) currentAttempt() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attempt
}

// reload ends all waiting between attempts.
func (a *automatic) reload() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.again()
	a.attempt, a.again = context.WithCancel(a.ctx)
}

// event hears what certmagic has done.
func (a *automatic) event(_ context.Context, name string, data map[string]any) error {
	domain, _ := data["identifier"].(string)
	switch name {
	case "cert_failed":
		if err, ok := data["error"].(error); ok && !errors.Is(err, context.Canceled) {
			a.fail(domain, err)
		}
	case "cert_obtained":
		a.fail(domain, nil)
		a.log.Info("certificate obtained", "domain", domain, "renewal", data["renewal"], "storage", a.settings.Storage)
	}
	return nil
}

func (a *automatic) fail(domain string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.failures, domain)
		return
	}
	a.failures[domain] = err
}

func (a *automatic) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.magic.GetCertificate(hello)
}

func (a *automatic) leaves() []*x509.Certificate {
	var leaves []*x509.Certificate
	for _, domain := range a.settings.Domains {
		for _, certificate := range a.cache.AllMatchingCertificates(domain) {
			leaves = append(leaves, certificate.Leaf)
		}
	}
	return leaves
}

func (a *automatic) failure(domain string) error {
	if len(a.cache.AllMatchingCertificates(domain)) > 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.failures[domain]; err != nil {
		return fmt.Errorf("there is no certificate for %s: %w", domain, err)
	}
	return fmt.Errorf("there is no certificate for %s yet", domain)
}

func (a *automatic) challenge(w http.ResponseWriter, r *http.Request) bool {
	return a.issuer.HandleHTTPChallenge(w, r)
}

func (a *automatic) names() []string { return a.settings.Domains }

func (a *automatic) poll() {} // certmagic has its own maintenance

// close ends everything under way with the CA.
func (a *automatic) close() {
	a.cancel()
	ended := make(chan struct{})
	go func() {
		a.running.Wait()
		a.cache.Stop()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(closeTimeout):
		a.log.Warn("a request to the CA does not end; it is left alone", "ca", a.issuer.CA)
	}
}
