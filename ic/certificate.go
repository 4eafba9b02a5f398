package ic

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

const sepStateRoot = "\x0dic-state-root"

func stateRootMessage(tree *HashTree) []byte {
	digest := tree.Digest()
	return append([]byte(sepStateRoot), digest[:]...)
}

// Certificate is a verified partial state tree.
type Certificate struct {
	Tree      *HashTree
	Time      time.Time // when the state was current
	Signature []byte
	// Delegation is nil if the root subnet signed.
	Delegation *CertificateDelegation
}

// CertificateDelegation names the subnet that signed a certificate and holds the
// root subnet's certificate about it.
type CertificateDelegation struct {
	Subnet      candid.Principal
	Certificate []byte
}

// Lookup returns the value at a path of the certificate's tree.
func (c *Certificate) Lookup(path ...[]byte) ([]byte, LookupResult) { return c.Tree.Lookup(path...) }

// EncodeCertificate builds a certificate. delegation is the CBOR of the
// delegation map (EncodeDelegation), nil if the root key signed.
func EncodeCertificate(tree *HashTree, signature []byte, delegation []byte) []byte {
	out := make([]byte, 0, 3+1+5+tree.cborLen()+10+3+len(signature)+11+len(delegation))
	n := 2
	if delegation != nil {
		n = 3
	}
	out = cbor.AppendMap(cbor.AppendSelfDescribe(out), n)
	out = tree.AppendCBOR(cbor.AppendText(out, "tree"))
	out = cbor.AppendBytes(cbor.AppendText(out, "signature"), signature)
	if delegation != nil {
		out = append(cbor.AppendText(out, "delegation"), delegation...)
	}
	return out
}

// EncodeDelegation builds the delegation map that EncodeCertificate embeds.
func EncodeDelegation(subnet candid.Principal, certificate []byte) []byte {
	out := cbor.AppendMap(nil, 2)
	out = cbor.AppendBytes(cbor.AppendText(out, "subnet_id"), subnet)
	return cbor.AppendBytes(cbor.AppendText(out, "certificate"), certificate)
}

// EncodeCanisterRanges encodes ranges as they stand in the state tree.
func EncodeCanisterRanges(ranges [][2]candid.Principal) []byte {
	out := cbor.AppendArray(cbor.AppendSelfDescribe(nil), len(ranges))
	for _, r := range ranges {
		out = cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(out, 2), r[0]), r[1])
	}
	return out
}

// EncodeTime encodes an instant as it stands at /time.
func EncodeTime(t time.Time) []byte {
	return encodeLEB(uint64(t.UnixNano())) //nolint:gosec // after 1970
}

// EncodeLEB128 encodes a natural number as values in the state tree are.
func EncodeLEB128(n uint64) []byte { return encodeLEB(n) }

func encodeLEB(n uint64) []byte {
	out := make([]byte, 0, 10)
	for n >= 0x80 {
		out = append(out, byte(n)|0x80)
		n >>= 7
	}
	return append(out, byte(n))
}

func decodeLEB(b []byte) (uint64, error) {
	var n uint64
	for i, c := range b {
		if i > 9 || (i == 9 && c > 1) {
			break
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i != len(b)-1 {
				break
			}
			return n, nil
		}
	}
	return 0, errors.New("not a LEB128 number of 64 bits")
}

// maxRanges bounds the canister ranges of one leaf; the replica splits longer lists.
const maxRanges = 10_000

func decodeRanges(b []byte) ([][2]candid.Principal, error) {
	r := cbor.NewReader(b)
	r.SkipSelfDescribe()
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	var ranges [][2]candid.Principal
	for {
		more, err := r.Next(&c)
		if err != nil {
			return nil, err
		}
		if !more {
			return ranges, r.End()
		}
		if len(ranges) == maxRanges {
			return nil, errors.New("too many canister ranges")
		}
		pair, err := decodeRange(&r)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, pair)
	}
}

func decodeRange(r *cbor.Reader) (pair [2]candid.Principal, err error) {
	c, err := r.Array()
	if err != nil {
		return pair, err
	}
	for i := range pair {
		if err := element(r, &c); err != nil {
			return pair, err
		}
		raw, err := r.Bytes()
		if err != nil {
			return pair, err
		}
		if pair[i], err = candid.PrincipalFromBytes(raw); err != nil {
			return pair, err
		}
	}
	if more, err := r.Next(&c); err != nil || more {
		return pair, errors.New("a canister range has two ends")
	}
	return pair, nil
}

func inRanges(canister candid.Principal, ranges [][2]candid.Principal) bool {
	for _, r := range ranges {
		if r[0] <= canister && canister <= r[1] {
			return true
		}
	}
	return false
}

// DecodeCertificate reads a certificate without verifying it. Use a Verifier
// unless the certificate is your own.
func DecodeCertificate(b []byte) (*Certificate, error) {
	c, err := decodeCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func decodeCertificate(b []byte) (*Certificate, error) {
	c := new(Certificate)
	r := cbor.NewReader(b)
	r.SkipSelfDescribe()
	err := eachKey(&r, func(key []byte) (known bool, err error) {
		switch string(key) {
		case "tree":
			r.SkipSelfDescribe()
			c.Tree, err = readTree(&r)
		case "signature":
			c.Signature, err = r.Bytes()
		case "delegation":
			if !r.Null() {
				c.Delegation, err = readCertificateDelegation(&r)
			}
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case c.Tree == nil:
		return nil, errors.New("no tree")
	case c.Signature == nil:
		return nil, errors.New("no signature")
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	if c.Time, err = treeTime(c.Tree); err != nil {
		return nil, err
	}
	return c, nil
}

func readCertificateDelegation(r *cbor.Reader) (*CertificateDelegation, error) {
	d := new(CertificateDelegation)
	hasSubnet := false
	err := eachKey(r, func(key []byte) (known bool, err error) {
		var raw []byte
		switch string(key) {
		case "subnet_id":
			if raw, err = r.Bytes(); err == nil {
				hasSubnet = true
				d.Subnet, err = candid.PrincipalFromBytes(raw)
			}
		case "certificate":
			d.Certificate, err = r.Bytes()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && (!hasSubnet || d.Certificate == nil) {
		err = errors.New("delegation lacks its subnet or certificate")
	}
	return d, err
}

// maxMapKeys bounds the maps that replicas send: they have at most six keys today.
const maxMapKeys = 32

// eachKey reads a map with text keys, refusing duplicates. value reads the value
// of a key it knows.
func eachKey(r *cbor.Reader, value func(key []byte) (known bool, err error)) error {
	c, err := r.Map()
	if err != nil {
		return err
	}
	var seen [][]byte
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return err
		}
		key, err := r.TextBytes()
		if err != nil {
			return err
		}
		for _, s := range seen {
			if bytes.Equal(s, key) {
				return fmt.Errorf("duplicate key %q", clipText(string(key)))
			}
		}
		if seen = append(seen, key); len(seen) > maxMapKeys {
			return errors.New("too many keys")
		}
		known, err := value(key)
		if err == nil && !known {
			err = r.Skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", clipText(string(key)), err)
		}
	}
}

func treeTime(tree *HashTree) (time.Time, error) {
	raw, result := tree.Lookup([]byte("time"))
	if result != Found {
		return time.Time{}, fmt.Errorf("time: %s", result)
	}
	nanos, err := decodeLEB(raw)
	if err != nil {
		return time.Time{}, fmt.Errorf("time: %w", err)
	}
	if nanos > math.MaxInt64 {
		return time.Time{}, errors.New("time: beyond the year 2262")
	}
	return time.Unix(0, int64(nanos)), nil
}
