package candid

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Type is a Candid type, for Builder. Types are immutable; build them once.
type Type struct {
	op     int8
	elem   *Type
	fields []typeDecl // sorted by hash
	key    string     // structural identity: equal types share one table entry
}

type typeDecl struct {
	label string
	hash  uint32
	typ   Type
}

func primitive(op int8) Type { return Type{op: op, key: strconv.Itoa(int(op))} }

// The primitive types.
var (
	NullType      = primitive(opNull)
	BoolType      = primitive(opBool)
	NatType       = primitive(opNat)
	IntType       = primitive(opInt)
	Nat8Type      = primitive(opNat8)
	Nat16Type     = primitive(opNat16)
	Nat32Type     = primitive(opNat32)
	Nat64Type     = primitive(opNat64)
	Int8Type      = primitive(opInt8)
	Int16Type     = primitive(opInt16)
	Int32Type     = primitive(opInt32)
	Int64Type     = primitive(opInt64)
	Float32Type   = primitive(opFloat32)
	Float64Type   = primitive(opFloat64)
	TextType      = primitive(opText)
	ReservedType  = primitive(opReserved)
	EmptyType     = primitive(opEmpty)
	PrincipalType = primitive(opPrincipal)
	BlobType      = VecOf(Nat8Type)
)

// Field is one field of a record type or one tag of a variant type.
type Field struct {
	Label string
	Type  Type
}

// OptOf is the type opt t.
func OptOf(t Type) Type { return Type{op: opOpt, elem: &t, key: "o(" + t.key + ")"} }

// VecOf is the type vec t.
func VecOf(t Type) Type { return Type{op: opVec, elem: &t, key: "v(" + t.key + ")"} }

// RecordOf is a record type. Labels that are decimal numbers stand for tuple positions.
func RecordOf(fields ...Field) Type { return composite(opRecord, "r", fields) }

// VariantOf is a variant type.
func VariantOf(tags ...Field) Type { return composite(opVariant, "t", tags) }

// TupleOf is the record type whose fields are numbered from 0.
func TupleOf(types ...Type) Type {
	fields := make([]Field, len(types))
	for i, t := range types {
		fields[i] = Field{strconv.Itoa(i), t}
	}
	return RecordOf(fields...)
}

func composite(op int8, prefix string, fields []Field) Type {
	t := Type{op: op, fields: make([]typeDecl, len(fields))}
	for i, f := range fields {
		t.fields[i] = typeDecl{f.Label, labelHash(f.Label), f.Type}
	}
	slices.SortStableFunc(t.fields, func(a, b typeDecl) int {
		return int(int64(a.hash) - int64(b.hash))
	})
	var key strings.Builder
	key.WriteString(prefix + "(")
	for _, f := range t.fields {
		fmt.Fprintf(&key, "%d:%s,", f.hash, f.typ.key)
	}
	key.WriteString(")")
	t.key = key.String()
	return t
}

// labelHash is the number itself for a label such as "0", otherwise the hash.
func labelHash(label string) uint32 {
	if n, err := strconv.ParseUint(label, 10, 32); err == nil {
		return uint32(n)
	}
	return Hash(label)
}

// String names the type as in a .did file.
func (t Type) String() string {
	switch t.op {
	case opOpt, opVec:
		if t.op == opVec && t.elem.op == opNat8 {
			return "blob"
		}
		return opName(int(t.op)) + " " + t.elem.String()
	case opRecord, opVariant:
		parts := make([]string, len(t.fields))
		for i, f := range t.fields {
			parts[i] = f.label + " : " + f.typ.String()
		}
		return opName(int(t.op)) + " { " + strings.Join(parts, "; ") + " }"
	case 0:
		return "no type"
	}
	return opName(int(t.op))
}

// tableBuilder collects the type table of a message.
type tableBuilder struct {
	index   map[string]int
	entries [][]byte
}

// ref appends the reference to t, adding t and what it is made of to the table.
func (tb *tableBuilder) ref(dst []byte, t Type) []byte {
	if isPrimitive(int64(t.op)) {
		return appendSLEB(dst, int64(t.op))
	}
	if i, ok := tb.index[t.key]; ok {
		return appendSLEB(dst, int64(i))
	}
	if tb.index == nil {
		tb.index = make(map[string]int)
	}
	// Reserve the slot first, so that outer types come before their parts as in
	// other encoders' output.
	i := len(tb.entries)
	tb.index[t.key] = i
	tb.entries = append(tb.entries, nil)
	entry := appendSLEB(nil, int64(t.op))
	if t.elem != nil {
		entry = tb.ref(entry, *t.elem)
	} else {
		entry = appendULEB(entry, uint64(len(t.fields)))
		for _, f := range t.fields {
			entry = appendULEB(entry, uint64(f.hash))
			entry = tb.ref(entry, f.typ)
		}
	}
	tb.entries[i] = entry
	return appendSLEB(dst, int64(i))
}

// messageHeader is everything that stands in front of the values of an argument tuple.
func messageHeader(types ...Type) []byte {
	var tb tableBuilder
	args := appendULEB(nil, uint64(len(types)))
	for _, t := range types {
		args = tb.ref(args, t)
	}
	out := appendULEB([]byte("DIDL"), uint64(len(tb.entries)))
	for _, e := range tb.entries {
		out = append(out, e...)
	}
	return append(out, args...)
}
