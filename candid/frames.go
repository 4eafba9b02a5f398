package candid

import (
	"errors"
	"fmt"
	"slices"

	"github.com/icrelay/icrelay/candid/cbor"
)

// maxKeyLength bounds the key of an output message. Keys are 84 characters at
// most (63 of the principal, an underscore, 20 digits); the rest is slack.
const maxKeyLength = 256

// fieldMap reads a map with text keys, self-described or not, as the only item
// of b. field reads the value of a key it knows and reports true, or reports
// false to have it skipped. Duplicate keys among those known are refused.
func fieldMap(b []byte, what string, field func(r *cbor.Reader, key string) (known bool, err error)) error {
	r := cbor.NewReader(b)
	r.SkipSelfDescribe()
	if err := readMap(&r, field); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := r.End(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Bounds on a map that is read field by field; comparing keys stays cheap.
const (
	maxKeys       = 64
	maxNameLength = 256
)

func readMap(r *cbor.Reader, field func(r *cbor.Reader, key string) (known bool, err error)) error {
	c, err := r.Map()
	if err != nil {
		return err
	}
	var room [8]string // for most maps enough
	seen := room[:0]
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return err
		}
		if len(seen) == maxKeys {
			return fmt.Errorf("cbor: map of more than %d keys", maxKeys)
		}
		raw, err := r.TextBytes()
		if err != nil {
			return fmt.Errorf("key: %w", err)
		}
		if len(raw) > maxNameLength {
			return fmt.Errorf("cbor: key of %d bytes", len(raw))
		}
		key := fieldName(raw)
		for _, s := range seen {
			if s == key {
				return fmt.Errorf("cbor: duplicate key %q", clip(key))
			}
		}
		seen = append(seen, key)
		known, err := field(r, key)
		if err == nil && !known {
			err = r.Skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", clip(key), err)
		}
	}
}

// fieldName is string(raw). Names of the protocol's fields are not copied: they
// are read some thousand times a second.
func fieldName(raw []byte) string {
	switch string(raw) {
	case "key":
		return "key"
	case "content":
		return "content"
	case "cert":
		return "cert"
	case "tree":
		return "tree"
	case "client_key":
		return "client_key"
	case "client_principal":
		return "client_principal"
	case "client_nonce":
		return "client_nonce"
	case "sequence_num":
		return "sequence_num"
	case "timestamp":
		return "timestamp"
	case "is_service_message":
		return "is_service_message"
	case "envelope":
		return "envelope"
	}
	return string(raw)
}

// clip shortens a foreign key for an error text.
func clip(key string) string {
	if len(key) > 40 {
		return key[:40] + "..."
	}
	return key
}

var errMissing = errors.New("a field is missing")

func lacks(what, key string) error { return fmt.Errorf("%s: %w: %s", what, errMissing, key) }

// EncodeHandshake encodes the gateway's first frame.
func EncodeHandshake(gateway Principal) []byte {
	out := make([]byte, 0, 64)
	out = cbor.AppendMap(cbor.AppendSelfDescribe(out), 1)
	out = cbor.AppendText(out, "gateway_principal")
	return cbor.AppendBytes(out, gateway)
}

// DecodeHandshake reads the gateway's first frame.
func DecodeHandshake(b []byte) (gateway Principal, err error) {
	const what = "handshake"
	found := false
	err = fieldMap(b, what, func(r *cbor.Reader, key string) (bool, error) {
		if key != "gateway_principal" {
			return false, nil
		}
		found = true
		gateway, err = readPrincipal(r)
		return true, err
	})
	if err == nil && !found {
		err = lacks(what, "gateway_principal")
	}
	return gateway, err
}

func readPrincipal(r *cbor.Reader) (Principal, error) {
	raw, err := r.Bytes()
	if err != nil {
		return "", err
	}
	return PrincipalFromBytes(raw)
}

// outputFrameOverhead is the space an output frame takes besides its four values:
// tag, map head, keys with their heads, heads of the values at their longest.
const outputFrameOverhead = 3 + 1 + (1 + 3) + (1 + 7) + (1 + 4) + (1 + 4) + 4*9

// EncodeOutputFrame encodes one certified message for its client.
func EncodeOutputFrame(key string, content, cert, tree []byte) []byte {
	return AppendOutputFrame(nil, key, content, cert, tree)
}

// AppendOutputFrame is EncodeOutputFrame for memory that is there already.
func AppendOutputFrame(out []byte, key string, content, cert, tree []byte) []byte {
	out = slices.Grow(out, outputFrameOverhead+len(key)+len(content)+len(cert)+len(tree))
	out = cbor.AppendMap(cbor.AppendSelfDescribe(out), 4)
	out = cbor.AppendText(append(out, "\x63key"...), key)
	out = cbor.AppendBytes(append(out, "\x67content"...), content)
	out = cbor.AppendBytes(append(out, "\x64cert"...), cert)
	return cbor.AppendBytes(append(out, "\x64tree"...), tree)
}

