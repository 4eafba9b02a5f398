package candid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds how deep values may nest. Go's stacks grow, so this guards
// time and memory rather than the process; types such as
// record { itself } would otherwise recurse without reading a byte. The relay
// canister takes 1,000 levels, and what it takes must not stop the watch of a feed.
const maxDepth = 1_100

// Values that take no bytes (null, empty records) can be counted in billions by
// a few bytes of input. Each visited value therefore costs one unit of work;
// the allowance grows with the input and has a fixed part for honest messages.
const (
	workFixed   = 100_000
	workPerByte = 4
)

var (
	errDepth   = errors.New("candid: values nested too deep")
	errOptFlag = errors.New("candid: opt is neither 0 nor 1")
	errWork    = errors.New("candid: too many values for the size of the input")
)

// decoder walks over one argument tuple.
type decoder struct {
	data []byte
	off  int
	work int

	types      []typeDef
	table      typeRef // number of table entries announced
	fields     []typeField
	fieldCount int
	args       []typeRef
	next       int // next argument to read

	// Room for the tables of ordinary messages, to save allocations.
	typesRoom  [12]typeDef
	fieldsRoom [40]typeField
	argsRoom   [4]typeRef
}

// newDecoder reads the header of b.
func newDecoder(b []byte) (*decoder, error) {
	d := &decoder{data: b, work: workFixed + workPerByte*len(b)}
	d.types, d.fields, d.args = d.typesRoom[:0], d.fieldsRoom[:0], d.argsRoom[:0]
	if err := d.header(); err != nil {
		return nil, err
	}
	return d, nil
}

// arg returns the type of the next argument, whose value stands at the current offset.
func (d *decoder) arg() (typeRef, error) {
	if d.next >= len(d.args) {
		return 0, fmt.Errorf("candid: %d arguments, more expected", len(d.args))
	}
	d.next++
	return d.args[d.next-1], nil
}

// end skips arguments that nobody asked for and refuses bytes after the last.
func (d *decoder) end() error {
	for d.next < len(d.args) {
		d.next++
		if err := d.skip(d.args[d.next-1]); err != nil {
			return err
		}
	}
	if d.off != len(d.data) {
		return errors.New("candid: bytes after the last argument")
	}
	return nil
}

// left is the number of bytes that have not been read.
func (d *decoder) left() uint64 { return uint64(len(d.data) - d.off) } //nolint:gosec // off never passes the end

func (d *decoder) take(n uint64) ([]byte, error) {
	if n > d.left() {
		return nil, errTruncated
	}
	end := d.off + int(n) //nolint:gosec // n is at most the length of the input
	b := d.data[d.off:end:end]
	d.off = end
	return b, nil
}

func (d *decoder) uleb() (uint64, error) {
	n, size, err := uleb(d.data[d.off:])
	d.off += size
	return n, err
}

func (d *decoder) byte() (byte, error) {
	if d.off >= len(d.data) {
		return 0, errTruncated
	}
	d.off++
	return d.data[d.off-1], nil
}

func (d *decoder) mismatch(want string, t typeRef) error {
	return fmt.Errorf("candid: expected %s, found %s", want, d.typeName(t))
}

// def returns the definition of t if it is of the given constructor.
func (d *decoder) def(t typeRef, op int8) (*typeDef, bool) {
	if t < 0 || d.types[t].op != op {
		return nil, false
	}
	return &d.types[t], true
}

func (d *decoder) record(t typeRef) ([]typeField, error) {
	def, ok := d.def(t, opRecord)
	if !ok {
		return nil, d.mismatch("a record", t)
	}
	return def.fields, nil
}

// variant reads a tag and returns its hash and the type of its payload, which follows.
func (d *decoder) variant(t typeRef) (typeField, error) {
	def, ok := d.def(t, opVariant)
	if !ok {
		return typeField{}, d.mismatch("a variant", t)
	}
	i, err := d.uleb()
	if err != nil {
		return typeField{}, err
	}
	if i >= uint64(len(def.fields)) {
		return typeField{}, fmt.Errorf("candid: tag %d of a variant of %d", i, len(def.fields))
	}
	return def.fields[i], nil
}

// vec reads the length of a vector and returns the type of its elements, which follow.
func (d *decoder) vec(t typeRef) (elem typeRef, n uint64, err error) {
	def, ok := d.def(t, opVec)
	if !ok {
		return 0, 0, d.mismatch("a vec", t)
	}
	n, err = d.uleb()
	return def.elem, n, err
}

