package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// keys are the certificates of one incarnation: a CA that signs twice and is
// forgotten, and one certificate for each side. Nobody else can talk to either
// socket. They are of P-256, because not all that speak gRPC take larger curves.
type keys struct {
	pool  *x509.CertPool
	relay tls.Certificate

	// For the process's environment, PEM.
	ca, certificate, key []byte
}

// serverName is what both certificates are for.
const serverName = "localhost"

func newKeys(now time.Time) (*keys, error) {
	authority, err := newCertificate(now, "relay adapter CA", nil)
	if err != nil {
		return nil, err
	}
	relay, err := newCertificate(now, "relay", authority)
	if err != nil {
		return nil, err
	}
	process, err := newCertificate(now, "adapter", authority)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(process.key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	k := &keys{
		pool:        x509.NewCertPool(),
		relay:       tls.Certificate{Certificate: [][]byte{relay.cert.Raw}, PrivateKey: relay.key, Leaf: relay.cert},
		ca:          pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.cert.Raw}),
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: process.cert.Raw}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	k.pool.AddCert(authority.cert)
	return k, nil
}

// client is for calls of the process.
func (k *keys) client() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{k.relay}, RootCAs: k.pool, ServerName: serverName, MinVersion: tls.VersionTLS13}
}

// server is for calls by the process.
func (k *keys) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{k.relay}, ClientCAs: k.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
}

type certificate struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newCertificate makes a certificate that signer has signed, or a CA.
func newCertificate(now time.Time, name string, signer *certificate) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-24 * time.Hour), // clocks are set, also while a process runs
		NotAfter:     now.AddDate(20, 0, 0),
	}
	parent, signKey := template, key
	if signer == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{serverName}
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		parent, signKey = signer.cert, signer.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signKey)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &certificate{cert, key}, nil
}