// DecodeOutputFrame reads one certified message. The results alias b.
func DecodeOutputFrame(b []byte) (key string, content, cert, tree []byte, err error) {
	const what = "output frame"
	seen := 0
	err = fieldMap(b, what, func(r *cbor.Reader, name string) (bool, error) {
		var err error
		switch name {
		case "key":
			seen |= 1
			key, err = r.Text()
			if err == nil && len(key) > maxKeyLength {
				err = fmt.Errorf("key of %d bytes", len(key))
			}
		case "content":
			seen |= 2
			content, err = r.Bytes()
		case "cert":
			seen |= 4
			cert, err = r.Bytes()
		case "tree":
			seen |= 8
			tree, err = r.Bytes()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = missing(what, seen, 15, "key", "content", "cert", "tree")
	}
	return key, content, cert, tree, err
}

// EncodeWebsocketMessage encodes the content of an output message, in the field
// order of the CDK's serializer.
func EncodeWebsocketMessage(m WebsocketMessage) []byte {
	out := make([]byte, 0, 160+len(m.Content))
	out = cbor.AppendMap(cbor.AppendSelfDescribe(out), 5)
	out = cbor.AppendMap(cbor.AppendText(out, "client_key"), 2)
	out = cbor.AppendBytes(cbor.AppendText(out, "client_principal"), m.ClientKey.Principal)
	out = cbor.AppendUint(cbor.AppendText(out, "client_nonce"), m.ClientKey.Nonce)
	out = cbor.AppendUint(cbor.AppendText(out, "sequence_num"), m.SequenceNum)
	out = cbor.AppendUint(cbor.AppendText(out, "timestamp"), m.Timestamp)
	out = cbor.AppendBool(cbor.AppendText(out, "is_service_message"), m.IsServiceMessage)
	return cbor.AppendBytes(cbor.AppendText(out, "content"), m.Content)
}

// DecodeWebsocketMessage reads the content of an output message. The message's
// own content aliases b.
func DecodeWebsocketMessage(b []byte) (m WebsocketMessage, err error) {
	const what = "websocket message"
	seen := 0
	err = fieldMap(b, what, func(r *cbor.Reader, name string) (bool, error) {
		var err error
		switch name {
		case "client_key":
			seen |= 1
			m.ClientKey, err = readClientKey(r)
		case "sequence_num":
			seen |= 2
			m.SequenceNum, err = r.Uint()
		case "timestamp":
			seen |= 4
			m.Timestamp, err = r.Uint()
		case "is_service_message":
			seen |= 8
			m.IsServiceMessage, err = r.Bool()
		case "content":
			seen |= 16
			m.Content, err = r.Bytes()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = missing(what, seen, 31, "client_key", "sequence_num", "timestamp", "is_service_message", "content")
	}
	return m, err
}

func readClientKey(r *cbor.Reader) (k ClientKey, err error) {
	seen := 0
	err = readMap(r, func(r *cbor.Reader, name string) (bool, error) {
		var err error
		switch name {
		case "client_principal":
			seen |= 1
			k.Principal, err = readPrincipal(r)
		case "client_nonce":
			seen |= 2
			k.Nonce, err = r.Uint()
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = missing("client key", seen, 3, "client_principal", "client_nonce")
	}
	return k, err
}

// EncodeClientFrame wraps the bytes of an encoded envelope in a client's frame.
// A self-describe tag in front of the envelope is dropped: the tag belongs to the frame.
func EncodeClientFrame(envelope []byte) []byte {
	r := cbor.NewReader(envelope)
	r.SkipSelfDescribe()
	envelope = envelope[r.Offset():]
	out := make([]byte, 0, len(envelope)+16)
	out = cbor.AppendMap(cbor.AppendSelfDescribe(out), 1)
	return append(cbor.AppendText(out, "envelope"), envelope...)
}

// DecodeClientFrame returns the envelope's bytes as the client sent them. They
// alias b and are well-formed CBOR, but not otherwise checked.
func DecodeClientFrame(b []byte) (envelope []byte, err error) {
	const what = "client frame"
	err = fieldMap(b, what, func(r *cbor.Reader, name string) (bool, error) {
		if name != "envelope" {
			return false, nil
		}
		var err error
		envelope, err = r.Raw()
		return true, err
	})
	if err == nil && envelope == nil {
		err = lacks(what, "envelope")
	}
	if err != nil {
		return nil, err
	}
	return envelope, nil
}