func (d *decoder) nat64(t typeRef) (uint64, error) {
	if t != opNat64 {
		return 0, d.mismatch("nat64", t)
	}
	b, err := d.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (d *decoder) bool(t typeRef) (bool, error) {
	if t != opBool {
		return false, d.mismatch("bool", t)
	}
	b, err := d.byte()
	if err == nil && b > 1 {
		err = errors.New("candid: bool is neither 0 nor 1")
	}
	return b == 1, err
}

func (d *decoder) textBytes() ([]byte, error) {
	n, err := d.uleb()
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err == nil && !utf8.Valid(b) {
		err = errors.New("candid: text is not UTF-8")
	}
	return b, err
}

func (d *decoder) text(t typeRef) (string, error) {
	if t != opText {
		return "", d.mismatch("text", t)
	}
	b, err := d.textBytes()
	return string(b), err
}

// blob reads a vec nat8. The result aliases the input.
func (d *decoder) blob(t typeRef) ([]byte, error) {
	elem, n, err := d.vec(t)
	switch {
	case err != nil:
		return nil, err
	case elem == opNat8:
		return d.take(n)
	case elem == opEmpty && n == 0: // vec empty is a subtype of every vec
		return nil, nil
	}
	return nil, d.mismatch("a blob", t)
}

func (d *decoder) principalBytes() ([]byte, error) {
	flag, err := d.byte()
	if err != nil {
		return nil, err
	}
	if flag != 1 {
		return nil, errors.New("candid: opaque reference in place of a principal")
	}
	n, err := d.uleb()
	if err != nil {
		return nil, err
	}
	if n > MaxPrincipalLength {
		return nil, errPrincipalLength
	}
	return d.take(n)
}

func (d *decoder) principal(t typeRef) (Principal, error) {
	if t != opPrincipal {
		return "", d.mismatch("principal", t)
	}
	b, err := d.principalBytes()
	return Principal(b), err
}

// skip steps over one value of type t.
func (d *decoder) skip(t typeRef) error { return d.skipDepth(t, maxDepth) }

// fixedSize is the size of a primitive type whose values all take the same space, or -1.
func fixedSize(t typeRef) int {
	switch t {
	case opNull, opReserved:
		return 0
	case opBool, opNat8, opInt8:
		return 1
	case opNat16, opInt16:
		return 2
	case opNat32, opInt32, opFloat32:
		return 4
	case opNat64, opInt64, opFloat64:
		return 8
	}
	return -1
}

func (d *decoder) skipDepth(t typeRef, depth int) error {
	if d.work--; d.work < 0 {
		return errWork
	}
	if depth == 0 {
		return errDepth
	}
	if t < 0 {
		return d.skipPrimitive(t)
	}
	def := &d.types[t]
	switch def.op {
	case opOpt:
		flag, err := d.byte()
		if err != nil {
			return err
		}
		if flag > 1 {
			return errOptFlag
		}
		if flag == 0 {
			return nil
		}
		return d.skipDepth(def.elem, depth-1)
	case opVec:
		return d.skipVec(def.elem, depth)
	case opRecord:
		for _, f := range def.fields {
			if err := d.skipDepth(f.typ, depth-1); err != nil {
				return err
			}
		}
		return nil
	case opVariant:
		f, err := d.variant(t)
		if err != nil {
			return err
		}
		return d.skipDepth(f.typ, depth-1)
	case opService:
		_, err := d.principalBytes()
		return err
	case opFunc:
		_, _, err := d.funcRef()
		return err
	default:
		return d.skipFuture()
	}
}

func (d *decoder) skipPrimitive(t typeRef) error {
	if size := fixedSize(t); size >= 0 {
		if t == opBool {
			_, err := d.bool(t)
			return err
		}
		_, err := d.take(uint64(size)) //nolint:gosec // 0 to 8
		return err
	}
	switch t {
	case opNat, opInt:
		n, err := lebLen(d.data[d.off:])
		d.off += n
		return err
	case opText:
		_, err := d.textBytes()
		return err
	case opPrincipal:
		_, err := d.principalBytes()
		return err
	}
	return errors.New("candid: a value of type empty")
}

func (d *decoder) skipVec(elem typeRef, depth int) error {
	n, err := d.uleb()
	if err != nil {
		return err
	}
	if size := fixedSize(elem); size >= 0 && elem != opBool {
		if size > 0 && n > d.left() {
			return errTruncated
		}
		_, err := d.take(n * uint64(size)) // no overflow: n is bounded where size is not 0
		return err
	}
	for range n {
		if err := d.skipDepth(elem, depth-1); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) funcRef() (service, method []byte, err error) {
	flag, err := d.byte()
	if err != nil {
		return nil, nil, err
	}
	if flag != 1 {
		return nil, nil, errors.New("candid: opaque reference in place of a func")
	}
	if service, err = d.principalBytes(); err != nil {
		return nil, nil, err
	}
	method, err = d.textBytes()
	return service, method, err
}

func (d *decoder) skipFuture() error {
	n, err := d.uleb()
	if err != nil {
		return err
	}
	refs, err := d.uleb()
	if err != nil {
		return err
	}
	if refs != 0 {
		return errors.New("candid: a future value with references")
	}
	_, err = d.take(n)
	return err
}
