package tlsconf

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// expiry logs each certificate when it comes into use, and warns once a day
// when its end is near.
type expiry struct {
	log   *slog.Logger
	known map[[32]byte]time.Time // when a certificate in use was last warned about
}

const (
	// warnBefore is when a certificate that somebody has to replace by hand is
	// near its end, unless its whole life is short.
	warnBefore = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// look is called every few seconds with the certificates in use. Those that
// renew themselves begin at a third of their life: half of that later, somebody
// should know that it does not work.
func (e *expiry) look(leaves []*x509.Certificate, automatic bool, now time.Time) {
	known := make(map[[32]byte]time.Time, len(leaves))
	for _, leaf := range leaves {
		id := sha256.Sum256(leaf.Raw)
		warned, old := e.known[id]
		if !old {
			e.log.Info("certificate in use", "names", namesOf(leaf), "issuer", leaf.Issuer.String(), "expires", leaf.NotAfter.UTC().Format(time.RFC3339), "in", roughly(leaf.NotAfter.Sub(now)))
			e.lookAtNames(leaf)
		}
		if now.Sub(warned) >= warnEvery && e.warn(leaf, automatic, now) {
			warned = now
		}
		known[id] = warned
	}
	e.known = known
}

func (e *expiry) lookAtNames(leaf *x509.Certificate) {
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		e.log.Warn("the certificate names no host (it has no subject alternative name): browsers refuse it")
	}
}

func (e *expiry) warn(leaf *x509.Certificate, automatic bool, now time.Time) bool {
	left := leaf.NotAfter.Sub(now)
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	near := min(warnBefore, life/3)
	if automatic {
		near = life / 6
	}
	attributes := []any{"names", namesOf(leaf), "expires", leaf.NotAfter.UTC().Format(time.RFC3339)}
	switch {
	case now.Before(leaf.NotBefore):
		e.log.Error("the certificate is not valid yet: clients refuse it", append(attributes, "from", leaf.NotBefore.UTC().Format(time.RFC3339))...)
	case left <= 0:
		e.log.Error("the certificate has expired: clients refuse it", attributes...)
	case left < near:
		e.log.Warn("the certificate expires soon", append(attributes, "in", roughly(left))...)
	default:
		return false
	}
	return true
}

// invalid says why clients refuse a certificate, if they do.
func invalid(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate for %s is not valid before %s", namesOf(leaf), leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate for %s has expired on %s", namesOf(leaf), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func namesOf(leaf *x509.Certificate) string {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 10
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// roughly is a duration for people: days, or less where there are none.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "the past"
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	default:
		return d.Truncate(time.Second).String()
	}
}
