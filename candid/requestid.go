package candid

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/icrelay/icrelay/candid/cbor"
)

// HashField is one field of a map that is hashed independently of its
// representation: the hashes of its name and of its value.
type HashField struct{ name, value [32]byte }

// BytesField is a field with a blob as value.
func BytesField(name string, value []byte) HashField {
	return HashField{nameHash(name), sha256.Sum256(value)}
}

// TextField is a field with a text as value.
func TextField(name, value string) HashField {
	return HashField{nameHash(name), sha256.Sum256([]byte(value))}
}

// NatField is a field with a natural number as value.
func NatField(name string, value uint64) HashField {
	var b [10]byte
	return HashField{nameHash(name), sha256.Sum256(appendULEB(b[:0], value))}
}

// MapField is a field whose value is itself a map.
func MapField(name string, fields ...HashField) HashField {
	return HashField{nameHash(name), HashOfMap(fields...)}
}

// ListField is a field whose value is an array of blobs.
func ListField[T ~[]byte | ~string](name string, values []T) HashField {
	joined := make([]byte, 0, len(values)*32)
	for _, v := range values {
		sum := sha256.Sum256([]byte(v))
		joined = append(joined, sum[:]...)
	}
	return HashField{nameHash(name), sha256.Sum256(joined)}
}

// HashOfMap is the representation-independent hash of a map (interface
// specification, "Representation-independent hashing of structured data").
func HashOfMap(fields ...HashField) [32]byte {
	slices.SortFunc(fields, func(a, b HashField) int {
		if c := bytes.Compare(a.name[:], b.name[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.value[:], b.value[:])
	})
	joined := make([]byte, 0, len(fields)*64)
	for i := range fields {
		joined = append(joined, fields[i].name[:]...)
		joined = append(joined, fields[i].value[:]...)
	}
	return sha256.Sum256(joined)
}

// Names that every request hashes; their hashes never change.
var knownNames = func() map[string][32]byte {
	names := make(map[string][32]byte)
	for _, n := range append(slices.Clone(contentFields),
		"pubkey", "expiration", "targets", "permissions", "reply", "status", "timestamp", "request_id",
		"reject_code", "reject_message", "error_code") {
		names[n] = sha256.Sum256([]byte(n))
	}
	return names
}()

func nameHash(name string) [32]byte {
	if h, ok := knownNames[name]; ok {
		return h
	}
	return sha256.Sum256([]byte(name))
}

// RequestID is the representation-independent hash of the content
// (interface specification, "Request ids"). It is what the sender signs.
func (e *Envelope) RequestID() [32]byte {
	var room [10]HashField
	fields := append(room[:0],
		TextField("request_type", e.RequestType),
		BytesField("sender", []byte(e.Sender)),
		NatField("ingress_expiry", e.IngressExpiry))
	if e.RequestType == RequestReadState {
		joined := make([]byte, 0, len(e.Paths)*32)
		for _, path := range e.Paths {
			sum := ListField("", path).value
			joined = append(joined, sum[:]...)
		}
		fields = append(fields, BytesField("paths", joined))
	} else {
		fields = append(fields,
			BytesField("canister_id", []byte(e.Canister)),
			TextField("method_name", e.Method),
			BytesField("arg", e.Arg))
	}
	if e.Nonce != nil {
		fields = append(fields, BytesField("nonce", e.Nonce))
	}
	return HashOfMap(appendExtra(fields, e.extra)...)
}

// Hash is the representation-independent hash of the delegation, which the
// delegating key signs.
func (d *Delegation) Hash() [32]byte {
	var room [6]HashField
	fields := append(room[:0],
		BytesField("pubkey", d.Pubkey),
		NatField("expiration", d.Expiration))
	if d.Targets != nil {
		fields = append(fields, ListField("targets", d.Targets))
	}
	if d.Permissions != "" {
		fields = append(fields, TextField("permissions", d.Permissions))
	}
	return HashOfMap(appendExtra(fields, d.extra)...)
}

func appendExtra(fields []HashField, extra []extraField) []HashField {
	for i := range extra {
		fields = append(fields, HashField{nameHash(extra[i].key), extra[i].hash})
	}
	return fields
}

// hashCBOR is the representation-independent hash of any value.
func hashCBOR(raw []byte) ([32]byte, error) {
	r := cbor.NewReader(raw)
	return hashItem(&r, 8)
}

func hashItem(r *cbor.Reader, depth int) (sum [32]byte, err error) {
	if depth == 0 {
		return sum, errors.New("cbor: unknown field nested too deep")
	}
	r.SkipSelfDescribe()
	major, err := r.Major()
	if err != nil {
		return sum, err
	}
	switch major {
	case cbor.MajorBytes:
		b, err := r.Bytes()
		return sha256.Sum256(b), err
	case cbor.MajorText:
		b, err := r.TextBytes()
		return sha256.Sum256(b), err
	case cbor.MajorUint, cbor.MajorTag:
		n, err := r.Uint()
		return NatField("", n).value, err
	case cbor.MajorArray:
		c, err := r.Array()
		if err != nil {
			return sum, err
		}
		var joined []byte
		for {
			more, err := r.Next(&c)
			if err != nil {
				return sum, err
			}
			if !more {
				return sha256.Sum256(joined), nil
			}
			if sum, err = hashItem(r, depth-1); err != nil {
				return sum, err
			}
			joined = append(joined, sum[:]...)
		}
	case cbor.MajorMap:
		var fields []HashField
		err := readMap(r, func(r *cbor.Reader, key string) (bool, error) {
			value, err := hashItem(r, depth-1)
			fields = append(fields, HashField{nameHash(key), value})
			return true, err
		})
		return HashOfMap(fields...), err
	}
	return sum, fmt.Errorf("cbor: a value of major type %d cannot be hashed", major)
}
