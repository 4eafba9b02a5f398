package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFileBytes bounds what is read of a PEM file; a chain has a few KB.
const maxFileBytes = 1 << 20

// A PairError says which file of a pair is wrong.
type PairError struct {
	OfKey bool // the key's file, else the certificate's
	File  string
	Err   error
}

func (e *PairError) Error() string { return e.File + ": " + e.Err.Error() }
func (e *PairError) Unwrap() error { return e.Err }

// LoadPair reads a certificate, with the chain that follows it, and its private
// key. An error is a *PairError.
func LoadPair(certFile, keyFile string) (*tls.Certificate, error) {
	ofCert := func(err error) error { return &PairError{File: certFile, Err: err} }
	ofKey := func(err error) error { return &PairError{OfKey: true, File: keyFile, Err: err} }

	chain, err := readPEM(certFile)
	if err != nil {
		return nil, ofCert(err)
	}
	if _, err := parseCertificates(chain); err != nil {
		return nil, ofCert(err)
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return nil, ofKey(err)
	}
	if err := checkKey(key); err != nil {
		return nil, ofKey(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, ofKey(fmt.Errorf("is not the key of the certificate in %s: %s", certFile, strings.TrimPrefix(err.Error(), "tls: ")))
	}
	return &pair, nil
}

// LoadRoots reads the certificates that a CA's own server is checked with.
func LoadRoots(file string) (*x509.CertPool, error) {
	text, err := readPEM(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	roots, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	return pool, nil
}

// readPEM reads a file that has at least one PEM block. Its errors do not name
// the file.
func readPEM(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case info.IsDir():
		return nil, errors.New("is a folder")
	case !info.Mode().IsRegular():
		return nil, errors.New("is no ordinary file") // opening some of these would wait for ever
	}
	file, err := os.Open(name) //nolint:gosec // the user names the file
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case len(text) > maxFileBytes:
		return nil, fmt.Errorf("has more than %d bytes, which no PEM file of certificates needs", maxFileBytes)
	}
	if block, _ := pem.Decode(text); block == nil {
		return nil, errors.New("is no PEM file: it has no line -----BEGIN ...-----")
	}
	return text, nil
}

func withoutPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// parseCertificates wants every block that says that it is a certificate to be one.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it: %w", len(found)+1, err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, errors.New("has no certificate in it (-----BEGIN CERTIFICATE-----)")
	}
	return found, nil
}

// checkKey explains the two usual mistakes better than package tls does.
func checkKey(text []byte) error {
	var types []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return errors.New("the private key is encrypted, and nobody is there to type the passphrase: store it without one (`openssl pkey` writes such a file)")
		case block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY"):
			return nil
		}
		types = append(types, block.Type)
	}
	return fmt.Errorf("has no private key in it, only %s", strings.Join(types, ", "))
}
