package candid

import (
	"math"
	"math/big"
)

// Kind is the outermost form of a Value.
type Kind uint8

// The kinds of values. A vec nat8 is a Blob, whatever it means.
const (
	KindNone Kind = iota // the zero Value: nothing is there
	KindNull
	KindBool
	KindNat // nat and nat8 to nat64
	KindInt // int and int8 to int64
	KindFloat
	KindText
	KindReserved
	KindPrincipal // also a service reference
	KindOpt
	KindVec
	KindBlob
	KindRecord
	KindVariant
	KindFunc
	KindFuture // a value of a later version of Candid
)

var kindNames = [...]string{
	"nothing", "null", "bool", "nat", "int", "float", "text", "reserved", "principal", "opt", "vec", "blob",
	"record", "variant", "func", "future",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "invalid"
}

// Value is a decoded Candid value. The zero Value stands for "nothing there":
// accessors of a kind that the value does not have answer with false, so that
// a chain such as v.Field("a").Field("b").Text() needs one check at its end.
// Texts, blobs and principals alias the decoded bytes.
type Value struct {
	kind   Kind
	word   uint64 // bool, small nat, small int, float bits, id of the tag
	big    *big.Int
	bytes  []byte // text, blob, principal, method of a func
	elems  []Value
	labels []uint32 // ids of a record's fields, beside elems
}

// Kind returns the value's outermost form.
func (v Value) Kind() Kind { return v.kind }

// Bool returns a bool.
func (v Value) Bool() (value, ok bool) { return v.word != 0, v.kind == KindBool }

// Uint64 returns a natural number, or an integer that is not negative, of at most 64 bits.
func (v Value) Uint64() (uint64, bool) {
	if v.big != nil {
		return 0, false
	}
	return v.word, v.kind == KindNat || v.kind == KindInt && int64(v.word) >= 0 //nolint:gosec // two's complement
}

// Int64 returns a number that fits a signed 64-bit integer.
func (v Value) Int64() (int64, bool) {
	n := int64(v.word) //nolint:gosec // checked below
	if v.big != nil || v.kind == KindNat && n < 0 {
		return 0, false
	}
	return n, v.kind == KindNat || v.kind == KindInt
}

// Big returns any number as a new big integer.
func (v Value) Big() (*big.Int, bool) {
	switch {
	case v.kind != KindNat && v.kind != KindInt:
		return nil, false
	case v.big != nil:
		return new(big.Int).Set(v.big), true
	case v.kind == KindInt:
		return big.NewInt(int64(v.word)), true //nolint:gosec // two's complement
	}
	return new(big.Int).SetUint64(v.word), true
}

// Float returns a float32 or float64.
func (v Value) Float() (float64, bool) {
	return math.Float64frombits(v.word), v.kind == KindFloat
}

// Text returns a text.
func (v Value) Text() (string, bool) {
	if v.kind != KindText {
		return "", false
	}
	return string(v.bytes), true
}

// Blob returns the bytes of a vec nat8.
func (v Value) Blob() ([]byte, bool) {
	if v.kind == KindVec && len(v.elems) == 0 { // vec empty
		return nil, true
	}
	if v.kind != KindBlob {
		return nil, false
	}
	return v.bytes, true
}

// Principal returns a principal or the principal of a service reference.
func (v Value) Principal() (Principal, bool) {
	if v.kind != KindPrincipal {
		return "", false
	}
	return Principal(v.bytes), true
}

// Func returns a function reference.
func (v Value) Func() (service Principal, method string, ok bool) {
	if v.kind != KindFunc {
		return "", "", false
	}
	service, _ = v.elems[0].Principal()
	return service, string(v.bytes), true
}

// Opt returns what an opt holds and whether it holds something. A value of any
// other type counts as held, null and reserved as absent: that is how a decoder
// that expects an opt reads them.
func (v Value) Opt() (Value, bool) {
	switch v.kind {
	case KindNone, KindNull, KindReserved:
		return Value{}, false
	case KindOpt:
		if len(v.elems) == 0 {
			return Value{}, false
		}
		return v.elems[0], true
	}
	return v, true
}

// Vec returns the elements of a vec. The slice must not be changed.
// The bytes of a blob come through Blob instead.
func (v Value) Vec() ([]Value, bool) {
	if v.kind == KindBlob && len(v.bytes) == 0 {
		return nil, true
	}
	if v.kind != KindVec {
		return nil, false
	}
	return v.elems, true
}

// Len is the number of elements, bytes or fields.
func (v Value) Len() int {
	switch v.kind {
	case KindBlob, KindText:
		return len(v.bytes)
	}
	return len(v.elems)
}

// Field returns the field of a record by name, the zero Value if there is none.
// A decimal number names a tuple's position.
func (v Value) Field(label string) Value { return v.FieldID(labelHash(label)) }

// FieldID returns the field of a record by the hash of its name.
func (v Value) FieldID(id uint32) Value {
	if v.kind == KindRecord {
		for i, h := range v.labels {
			if h == id {
				return v.elems[i]
			}
		}
	}
	return Value{}
}

// Tag returns a variant's payload if its tag is label.
func (v Value) Tag(label string) (payload Value, ok bool) {
	id, payload, ok := v.Variant()
	if !ok || id != labelHash(label) {
		return Value{}, false
	}
	return payload, true
}

// Variant returns the hash of a variant's tag and its payload.
func (v Value) Variant() (id uint32, payload Value, ok bool) {
	if v.kind != KindVariant {
		return 0, Value{}, false
	}
	return v.labels[0], v.elems[0], true
}
