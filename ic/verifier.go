package ic

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// MaxClockSkew is how far in the future a certificate's time may lie.
const MaxClockSkew = 5 * time.Minute

// Sizes of the verifier's caches, in entries. A network has some fifty subnets.
const (
	cachedDelegations = 128
	cachedSignatures  = 1024
)

// CertificateError says why a certificate was not believed.
type CertificateError struct{ Err error }

func (e *CertificateError) Error() string { return "certificate: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *CertificateError) Unwrap() error { return e.Err }

var (
	// ErrCertificateTime is the reason if a certificate is too old or from the future.
	ErrCertificateTime = errors.New("not current")
	// ErrNotInRange is the reason if a certificate's signer may not speak for the canister.
	ErrNotInRange = errors.New("canister outside the signing subnet's ranges")
)

// Verifier checks certificates against one root key. It remembers the subnet
// keys that it has verified and the certificates it has seen lately, within
// fixed bounds, and may be used by any number of goroutines.
type Verifier struct {
	rootDER []byte
	root    *blsPublicKey
	rootID  candid.Principal

	delegations *cache[[32]byte, *subnetKey]
	signatures  *cache[[32]byte, struct{}]
	replies     *cache[[32]byte, struct{}] // signatures that only replies had: thousands, and most of them once
	queue       blsQueue
}

// subnetKey is what a verified delegation says.
type subnetKey struct {
	key    *blsPublicKey
	der    []byte
	ranges [][2]candid.Principal
	time   time.Time
	kind   string // value of /subnet/<id>/type, if it is there
}

// MainnetRootKey returns the DER-encoded root key of the Internet Computer.
func MainnetRootKey() []byte { return []byte(mainnetRootKey) }

const mainnetRootKey = blsKeyPrefix +
	"\x81\x4c\x0e\x6e\xc7\x1f\xab\x58\x3b\x08\xbd\x81\x37\x3c\x25\x5c\x3c\x37\x1b\x2e\x84\x86\x3c\x98" +
	"\xa4\xf1\xe0\x8b\x74\x23\x5d\x14\xfb\x5d\x9c\x0c\xd5\x46\xd9\x68\x5f\x91\x3a\x0c\x0b\x2c\xc5\x34" +
	"\x15\x83\xbf\x4b\x43\x92\xe4\x67\xdb\x96\xd6\x5b\x9b\xb4\xcb\x71\x71\x12\xf8\x47\x2e\x0d\x5a\x4d" +
	"\x14\x50\x5f\xfd\x74\x84\xb0\x12\x91\x09\x1c\x5f\x87\xb9\x88\x83\x46\x3f\x98\x09\x1a\x0b\xaa\xae"

// NewVerifier returns a verifier for the network with this DER-encoded root key.
func NewVerifier(rootKeyDER []byte) (*Verifier, error) {
	key, err := parseBLSKey(rootKeyDER)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	return &Verifier{
		rootDER:     bytes.Clone(rootKeyDER),
		root:        key,
		rootID:      candid.SelfAuthenticating(rootKeyDER),
		delegations: newCache[[32]byte, *subnetKey](cachedDelegations),
		signatures:  newCache[[32]byte, struct{}](cachedSignatures),
		replies:     newCache[[32]byte, struct{}](cachedSignatures),
	}, nil
}

// RootKey returns the DER-encoded root key.
func (v *Verifier) RootKey() []byte { return bytes.Clone(v.rootDER) }

// RootSubnet is the principal of the subnet that holds the root key.
func (v *Verifier) RootSubnet() candid.Principal { return v.rootID }

// Verify checks that cert is signed by the root key, or by a subnet to which the
// root key delegated and whose ranges include the canister, and that its time
// is at most maxAge before now (0: any age) and at most MaxClockSkew after.
// For the management canister, which every subnet has, ranges are not checked.
// The error is a *CertificateError. The result aliases cert.
func (v *Verifier) Verify(cert []byte, canister candid.Principal, now time.Time, maxAge time.Duration) (*Certificate, error) {
	return v.verifyFor(canister, cert, now, maxAge, false)
}

// verifyFor is Verify. Who is patient waits some milliseconds longer, so that
// many signatures are verified at once.
func (v *Verifier) verifyFor(canister candid.Principal, cert []byte, now time.Time, maxAge time.Duration, patient bool) (*Certificate, error) {
	c, subnet, err := v.verify(cert, now, maxAge, patient)
	if err != nil {
		return nil, err
	}
	if subnet != nil && canister != candid.ManagementCanister && !inRanges(canister, subnet.ranges) {
		return nil, &CertificateError{fmt.Errorf("%w: %s, subnet %s", ErrNotInRange, canister, c.Delegation.Subnet)}
	}
	return c, nil
}

// VerifySubnet is Verify for what a subnet says about itself: the signer must
// be that subnet.
func (v *Verifier) VerifySubnet(cert []byte, subnet candid.Principal, now time.Time, maxAge time.Duration) (*Certificate, error) {
	c, _, err := v.verify(cert, now, maxAge, false)
	if err != nil {
		return nil, err
	}
	if signer := v.signer(c); signer != subnet {
		return nil, &CertificateError{fmt.Errorf("signed by subnet %s instead of %s", signer, subnet)}
	}
	return c, nil
}

// signer is the subnet that signed a verified certificate.
func (v *Verifier) signer(c *Certificate) candid.Principal {
	if c.Delegation != nil {
		return c.Delegation.Subnet
	}
	return v.rootID
}

func (v *Verifier) verify(cert []byte, now time.Time, maxAge time.Duration, patient bool) (*Certificate, *subnetKey, error) {
	c, err := decodeCertificate(cert)
	if err != nil {
		return nil, nil, &CertificateError{err}
	}
	if err := checkTime(c.Time, now, maxAge); err != nil {
		return nil, nil, &CertificateError{err}
	}
	key, der := v.root, v.rootDER
	var subnet *subnetKey
	if c.Delegation != nil {
		if subnet, err = v.delegation(c.Delegation, now); err != nil {
			return nil, nil, &CertificateError{fmt.Errorf("delegation to subnet %s: %w", c.Delegation.Subnet, err)}
		}
		key, der = subnet.key, subnet.der
	}
	if err := v.verifySignature(key, der, c, patient); err != nil {
		return nil, nil, &CertificateError{err}
	}
	return c, subnet, nil
}

func checkTime(t, now time.Time, maxAge time.Duration) error {
	switch age := now.Sub(t); {
	case maxAge > 0 && age > maxAge:
		return fmt.Errorf("%w: %s old, at most %s allowed", ErrCertificateTime, age.Round(time.Second), maxAge)
	case age < -MaxClockSkew:
		return fmt.Errorf("%w: %s in the future", ErrCertificateTime, (-age).Round(time.Second))
	}
	return nil
}

func (v *Verifier) verifySignature(key *blsPublicKey, der []byte, c *Certificate, patient bool) error {
	message := stateRootMessage(c.Tree)
	h := sha256.New()
	h.Write(der) // of fixed length, like the message
	h.Write(message)
	h.Write(c.Signature)
	id := [32]byte(h.Sum(nil))
	if _, ok := v.signatures.get(id); ok {
		return nil
	}
	if _, ok := v.replies.get(id); !ok {
		if err := v.queue.verify(id, key, message, c.Signature, patient); err != nil {
			return err
		}
	}
	if patient {
		v.replies.put(id, struct{}{})
	} else {
		v.signatures.put(id, struct{}{})
	}
	return nil
}

// delegation returns the key of the subnet to which d delegates. The root
// key's signature is checked once for each delegation's bytes.
func (v *Verifier) delegation(d *CertificateDelegation, now time.Time) (*subnetKey, error) {
	h := sha256.New()
	h.Write([]byte{byte(len(d.Subnet))}) //nolint:gosec // at most 29 bytes
	h.Write([]byte(d.Subnet))
	h.Write(d.Certificate)
	id := [32]byte(h.Sum(nil))
	subnet, ok := v.delegations.get(id)
	if !ok {
		var err error
		if subnet, err = v.verifyDelegation(d); err != nil {
			return nil, err
		}
		v.delegations.put(id, subnet)
	}
	// Subnets renew their delegations about once a week, so that age says little.
	return subnet, checkTime(subnet.time, now, 0)
}

func (v *Verifier) verifyDelegation(d *CertificateDelegation) (*subnetKey, error) {
	c, err := decodeCertificate(d.Certificate)
	if err != nil {
		return nil, err
	}
	if c.Delegation != nil {
		return nil, errors.New("delegations cannot be nested")
	}
	if err := v.verifySignature(v.root, v.rootDER, c, false); err != nil {
		return nil, err
	}
	id := []byte(d.Subnet)
	der, result := c.Lookup([]byte("subnet"), id, []byte("public_key"))
	if result != Found {
		return nil, fmt.Errorf("public key: %s", result)
	}
	key, err := parseBLSKey(der)
	if err != nil {
		return nil, err
	}
	ranges, err := canisterRanges(c.Tree, d.Subnet)
	if err != nil {
		return nil, err
	}
	kind, _ := c.Lookup([]byte("subnet"), id, []byte("type"))
	return &subnetKey{key: key, der: bytes.Clone(der), ranges: ranges, time: c.Time, kind: string(kind)}, nil
}

// canisterRanges collects the ranges of a subnet from both places where the
// state tree has or had them: one leaf at /subnet/<id>/canister_ranges, or several
// below /canister_ranges/<id> (interface specification, "Canister ranges").
func canisterRanges(tree *HashTree, subnet candid.Principal) ([][2]candid.Principal, error) {
	var all [][2]candid.Principal
	if raw, result := tree.Lookup([]byte("subnet"), []byte(subnet), []byte("canister_ranges")); result == Found {
		ranges, err := decodeRanges(raw)
		if err != nil {
			return nil, fmt.Errorf("canister ranges: %w", err)
		}
		all = ranges
	}
	sub, result := tree.LookupSubtree([]byte("canister_ranges"), []byte(subnet))
	if result != Found {
		return all, nil
	}
	var err error
	sub.eachNode(func(n *HashTree) bool {
		if n.kind != kindLabeled || n.left.kind != kindLeaf {
			return true // parts that do not concern the request are pruned
		}
		var ranges [][2]candid.Principal
		if ranges, err = decodeRanges(n.left.data); err != nil {
			err = fmt.Errorf("canister ranges: %w", err)
			return false
		}
		all = append(all, ranges...)
		return len(all) <= maxRanges
	})
	return all, err
}
