package ic

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxPEM bounds an identity file; the files of other tools have some 300 bytes.
const maxPEM = 64 << 10

// LoadOrCreateIdentity reads an identity from a PEM file, as written by dfx,
// icp-cli or openssl: Ed25519 in PKCS#8, secp256k1 or P-256 in SEC 1 or PKCS#8.
// A file that others may read is refused. If there is no file, an Ed25519
// identity is created in it, with mode 0600, together with missing folders.
// Two processes that create the same file at once end up with one identity.
func LoadOrCreateIdentity(path string) (id Identity, created bool, err error) {
	id, err = LoadIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, false, err
	}
	fresh, err := NewEd25519Identity()
	if err != nil {
		return nil, false, err
	}
	switch err := writeIdentity(path, fresh); {
	case errors.Is(err, fs.ErrExist):
		id, err = LoadIdentity(path)
		return id, false, err
	case err != nil:
		return nil, false, fmt.Errorf("create identity: %w", err)
	}
	return fresh, true, nil
}

// LoadIdentity reads an identity from a PEM file.
func LoadIdentity(path string) (Identity, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("identity %s: not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("identity %s: the file can be read by others (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	id, err := ParseIdentityPEM(text)
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", path, err)
	}
	return id, nil
}

// writeIdentity creates the file as a whole: it is written under another name and
// then linked, which fails if there is a file by now.
func writeIdentity(path string, id *Ed25519Identity) error {
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".identity-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the name is gone or harmless
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// Object identifiers of private keys.
var (
	oidEd25519   = asn1.ObjectIdentifier{1, 3, 101, 112}
	oidECKey     = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1 = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
	oidP256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
)

// ParseIdentityPEM reads an identity from the text of a PEM file.
func ParseIdentityPEM(text []byte) (Identity, error) {
	if len(text) > maxPEM {
		return nil, fmt.Errorf("longer than %d bytes", maxPEM)
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no private key in PEM form")
		}
		text = rest
		switch block.Type {
		case "EC PARAMETERS", "PUBLIC KEY", "CERTIFICATE":
			continue // openssl writes parameters in front of the key
		case "PRIVATE KEY":
			return parsePKCS8(block.Bytes)
		case "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			return parseSEC1(block.Bytes, nil)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		}
		return nil, fmt.Errorf("PEM block %q is not a private key", clipText(block.Type))
	}
}

var errEncrypted = errors.New("the key is encrypted; export it without a password")

// pkcs8 is OneAsymmetricKey of RFC 5958. Attributes and the public key, which
// version 2 of the format adds, come after what is read here.
type pkcs8 struct {
	Version   int
	Algorithm struct {
		OID    asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	Key []byte
}

func parsePKCS8(der []byte) (Identity, error) {
	var k pkcs8
	rest, err := asn1.Unmarshal(der, &k)
	if err != nil || len(rest) != 0 {
		return nil, errors.New("not a PKCS#8 private key")
	}
	switch {
	case k.Algorithm.OID.Equal(oidEd25519):
		var seed []byte
		rest, err := asn1.Unmarshal(k.Key, &seed)
		if err != nil || len(rest) != 0 || len(seed) != ed25519.SeedSize {
			return nil, errors.New("not an Ed25519 private key")
		}
		return Ed25519IdentityFromKey(ed25519.NewKeyFromSeed(seed)), nil
	case k.Algorithm.OID.Equal(oidECKey):
		var curve asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(k.Algorithm.Params.FullBytes, &curve); err != nil || len(rest) != 0 {
			return nil, errors.New("elliptic curve is not named")
		}
		return parseSEC1(k.Key, curve)
	}
	return nil, fmt.Errorf("keys of type %s are not supported", k.Algorithm.OID)
}

// sec1 is ECPrivateKey of RFC 5915.
type sec1 struct {
	Version   int
	Scalar    []byte
	Curve     asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// parseSEC1 reads an EC key. Inside PKCS#8 the curve is known beforehand.
func parseSEC1(der []byte, curve asn1.ObjectIdentifier) (Identity, error) {
	var k sec1
	rest, err := asn1.Unmarshal(der, &k)
	if err != nil || len(rest) != 0 || k.Version != 1 {
		return nil, errors.New("not an EC private key")
	}
	if curve == nil {
		curve = k.Curve
	} else if k.Curve != nil && !k.Curve.Equal(curve) {
		return nil, errors.New("EC private key names two curves")
	}
	if len(k.Scalar) > 32 {
		return nil, errors.New("EC private key is too long for its curve")
	}
	// Some writers leave out leading zeros.
	scalar := make([]byte, 32)
	copy(scalar[32-len(k.Scalar):], k.Scalar)
	switch {
	case curve.Equal(oidSecp256k1):
		return identityOrError(Secp256k1IdentityFromScalar(scalar))
	case curve.Equal(oidP256):
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
		if err != nil {
			return nil, errors.New("not a private key on P-256")
		}
		return identityOrError(newP256Identity(key))
	}
	return nil, fmt.Errorf("elliptic curve %s is not supported", curve)
}

// identityOrError keeps a typed nil from becoming an Identity.
func identityOrError[T Identity](id T, err error) (Identity, error) {
	if err != nil {
		return nil, err
	}
	return id, nil
}

func clipText(s string) string { return clip(s, 40) }

// clip keeps the beginning of a foreign text.
func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
