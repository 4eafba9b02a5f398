package candid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"unicode/utf8"
)

// Fields are the values of a record by label. A field of type opt, null or
// reserved may be left out.
type Fields map[string]any

// Tag is a value of a variant type. A nil Value stands for null.
type Tag struct {
	Label string
	Value any
}

// Builder encodes an argument tuple of any types. It is for configuration
// records and tests; the four methods of the protocol have encoders of their own.
//
//	person := candid.RecordOf(candid.Field{"name", candid.TextType}, candid.Field{"age", candid.OptOf(candid.NatType)})
//	raw, err := candid.NewBuilder().Add(person, candid.Fields{"name": "Ada"}).Bytes()
//
// The Go values that stand for Candid values:
//
//	null, reserved      nil (reserved: anything)
//	bool                bool
//	nat, nat8..nat64    uint, uint8..uint64, int (not negative), *big.Int
//	int, int8..int64    any Go integer, *big.Int
//	float32, float64    float32, float64
//	text                string
//	principal           Principal
//	blob                []byte
//	opt                 nil, or the value itself
//	vec                 []any, or []string, []uint64, []Principal, [][]byte, []Fields
//	record              Fields (a tuple also: []any)
//	variant             Tag, or a string for a tag without payload
type Builder struct {
	types  []Type
	values []byte
	err    error
}

// NewBuilder returns a builder of the empty tuple.
func NewBuilder() *Builder { return &Builder{} }

// Add appends an argument. An impossible value is reported by Bytes.
func (b *Builder) Add(t Type, value any) *Builder {
	if b.err != nil {
		return b
	}
	b.types = append(b.types, t)
	values, err := appendValue(b.values, t, value)
	if err != nil {
		b.err = fmt.Errorf("candid: argument %d: %w", len(b.types), err)
		return b
	}
	b.values = values
	return b
}

// Bytes returns the encoded tuple, or what was wrong with an argument.
func (b *Builder) Bytes() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return append(messageHeader(b.types...), b.values...), nil
}

func appendValue(dst []byte, t Type, v any) ([]byte, error) {
	switch t.op {
	case opNull:
		if v != nil {
			return nil, wrongValue(t, v)
		}
		return dst, nil
	case opReserved:
		return dst, nil
	case opBool:
		if x, ok := v.(bool); ok {
			return append(dst, boolByte(x)), nil
		}
	case opText:
		if x, ok := v.(string); ok {
			if !utf8.ValidString(x) {
				return nil, errors.New("text is not UTF-8")
			}
			return appendBlob(dst, []byte(x)), nil
		}
	case opPrincipal:
		if x, ok := v.(Principal); ok {
			if len(x) > MaxPrincipalLength {
				return nil, errPrincipalLength
			}
			return appendPrincipal(dst, x), nil
		}
	case opFloat32:
		if x, ok := v.(float32); ok {
			return binary.LittleEndian.AppendUint32(dst, math.Float32bits(x)), nil
		}
	case opFloat64:
		if x, ok := v.(float64); ok {
			return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x)), nil
		}
	case opOpt:
		return appendOpt(dst, t, v)
	case opVec:
		return appendVec(dst, t, v)
	case opRecord:
		return appendRecord(dst, t, v)
	case opVariant:
		return appendVariant(dst, t, v)
	default:
		if n, ok := toBig(v); ok {
			return appendNumber(dst, t, n)
		}
	}
	return nil, wrongValue(t, v)
}

func wrongValue(t Type, v any) error { return fmt.Errorf("a Go %T cannot be %s", v, t) }

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendBlob(dst, b []byte) []byte { return append(appendULEB(dst, uint64(len(b))), b...) }

func appendPrincipal(dst []byte, p Principal) []byte {
	return append(append(dst, 1, byte(len(p))), p...) //nolint:gosec // at most 29 bytes
}

func toBig(v any) (*big.Int, bool) {
	switch x := v.(type) {
	case *big.Int:
		return x, x != nil
	case uint64:
		return new(big.Int).SetUint64(x), true
	case uint:
		return new(big.Int).SetUint64(uint64(x)), true
	case uint32:
		return big.NewInt(int64(x)), true
	case uint16:
		return big.NewInt(int64(x)), true
	case uint8:
		return big.NewInt(int64(x)), true
	case int:
		return big.NewInt(int64(x)), true
	case int64:
		return big.NewInt(x), true
	case int32:
		return big.NewInt(int64(x)), true
	case int16:
		return big.NewInt(int64(x)), true
	case int8:
		return big.NewInt(int64(x)), true
	}
	return nil, false
}

