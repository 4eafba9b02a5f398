package config

import (
	"errors"
	"net"
	"net/mail"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/icrelay/icrelay/internal/tlsconf"
)

// TLS is the [gateway.tls] table: a pair of files, or domains.
type TLS struct {
	Cert string `toml:"cert"` // PEM, with the chain
	Key  string `toml:"key"`  // PEM

	Domains     []string `toml:"domains"` // for certificates that a CA gives by ACME
	AcceptTerms bool     `toml:"accept_terms"`
	Email       string   `toml:"email"`
	CA          string   `toml:"ca"`      // its directory; Let's Encrypt if empty
	CARoot      string   `toml:"ca_root"` // PEM
	Storage     string   `toml:"storage"` // Load fills in the default

	HTTPListen string `toml:"http_listen"`
}

// DefaultStorage is the folder of automatic certificates.
const DefaultStorage = ".relay/certificates"

const maxDomains = 100 // each has a certificate of its own

func (t *TLS) validate(p *problems, key string, path func(string) string) {
	cert, private, domains := key+".cert", key+".key", key+".domains"
	files := p.given[cert] || p.given[private]
	switch {
	case files && p.given[domains]:
		p.addToOne([]string{domains, private, cert}, "either cert and key, or domains: with files nothing is obtained automatically, remove one or the other")
	case files:
		t.validateFiles(p, cert, private, path)
	case !p.given[domains]:
		p.add(key, `needs cert and key, the names of two PEM files, or domains = ["ws.example.org"] for certificates that are obtained automatically; without TLS remove the table`)
	}
	if p.given[domains] {
		t.validateDomains(p, domains)
		t.validateCA(p, key, path)
	} else {
		for _, name := range []string{"accept_terms", "email", "ca", "ca_root", "storage"} {
			if p.given[key+"."+name] {
				p.add(key+"."+name, "is for automatic certificates only, and there are no domains")
			}
		}
	}
	if p.given[key+".http_listen"] {
		checkAddress(p, key+".http_listen", t.HTTPListen)
	}
}

// validateFiles loads the pair: what cannot be used would be found by the first client.
func (t *TLS) validateFiles(p *problems, cert, key string, path func(string) string) {
	if !p.read(cert, key) {
		return
	}
	switch {
	case t.Cert == "" && p.given[cert]:
		p.add(cert, "must name a PEM file with the certificate and its chain")
	case t.Key == "" && p.given[key]:
		p.add(key, "must name a PEM file with the certificate's private key")
	case t.Cert == "":
		p.add(key, `is half of a pair: add cert = "...", the PEM file with the certificate and its chain`)
	case t.Key == "":
		p.add(cert, `is half of a pair: add key = "...", the PEM file with the certificate's private key`)
	default:
		t.Cert, t.Key = path(t.Cert), path(t.Key)
		var bad *tlsconf.PairError
		if _, err := tlsconf.LoadPair(t.Cert, t.Key); errors.As(err, &bad) && bad.OfKey {
			p.add(key, "%v", err)
		} else if err != nil {
			p.add(cert, "%v", err)
		}
	}
}

func (t *TLS) validateDomains(p *problems, key string) {
	if len(t.Domains) == 0 {
		p.add(key, "must name at least one domain")
	}
	if len(t.Domains) > maxDomains {
		p.add(key, "%d are too many: at most %d", len(t.Domains), maxDomains)
	}
	seen := make(map[string]bool)
	for i, domain := range t.Domains {
		at, name := index(key, i), strings.ToLower(domain)
		switch {
		case net.ParseIP(domain) != nil:
			p.add(at, "%q is an address; certificates are obtained for names only", domain)
		case strings.HasPrefix(domain, "*"):
			p.add(at, "%q: a wildcard needs a challenge in the DNS, which the relay cannot answer; name each host, or obtain it with another tool and use cert and key", domain)
		case !isDomain(name):
			p.add(at, `%q is not a domain like "ws.example.org"; names in other letters are written in their ASCII form, "xn--..."`, domain)
		case t.CA == "" && !strings.Contains(name, "."):
			p.add(at, "%q is no public name, and Let's Encrypt gives certificates for public names only; set ca to a CA of your own", domain)
		case seen[name]:
			p.add(at, "%q is listed already", domain)
		}
		seen[name] = true
		t.Domains[i] = name
	}
}

var domainLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func isDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !domainLabel.MatchString(label) {
			return false
		}
	}
	return true
}

func (t *TLS) validateCA(p *problems, key string, path func(string) string) {
	if !t.AcceptTerms {
		p.add(key+".accept_terms", "must be true: a CA gives certificates only to those who agree to its terms (those of Let's Encrypt: https://letsencrypt.org/repository/); read them and set it")
	}
	if t.Email != "" {
		if address, err := mail.ParseAddress(t.Email); err != nil || address.Address != t.Email {
			p.add(key+".email", `%q is not an address like "ops@example.org"`, t.Email)
		}
	}
	if t.CA != "" && p.read(key+".ca") {
		checkCA(p, key+".ca", t.CA)
	}
	if t.CARoot != "" && p.read(key+".ca_root", key+".ca") {
		t.CARoot = path(t.CARoot)
		if t.CA == "" {
			p.add(key+".ca_root", "is for a CA of your own: set ca to its directory")
		} else if _, err := tlsconf.LoadRoots(t.CARoot); err != nil {
			p.add(key+".ca_root", "%v", err)
		}
	}
	if t.Storage == "" {
		t.Storage = DefaultStorage
	}
	t.Storage = path(t.Storage)
	if info, err := os.Stat(t.Storage); err == nil && !info.IsDir() {
		p.add(key+".storage", "%s is a file; certificates and keys need a folder, which is created", t.Storage)
	}
}

func checkCA(p *problems, key, value string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		p.add(key, `%q is not the URL of an ACME directory, like "https://acme-staging-v02.api.letsencrypt.org/directory"`, value)
	case u.User != nil:
		p.add(key, "%q has a user; ACME knows accounts by their keys", value)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		p.add(key, "%q must begin with https: only a CA on this machine can be trusted without", value)
	}
}
