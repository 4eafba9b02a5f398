package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/tlsconf"
)

// A door is where clients come in: with TLS, there are certificates, and
// perhaps a second listener that sends everybody to the first.
type door struct {
	net.Listener                  // speaks TLS where there is some
	certificates *tlsconf.Manager // nil without TLS
	redirect     net.Listener     // nil for none
}

// openDoor puts TLS on a listener, which the caller closes.
func openDoor(cfg *config.Config, listener net.Listener, log *slog.Logger) (*door, error) {
	t := cfg.Gateway.TLS
	if t == nil {
		return &door{Listener: listener}, nil
	}
	d := new(door)
	options := tlsconf.Options{Settings: tlsSettings(t), Listen: listener.Addr(), Log: log}
	if t.HTTPListen != "" {
		var err error
		if d.redirect, err = listen("gateway.tls.http_listen", t.HTTPListen); err != nil {
			return nil, err
		}
		options.HTTPListen = d.redirect.Addr()
	}
	var err error
	if d.certificates, err = tlsconf.New(options); err != nil {
		d.close()
		return nil, fmt.Errorf("gateway.tls: %w", err)
	}
	d.Listener = tls.NewListener(listener, d.certificates.TLS())
	if len(t.Domains) > 0 {
		hintAtPorts(listener.Addr(), d.redirect, log)
	}
	return d, nil
}

// hintAtPorts says what has to be forwarded: a CA connects to the usual ports
// only, whatever the relay listens on.
func hintAtPorts(address net.Addr, redirect net.Listener, log *slog.Logger) {
	switch {
	case portOf(address) == "443" || redirect != nil && portOf(redirect.Addr()) == "80":
	case redirect == nil:
		log.Info("the CA connects to port 443 of each domain: it has to lead here", "listen", address.String())
	default:
		log.Info("the CA connects to port 443 or port 80 of each domain: they have to lead here", "listen", address.String(), "http_listen", redirect.Addr().String())
	}
}

func portOf(address net.Addr) string {
	_, port, _ := net.SplitHostPort(address.String()) // a listener's address is one
	return port
}

func tlsSettings(t *config.TLS) tlsconf.Settings {
	return tlsconf.Settings{
		Cert: t.Cert, Key: t.Key,
		Domains: t.Domains, Email: t.Email, CA: t.CA, CARoot: t.CARoot, Storage: t.Storage,
	}
}

// url is where clients find the door: with TLS by a name or address for which
// the certificate is valid, if there is one.
func (d *door) url(scheme string) string {
	address := reachable(d.Addr())
	if d.certificates == nil {
		return scheme + "://" + address + "/"
	}
	ip, port, _ := net.SplitHostPort(address)
	host := net.JoinHostPort(d.certificates.Host(ip), port)
	return scheme + "s://" + strings.TrimSuffix(host, ":443") + "/"
}

// problem says why clients are refused, if they are.
func (d *door) problem() error {
	if d.certificates == nil {
		return nil
	}
	return d.certificates.Problem()
}

// redirectAll serves the second listener until stop is called.
func (d *door) redirectAll(log *slog.Logger) (stop func()) {
	if d.redirect == nil {
		return func() {}
	}
	const (
		patience = 10 * time.Second
		most     = 256 // connections; others wait, and take nothing from the clients' listener
	)
	server := &http.Server{
		Handler:           d.certificates,
		ReadHeaderTimeout: patience,
		ReadTimeout:       patience,
		WriteTimeout:      patience,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(netutil.LimitListener(d.redirect, most)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("gateway.tls.http_listen is not served any more", "error", err)
		}
	}()
	return func() {
		_ = server.Close() // a redirect that is under way can be asked for again
		<-served
	}
}

// close ends what is behind the listener; the listener itself is the caller's.
func (d *door) close() {
	if d.redirect != nil {
		_ = d.redirect.Close()
	}
	if d.certificates != nil {
		d.certificates.Close()
	}
}
