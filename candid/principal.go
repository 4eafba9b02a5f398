package candid

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// MaxPrincipalLength is the longest principal in bytes (interface specification, "Principals").
const MaxPrincipalLength = 29

// Principal is the raw form of a principal, 0 to 29 bytes. Held in a string it
// is immutable and can be compared and used as a map key.
type Principal string

const (
	// Anonymous is the sender of requests that nobody signed.
	Anonymous = Principal("\x04")
	// ManagementCanister is the empty principal, aaaaa-aa.
	ManagementCanister = Principal("")
)

var principalEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the textual form: groups of five characters, the checksum in front.
func (p Principal) String() string {
	var raw [4 + MaxPrincipalLength]byte
	b := binary.BigEndian.AppendUint32(raw[:0], crc32.ChecksumIEEE([]byte(p)))
	b = append(b, p...)
	var text [64]byte
	enc := principalEncoding.AppendEncode(text[:0], b)
	out := make([]byte, 0, 64+64/5)
	for i := 0; i < len(enc); i += 5 {
		if i > 0 {
			out = append(out, '-')
		}
		out = append(out, enc[i:min(i+5, len(enc))]...)
	}
	return string(out)
}

// Bytes returns a copy of the raw bytes.
func (p Principal) Bytes() []byte { return []byte(p) }

// IsAnonymous reports whether p is the anonymous principal.
func (p Principal) IsAnonymous() bool { return p == Anonymous }

// MarshalText lets principals stand in JSON and configuration files, as values:
// encoding/json writes the keys of maps as raw strings.
func (p Principal) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the strict inverse of MarshalText.
func (p *Principal) UnmarshalText(text []byte) error {
	parsed, err := ParsePrincipal(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

// ParsePrincipal reads the textual form. Only the canonical text is accepted,
// so that one principal has one spelling in configuration and logs.
func ParsePrincipal(text string) (Principal, error) {
	const longest = 63 // 53 characters in groups of five
	if len(text) > longest {
		return "", fmt.Errorf("principal: %d characters, at most %d expected", len(text), longest)
	}
	raw, err := principalEncoding.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil {
		return "", fmt.Errorf("principal %q: not base32 in lower case", text)
	}
	if len(raw) < 4 {
		return "", fmt.Errorf("principal %q: too short", text)
	}
	if len(raw)-4 > MaxPrincipalLength {
		return "", fmt.Errorf("principal %q: longer than %d bytes", text, MaxPrincipalLength)
	}
	p := Principal(raw[4:])
	if binary.BigEndian.Uint32(raw) != crc32.ChecksumIEEE(raw[4:]) {
		return "", fmt.Errorf("principal %q: checksum does not match", text)
	}
	if canonical := p.String(); canonical != text {
		return "", fmt.Errorf("principal %q: the canonical text is %q", text, canonical)
	}
	return p, nil
}

var errPrincipalLength = errors.New("principal: longer than 29 bytes")

// PrincipalFromBytes copies the raw form of a principal.
func PrincipalFromBytes(b []byte) (Principal, error) {
	if len(b) > MaxPrincipalLength {
		return "", errPrincipalLength
	}
	return Principal(b), nil
}

// SelfAuthenticating returns the principal of a public key's owner
// (interface specification, "Special forms of Principals").
func SelfAuthenticating(derPublicKey []byte) Principal {
	sum := sha256.Sum224(derPublicKey)
	return Principal(sum[:]) + "\x02"
}
