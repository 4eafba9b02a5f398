package candid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Limits bound what Decode may build. A zero field takes its default.
type Limits struct {
	Depth  int // nesting of values; default 128
	Values int // values in all, those inside others included; default 100 000
	Digits int // bytes of one nat or int; default 4096
}

const (
	defaultDepth  = 128
	defaultValues = 100_000
	defaultDigits = 4096
)

var errValues = errors.New("candid: more values than allowed")

// Decode reads an argument tuple of any types. It is slower than the decoders
// of the protocol's own messages and allocates up to some six hundred bytes for
// each value, but no more than the limits allow. Texts and blobs alias b.
func Decode(b []byte, limits Limits) ([]Value, error) {
	d, err := newDecoder(b)
	if err != nil {
		return nil, err
	}
	g := generic{decoder: d, values: limits.Values, digits: limits.Digits}
	if g.values <= 0 {
		g.values = defaultValues
	}
	if g.digits <= 0 {
		g.digits = defaultDigits
	}
	depth := limits.Depth
	if depth <= 0 {
		depth = defaultDepth
	}
	values := make([]Value, 0, len(d.args))
	for i, t := range d.args {
		v, err := g.value(t, depth)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
		values = append(values, v)
	}
	d.next = len(d.args)
	return values, d.end()
}

type generic struct {
	*decoder
	values int
	digits int
}

func (g *generic) value(t typeRef, depth int) (Value, error) {
	if g.values--; g.values < 0 {
		return Value{}, errValues
	}
	if depth == 0 {
		return Value{}, errDepth
	}
	if t < 0 {
		return g.primitive(t)
	}
	def := &g.types[t]
	switch def.op {
	case opOpt:
		flag, err := g.byte()
		if err != nil || flag == 0 {
			return Value{kind: KindOpt}, err
		}
		if flag != 1 {
			return Value{}, errOptFlag
		}
		inner, err := g.value(def.elem, depth-1)
		return Value{kind: KindOpt, elems: []Value{inner}}, err
	case opVec:
		return g.vecValue(def.elem, depth)
	case opRecord:
		v := Value{kind: KindRecord, elems: make([]Value, 0, min(len(def.fields), 16)), labels: make([]uint32, 0, min(len(def.fields), 16))}
		for _, f := range def.fields {
			field, err := g.value(f.typ, depth-1)
			if err != nil {
				return Value{}, fmt.Errorf("%s: %w", fieldLabel(f.hash), err)
			}
			v.elems, v.labels = append(v.elems, field), append(v.labels, f.hash)
		}
		return v, nil
	case opVariant:
		f, err := g.variant(t)
		if err != nil {
			return Value{}, err
		}
		payload, err := g.value(f.typ, depth-1)
		if err != nil {
			return Value{}, fmt.Errorf("%s: %w", fieldLabel(f.hash), err)
		}
		return Value{kind: KindVariant, labels: []uint32{f.hash}, elems: []Value{payload}}, nil
	case opService:
		b, err := g.principalBytes()
		return Value{kind: KindPrincipal, bytes: b}, err
	case opFunc:
		service, method, err := g.funcRef()
		return Value{kind: KindFunc, bytes: method, elems: []Value{{kind: KindPrincipal, bytes: service}}}, err
	default:
		return Value{kind: KindFuture}, g.skipFuture()
	}
}

func (g *generic) vecValue(elem typeRef, depth int) (Value, error) {
	n, err := g.uleb()
	if err != nil {
		return Value{}, err
	}
	if elem == opNat8 {
		b, err := g.take(n)
		return Value{kind: KindBlob, bytes: b}, err
	}
	if n > uint64(g.values) { //nolint:gosec // values is not negative here
		return Value{}, errValues
	}
	v := Value{kind: KindVec, elems: make([]Value, 0, min(n, 64))}
	for i := range n {
		e, err := g.value(elem, depth-1)
		if err != nil {
			return Value{}, fmt.Errorf("element %d: %w", i, err)
		}
		v.elems = append(v.elems, e)
	}
	return v, nil
}

func (g *generic) primitive(t typeRef) (Value, error) {
	switch t {
	case opNull:
		return Value{kind: KindNull}, nil
	case opReserved:
		return Value{kind: KindReserved}, nil
	case opEmpty:
		return Value{}, errors.New("candid: a value of type empty")
	case opBool:
		b, err := g.bool(t)
		return Value{kind: KindBool, word: uint64(boolByte(b))}, err
	case opText:
		b, err := g.textBytes()
		return Value{kind: KindText, bytes: b}, err
	case opPrincipal:
		b, err := g.principalBytes()
		return Value{kind: KindPrincipal, bytes: b}, err
	case opNat, opInt:
		return g.number(t == opInt)
	}
	b, err := g.take(uint64(fixedSize(t))) //nolint:gosec // 1 to 8
	if err != nil {
		return Value{}, err
	}
	var wide [8]byte
	copy(wide[:], b)
	word := binary.LittleEndian.Uint64(wide[:])
	switch {
	case t == opFloat32:
		return Value{kind: KindFloat, word: math.Float64bits(float64(math.Float32frombits(uint32(word))))}, nil //nolint:gosec // four bytes were read
	case t == opFloat64:
		return Value{kind: KindFloat, word: word}, nil
	case t <= opInt8 && t >= opInt64:
		shift := 64 - 8*len(b)
		return Value{kind: KindInt, word: uint64(int64(word<<shift) >> shift)}, nil //nolint:gosec // sign extension
	}
	return Value{kind: KindNat, word: word}, nil
}

func (g *generic) number(signed bool) (Value, error) {
	size, err := lebLen(g.data[g.off:])
	if err != nil {
		return Value{}, err
	}
	if size > g.digits {
		return Value{}, fmt.Errorf("candid: number of %d bytes, at most %d allowed", size, g.digits)
	}
	raw := g.data[g.off : g.off+size]
	g.off += size
	if signed {
		if n, _, err := sleb(raw); err == nil {
			return Value{kind: KindInt, word: uint64(n)}, nil //nolint:gosec // two's complement
		}
		return Value{kind: KindInt, big: bigLEB(raw, true)}, nil
	}
	if n, _, err := uleb(raw); err == nil {
		return Value{kind: KindNat, word: n}, nil
	}
	return Value{kind: KindNat, big: bigLEB(raw, false)}, nil
}