func appendNumber(dst []byte, t Type, n *big.Int) ([]byte, error) {
	switch t.op {
	case opNat:
		if n.Sign() < 0 {
			return nil, errors.New("a nat is not negative")
		}
		return appendBigLEB(dst, n, false), nil
	case opInt:
		return appendBigLEB(dst, n, true), nil
	}
	size := fixedSize(typeRef(t.op))
	signed := t.op <= opInt8 && t.op >= opInt64
	if size < 0 || !fits(n, size*8, signed) {
		return nil, fmt.Errorf("%s does not fit %s", n, t)
	}
	var word uint64
	if n.Sign() < 0 {
		word = uint64(n.Int64()) //nolint:gosec // two's complement is what is wanted
	} else {
		word = n.Uint64()
	}
	for range size {
		dst = append(dst, byte(word))
		word >>= 8
	}
	return dst, nil
}

func fits(n *big.Int, bits int, signed bool) bool {
	if !signed {
		return n.Sign() >= 0 && n.BitLen() <= bits
	}
	if n.Sign() < 0 { // -2^(bits-1) is the least
		return new(big.Int).Not(n).BitLen() < bits
	}
	return n.BitLen() < bits
}

func appendOpt(dst []byte, t Type, v any) ([]byte, error) {
	if v == nil {
		return append(dst, 0), nil
	}
	return appendValue(append(dst, 1), *t.elem, v)
}

func appendVec(dst []byte, t Type, v any) ([]byte, error) {
	switch x := v.(type) {
	case []byte:
		if t.elem.op == opNat8 {
			return appendBlob(dst, x), nil
		}
	case []any:
		return appendElems(dst, t, x)
	case []string:
		return appendElems(dst, t, x)
	case []uint64:
		return appendElems(dst, t, x)
	case []Principal:
		return appendElems(dst, t, x)
	case [][]byte:
		return appendElems(dst, t, x)
	case []Fields:
		return appendElems(dst, t, x)
	case []Tag:
		return appendElems(dst, t, x)
	}
	return nil, wrongValue(t, v)
}

func appendElems[T any](dst []byte, t Type, elems []T) ([]byte, error) {
	dst = appendULEB(dst, uint64(len(elems)))
	var err error
	for i, v := range elems {
		if dst, err = appendValue(dst, *t.elem, v); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return dst, nil
}

func appendRecord(dst []byte, t Type, v any) ([]byte, error) {
	values, ok := v.(Fields)
	if tuple, isTuple := v.([]any); isTuple {
		values, ok = make(Fields, len(tuple)), true
		for i, x := range tuple {
			values[fmt.Sprint(i)] = x
		}
	}
	if !ok {
		return nil, wrongValue(t, v)
	}
	var err error
	used := 0
	for _, f := range t.fields {
		value, ok := values[f.label]
		if ok {
			used++
		} else if f.typ.op != opOpt && f.typ.op != opNull && f.typ.op != opReserved {
			return nil, fmt.Errorf("field %s is missing", f.label)
		}
		if dst, err = appendValue(dst, f.typ, value); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.label, err)
		}
	}
	if used != len(values) {
		for label := range values {
			if !t.has(label) {
				return nil, fmt.Errorf("the record has no field %s", label)
			}
		}
	}
	return dst, nil
}

func (t Type) has(label string) bool {
	for _, f := range t.fields {
		if f.label == label {
			return true
		}
	}
	return false
}

func appendVariant(dst []byte, t Type, v any) ([]byte, error) {
	tag, ok := v.(Tag)
	if label, isText := v.(string); isText {
		tag, ok = Tag{Label: label}, true
	}
	if !ok {
		return nil, wrongValue(t, v)
	}
	for i, f := range t.fields {
		if f.label == tag.Label {
			out, err := appendValue(appendULEB(dst, uint64(i)), f.typ, tag.Value) //nolint:gosec // an index
			if err != nil {
				return nil, fmt.Errorf("tag %s: %w", f.label, err)
			}
			return out, nil
		}
	}
	return nil, fmt.Errorf("the variant has no tag %s", tag.Label)
}
