package candid

import (
	"errors"
	"fmt"
	"strconv"
)

// Opcodes of types (Candid specification, "Types").
const (
	opNull      = -1
	opBool      = -2
	opNat       = -3
	opInt       = -4
	opNat8      = -5
	opNat16     = -6
	opNat32     = -7
	opNat64     = -8
	opInt8      = -9
	opInt16     = -10
	opInt32     = -11
	opInt64     = -12
	opFloat32   = -13
	opFloat64   = -14
	opText      = -15
	opReserved  = -16
	opEmpty     = -17
	opOpt       = -18
	opVec       = -19
	opRecord    = -20
	opVariant   = -21
	opFunc      = -22
	opService   = -23
	opPrincipal = -24
	opFuture    = -25 // stands for every opcode below
)

// Bounds on what a type table may hold. A message's table describes its own
// types only; a few dozen entries are already a large interface.
const (
	maxTypes  = 4096
	maxFields = 32768
	maxArgs   = 1024
)

// typeRef is a primitive type's opcode (negative) or an index into the table.
type typeRef int32

type typeField struct {
	hash uint32
	typ  typeRef
}

type typeDef struct {
	op     int8
	elem   typeRef // opt, vec
	fields []typeField
}

var opNames = [...]string{
	"null", "bool", "nat", "int", "nat8", "nat16", "nat32", "nat64", "int8", "int16", "int32", "int64",
	"float32", "float64", "text", "reserved", "empty", "opt", "vec", "record", "variant", "func", "service",
	"principal", "a future type",
}

func opName(op int) string { return opNames[-op-1] }

func isPrimitive(op int64) bool { return (op <= opNull && op >= opEmpty) || op == opPrincipal }

// typeName names the outermost constructor of a type, for error texts.
func (d *decoder) typeName(t typeRef) string {
	if t < 0 {
		return opName(int(t))
	}
	def := &d.types[t]
	if (def.op == opVec || def.op == opOpt) && def.elem < 0 {
		return opName(int(def.op)) + " " + opName(int(def.elem))
	}
	return opName(int(def.op))
}

// header reads the magic, the type table and the argument types.
func (d *decoder) header() error {
	if len(d.data) < 4 || string(d.data[:4]) != "DIDL" {
		return errors.New("candid: does not start with DIDL")
	}
	d.off = 4
	n, err := d.uleb()
	if err != nil {
		return err
	}
	if n > maxTypes {
		return fmt.Errorf("candid: type table of %d entries, at most %d allowed", n, maxTypes)
	}
	if n > d.left() {
		return errTruncated
	}
	if n > uint64(cap(d.types)) {
		d.types = make([]typeDef, 0, n)
	}
	d.table = typeRef(n) //nolint:gosec // at most maxTypes
	for range n {
		def, err := d.typeDef()
		if err != nil {
			return err
		}
		d.types = append(d.types, def)
	}
	n, err = d.uleb()
	if err != nil {
		return err
	}
	if n > maxArgs {
		return fmt.Errorf("candid: %d arguments, at most %d allowed", n, maxArgs)
	}
	for range n {
		t, err := d.typeRef()
		if err != nil {
			return err
		}
		d.args = append(d.args, t)
	}
	return nil
}

func (d *decoder) typeRef() (typeRef, error) {
	op, size, err := sleb(d.data[d.off:])
	if err != nil {
		return 0, err
	}
	d.off += size
	if op >= 0 && op < int64(d.table) || isPrimitive(op) {
		return typeRef(op), nil //nolint:gosec // a primitive's opcode or less than maxTypes
	}
	return 0, fmt.Errorf("candid: type %d is neither primitive nor in the table", op)
}

func (d *decoder) typeDef() (typeDef, error) {
	op, size, err := sleb(d.data[d.off:])
	if err != nil {
		return typeDef{}, err
	}
	d.off += size
	switch op {
	case opOpt, opVec:
		elem, err := d.typeRef()
		return typeDef{op: int8(op), elem: elem}, err
	case opRecord, opVariant:
		fields, err := d.typeFields()
		return typeDef{op: int8(op), fields: fields}, err
	case opFunc:
		return typeDef{op: opFunc}, d.skipFuncType()
	case opService:
		return typeDef{op: opService}, d.skipServiceType()
	}
	if op <= opFuture {
		// A type of a later version of Candid carries its length, so that it can be skipped.
		n, err := d.uleb()
		if err != nil {
			return typeDef{}, err
		}
		_, err = d.take(n)
		return typeDef{op: opFuture}, err
	}
	return typeDef{}, fmt.Errorf("candid: type table entry with opcode %d", op)
}

func (d *decoder) typeFields() ([]typeField, error) {
	n, err := d.uleb()
	if err != nil {
		return nil, err
	}
	if n > d.left()/2 {
		return nil, errTruncated
	}
	if n > uint64(maxFields-d.fieldCount) { //nolint:gosec // never negative
		return nil, fmt.Errorf("candid: more than %d fields in the type table", maxFields)
	}
	d.fieldCount += int(n) //nolint:gosec // at most maxFields
	start := len(d.fields)
	if uint64(cap(d.fields)-start) < n { //nolint:gosec // never negative
		// A new block; definitions keep pointing into the older ones.
		d.fields, start = make([]typeField, 0, max(n, 64)), 0
	}
	previous := int64(-1)
	for range n {
		hash, err := d.uleb()
		if err != nil {
			return nil, err
		}
		if hash > 0xffffffff {
			return nil, errors.New("candid: field id exceeds 32 bits")
		}
		if int64(hash) <= previous {
			return nil, errors.New("candid: field ids are not in increasing order")
		}
		previous = int64(hash)
		t, err := d.typeRef()
		if err != nil {
			return nil, err
		}
		d.fields = append(d.fields, typeField{uint32(hash), t})
	}
	return d.fields[start:len(d.fields):len(d.fields)], nil
}

func (d *decoder) skipFuncType() error {
	for range 2 { // arguments, results
		n, err := d.uleb()
		if err != nil {
			return err
		}
		if n > d.left() {
			return errTruncated
		}
		for range n {
			if _, err := d.typeRef(); err != nil {
				return err
			}
		}
	}
	n, err := d.uleb() // annotations
	if err != nil {
		return err
	}
	_, err = d.take(n)
	return err
}

func (d *decoder) skipServiceType() error {
	n, err := d.uleb()
	if err != nil {
		return err
	}
	if n > d.left()/2 {
		return errTruncated
	}
	for range n {
		if _, err := d.textBytes(); err != nil {
			return err
		}
		if _, err := d.typeRef(); err != nil {
			return err
		}
	}
	return nil
}

func fieldLabel(hash uint32) string {
	if name, ok := knownLabels[hash]; ok {
		return name
	}
	return "_" + strconv.FormatUint(uint64(hash), 10) + "_"
}
