package ic

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/icrelay/icrelay/candid/cbor"
)

// webauthnKey verifies assertions of a security key or passkey (interface
// specification, "Web Authentication").
type webauthnKey struct {
	// check verifies an authenticator's signature of a message.
	check func(message, signature []byte) error
}

// Labels and values of COSE keys (RFC 9053).
const (
	coseKty, coseAlg                 = 1, 3
	coseCrv, coseX, coseY            = -1, -2, -3
	coseRSAModulus, coseRSAExponent  = -1, -2
	coseOKP, coseEC2, coseRSA        = 1, 2, 3
	coseEdDSA, coseES256, coseRS256  = -8, -7, -257
	coseP256, coseEd25519            = 1, 6
	maxCOSEKeys, maxRSABits          = 16, 8192
	minRSABits, maxClientData        = 1024, 16 << 10
	maxAuthenticatorData, maxRSAExpo = 16 << 10, 1 << 31
)

// coseParams are the parameters of a COSE key by label: integers or byte strings.
type coseParams struct {
	ints  map[int64]int64
	bytes map[int64][]byte
}

func readCOSE(raw []byte) (coseParams, error) {
	p := coseParams{make(map[int64]int64), make(map[int64][]byte)}
	r := cbor.NewReader(raw)
	c, err := r.Map()
	if err != nil {
		return p, err
	}
	for n := 0; ; n++ {
		more, err := r.Next(&c)
		if err != nil {
			return p, err
		}
		if !more {
			return p, r.End()
		}
		if n == maxCOSEKeys {
			return p, errors.New("too many parameters")
		}
		label, err := r.Int()
		if err != nil {
			return p, err
		}
		if _, ok := p.ints[label]; ok || p.bytes[label] != nil {
			return p, fmt.Errorf("duplicate parameter %d", label)
		}
		major, err := r.Major()
		if err != nil {
			return p, err
		}
		switch major {
		case cbor.MajorUint, cbor.MajorNegInt:
			p.ints[label], err = r.Int()
		case cbor.MajorBytes:
			p.bytes[label], err = r.Bytes()
		default:
			err = r.Skip()
		}
		if err != nil {
			return p, err
		}
	}
}

func parseCOSE(raw []byte) (publicKey, error) {
	p, err := readCOSE(raw)
	if err != nil {
		return nil, fmt.Errorf("COSE public key: %w", err)
	}
	switch kty, alg := p.ints[coseKty], p.ints[coseAlg]; {
	case kty == coseEC2 && alg == coseES256 && p.ints[coseCrv] == coseP256:
		return parseCOSEP256(p)
	case kty == coseOKP && alg == coseEdDSA && p.ints[coseCrv] == coseEd25519:
		x := p.bytes[coseX]
		if len(x) != ed25519.PublicKeySize {
			return nil, errors.New("COSE public key: not an Ed25519 key")
		}
		return webauthnKey{ed25519Key(x).verify}, nil
	case kty == coseRSA && alg == coseRS256:
		return parseCOSERSA(p)
	}
	return nil, errors.New("COSE public key: algorithm is not supported")
}

func parseCOSEP256(p coseParams) (publicKey, error) {
	x, y := p.bytes[coseX], p.bytes[coseY]
	if len(x) != 32 || len(y) != 32 {
		return nil, errors.New("COSE public key: not a point on P-256")
	}
	key, err := parseP256(append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, err
	}
	return webauthnKey{func(message, signature []byte) error {
		sig, err := parseECDSA(signature)
		if err != nil {
			return err
		}
		return key.(*p256Key).verifyRS(message, sig.R, sig.S) //nolint:forcetypeassert // parseP256 makes no other
	}}, nil
}

func parseCOSERSA(p coseParams) (publicKey, error) {
	n := new(big.Int).SetBytes(p.bytes[coseRSAModulus])
	e := new(big.Int).SetBytes(p.bytes[coseRSAExponent])
	if n.BitLen() < minRSABits || n.BitLen() > maxRSABits || e.BitLen() > 31 || e.Int64() < 3 {
		return nil, errors.New("COSE public key: RSA modulus or exponent out of range")
	}
	key := &rsa.PublicKey{N: n, E: int(e.Int64())}
	return webauthnKey{func(message, signature []byte) error {
		sum := sha256.Sum256(message)
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
			return ErrSignature
		}
		return nil
	}}, nil
}

// readClientData reads a text, as the specification has it, or bytes, which the
// replica takes as well.
func readClientData(r *cbor.Reader) ([]byte, error) {
	if major, err := r.Major(); err == nil && major == cbor.MajorBytes {
		return r.Bytes()
	}
	return r.TextBytes()
}

func (k webauthnKey) verify(message, signature []byte) error {
	var authData, clientData, sig []byte
	r := cbor.NewReader(signature)
	r.SkipSelfDescribe()
	err := eachKey(&r, func(key []byte) (known bool, err error) {
		switch string(key) {
		case "authenticator_data":
			authData, err = r.BytesMax(maxAuthenticatorData)
		case "client_data_json":
			clientData, err = readClientData(&r)
		case "signature":
			sig, err = r.Bytes()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return fmt.Errorf("webauthn signature: %w", err)
	}
	if authData == nil || clientData == nil || sig == nil || len(clientData) > maxClientData {
		return errors.New("webauthn signature: a part is missing or too long")
	}
	var data struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(clientData, &data); err != nil {
		return fmt.Errorf("webauthn signature: client data: %w", err)
	}
	if data.Challenge != base64.RawURLEncoding.EncodeToString(message) {
		return fmt.Errorf("webauthn signature: %w: challenge is not the message", ErrSignature)
	}
	sum := sha256.Sum256(clientData)
	signed := append(append(make([]byte, 0, len(authData)+len(sum)), authData...), sum[:]...)
	if err := k.check(signed, sig); err != nil {
		return fmt.Errorf("webauthn signature: %w", err)
	}
	return nil
}
