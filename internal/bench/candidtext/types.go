package candidtext

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/icrelay/icrelay/candid"
)

// A typ is a Candid type. candid's own cannot be looked into.
type typ struct {
	name string // of a primitive type, or opt, vec, record, variant
	elem *typ   // of an opt or a vec
	// of a record or a variant, by label
	fields map[uint32]*typ
}

var primitives = map[string]candid.Type{
	"null": candid.NullType, "bool": candid.BoolType, "text": candid.TextType, "principal": candid.PrincipalType,
	"reserved": candid.ReservedType, "empty": candid.EmptyType,
	"nat": candid.NatType, "nat8": candid.Nat8Type, "nat16": candid.Nat16Type, "nat32": candid.Nat32Type, "nat64": candid.Nat64Type,
	"int": candid.IntType, "int8": candid.Int8Type, "int16": candid.Int16Type, "int32": candid.Int32Type, "int64": candid.Int64Type,
	"float32": candid.Float32Type, "float64": candid.Float64Type,
}

func primitive(name string) *typ { return &typ{name: name} }

var blobType = &typ{name: "vec", elem: primitive("nat8")}

func (t *typ) String() string {
	switch t.name {
	case "opt", "vec":
		return t.name + " " + t.elem.String()
	case "record", "variant":
		return fmt.Sprintf("a %s of %d", t.name, len(t.fields))
	}
	return t.name
}

// labels are in the order of the encoding.
func (t *typ) labels() []uint32 { return slices.Sorted(maps.Keys(t.fields)) }

// candid is the type as the builder takes it. Labels are numbers there, since one
// in quotes may look like a number and is none.
func (t *typ) candid() candid.Type {
	switch t.name {
	case "opt":
		return candid.OptOf(t.elem.candid())
	case "vec":
		return candid.VecOf(t.elem.candid())
	case "record", "variant":
		fields := make([]candid.Field, 0, len(t.fields))
		for _, label := range t.labels() {
			fields = append(fields, candid.Field{Label: name(label), Type: t.fields[label].candid()})
		}
		if t.name == "record" {
			return candid.RecordOf(fields...)
		}
		return candid.VariantOf(fields...)
	}
	return primitives[t.name]
}

func name(label uint32) string { return strconv.FormatUint(uint64(label), 10) }

// datatype reads a type.
func (p *parser) datatype() *typ {
	defer p.deeper()()
	p.space()
	at := p.at
	word := p.word()
	switch word {
	case "blob":
		return blobType
	case "opt", "vec":
		return &typ{name: word, elem: p.datatype()}
	case "record", "variant":
		return p.fieldTypes(word)
	}
	if _, ok := primitives[word]; !ok {
		p.at = at
		fail(at, "a type is expected, not %s", p.found())
	}
	return primitive(word)
}

func (p *parser) fieldTypes(name string) *typ {
	t := &typ{name: name, fields: make(map[uint32]*typ)}
	next := uint32(0)
	p.braces(func() {
		p.space()
		at := p.at
		label, named := p.label(":")
		var of *typ
		switch {
		case named:
			of = p.datatype()
		case name == "record":
			label, of = next, p.datatype()
		default:
			if label, named = p.label(""); !named {
				fail(p.at, "a tag is expected, not %s", p.found())
			}
			of = primitive("null")
		}
		if _, twice := t.fields[label]; twice {
			fail(at, "the field is there twice, or another one has the same hash")
		}
		t.fields[label] = of
		next = label + 1
	})
	return t
}

// own is the type of a value: the one that is written, or the one that it implies.
func (n *node) own() *typ {
	if n.typ != nil {
		return n.typ
	}
	switch n.kind {
	case kindNull:
		return primitive("null")
	case kindBool:
		return primitive("bool")
	case kindInteger:
		if n.signed {
			return primitive("int")
		}
		return primitive("nat")
	case kindFloat:
		return primitive("float64")
	case kindText:
		return primitive("text")
	case kindPrincipal:
		return primitive("principal")
	case kindBlob:
		return blobType
	case kindOpt:
		return &typ{name: "opt", elem: n.elems[0].own()}
	case kindVec:
		elem := primitive("empty")
		for i := range n.elems {
			own := n.elems[i].own()
			common, ok := join(elem, own)
			if !ok {
				fail(n.elems[i].at, "%s among elements of the type %s", own, elem)
			}
			elem = common
		}
		return &typ{name: "vec", elem: elem}
	}
	t := &typ{name: "record", fields: make(map[uint32]*typ, len(n.labels))}
	if n.kind == kindVariant {
		t.name = "variant"
	}
	for i, label := range n.labels {
		t.fields[label] = n.elems[i].own()
	}
	return t
}

// takes reports whether a value that was written with the other type may stand for
// one of this type, with everything that is in it.
func (t *typ) takes(other *typ) bool {
	switch {
	case t.name == "reserved", other.name == "empty",
		t.name == "opt" && other.name == "null",
		t.name == "int" && other.name == "nat":
		return true
	case t.name != other.name:
		return false
	}
	switch t.name {
	case "opt", "vec":
		return t.elem.takes(other.elem)
	case "record", "variant":
		for label, of := range other.fields {
			if own, ok := t.fields[label]; !ok || !own.takes(of) {
				return false
			}
		}
	}
	return true
}

// join finds a type that the values of two types have.
func join(a, b *typ) (*typ, bool) {
	switch {
	case a.name == "empty":
		return b, true
	case b.name == "empty":
		return a, true
	case a.name == "null" && b.name == "opt":
		return b, true
	case a.name == "opt" && b.name == "null":
		return a, true
	case a.name == "nat" && b.name == "int":
		return b, true
	case a.name == "int" && b.name == "nat":
		return a, true
	case a.name != b.name:
		return nil, false
	}
	switch a.name {
	case "opt", "vec":
		elem, ok := join(a.elem, b.elem)
		return &typ{name: a.name, elem: elem}, ok
	case "record", "variant":
		return joinFields(a, b)
	}
	return a, true
}

// joinFields: records have the same fields, variants may have different tags.
func joinFields(a, b *typ) (*typ, bool) {
	fields := maps.Clone(a.fields)
	for label, of := range b.fields {
		own, ok := a.fields[label]
		if !ok {
			fields[label] = of
			continue
		}
		if fields[label], ok = join(own, of); !ok {
			return nil, false
		}
	}
	return &typ{name: a.name, fields: fields}, a.name == "variant" || len(fields) == len(a.fields) && len(fields) == len(b.fields)
}
