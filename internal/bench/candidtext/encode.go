package candidtext

import (
	"math/big"
	"strconv"

	"github.com/icrelay/icrelay/candid"
)

// Encode encodes an argument tuple from its text form, as in `(5 : nat8, "Ada")`.
// Without brackets it is one argument.
func Encode(text string) (encoded []byte, err error) {
	defer rescue(&err)
	p := &parser{text: text}
	b := candid.NewBuilder()
	for _, n := range p.arguments() {
		t := n.own()
		b.Add(t.candid(), n.as(t))
	}
	return b.Bytes()
}

// as is a value of a type, as the builder takes it.
func (n *node) as(t *typ) any {
	if n.typ != nil && !t.takes(n.typ) {
		fail(n.at, "a value of the type %s is not of the type %s", n.typ, t)
	}
	switch t.name {
	case "reserved":
		return nil
	case "opt":
		return n.asOpt(t)
	case "vec":
		return n.asVec(t)
	case "record":
		return n.asRecord(t)
	case "variant":
		return n.asVariant(t)
	case "float32", "float64":
		return n.asFloat(t)
	}
	switch {
	case n.kind == kindNull && t.name == "null":
		return nil
	case n.kind == kindBool && t.name == "bool":
		return n.truth
	case n.kind == kindText && t.name == "text":
		return n.text
	case n.kind == kindPrincipal && t.name == "principal":
		return candid.Principal(n.text)
	case n.kind == kindInteger:
		n.checkRange(t)
		return n.integer
	}
	n.mismatch(t)
	return nil
}

func (n *node) mismatch(t *typ) { fail(n.at, "%s is not of the type %s", kindNames[n.kind], t) }

// asOpt is nil for null. That is all that the builder knows of an opt, so that the
// null in an opt of an opt cannot be told from no value at all.
func (n *node) asOpt(t *typ) any {
	switch n.kind {
	case kindNull:
		return nil
	case kindOpt:
		v := n.elems[0].as(t.elem)
		if v == nil {
			fail(n.at, "null inside an opt is not known here")
		}
		return v
	}
	n.mismatch(t)
	return nil
}

func (n *node) asVec(t *typ) any {
	switch {
	case n.kind == kindBlob && t.elem.name == "nat8":
		return []byte(n.text)
	case n.kind != kindVec:
		n.mismatch(t)
	}
	values := make([]any, len(n.elems))
	for i := range n.elems {
		values[i] = n.elems[i].as(t.elem)
	}
	return values
}

func (n *node) asRecord(t *typ) any {
	if n.kind != kindRecord {
		n.mismatch(t)
	}
	values := make(candid.Fields, len(n.elems))
	for i, label := range n.labels {
		of, ok := t.fields[label]
		if !ok {
			fail(n.elems[i].at, "the type has no such field")
		}
		values[name(label)] = n.elems[i].as(of)
	}
	for label, of := range t.fields {
		if _, ok := values[name(label)]; !ok && of.name != "opt" && of.name != "null" && of.name != "reserved" {
			fail(n.at, "a field of the type is missing: one of %s", of)
		}
	}
	return values
}

func (n *node) asVariant(t *typ) any {
	if n.kind != kindVariant {
		n.mismatch(t)
	}
	of, ok := t.fields[n.labels[0]]
	if !ok {
		fail(n.at, "the type has no such tag")
	}
	return candid.Tag{Label: name(n.labels[0]), Value: n.elems[0].as(of)}
}

// asFloat takes integers too: `5 : float64`.
func (n *node) asFloat(t *typ) any {
	if n.kind != kindFloat && n.kind != kindInteger {
		n.mismatch(t)
	}
	text, bits := n.text, 64
	if n.kind == kindInteger {
		text = n.integer.String()
	}
	if t.name == "float32" {
		bits = 32
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		fail(n.at, "%s does not fit %s", text, t)
	}
	if bits == 32 {
		return float32(f)
	}
	return f
}

// ranges are how many bits the integer types have, by name.
var ranges = map[string]struct {
	signed bool
	bits   uint // 0: as many as are needed
}{
	"nat": {}, "nat8": {false, 8}, "nat16": {false, 16}, "nat32": {false, 32}, "nat64": {false, 64},
	"int": {true, 0}, "int8": {true, 8}, "int16": {true, 16}, "int32": {true, 32}, "int64": {true, 64},
}

// checkRange fails unless the integer is one of the type.
func (n *node) checkRange(t *typ) {
	r, ok := ranges[t.name]
	if !ok {
		n.mismatch(t)
	}
	low, high := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), r.bits)
	if r.signed && r.bits > 0 {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	outside := r.bits > 0 && (n.integer.Cmp(low) < 0 || n.integer.Cmp(high) >= 0)
	if outside || !r.signed && n.integer.Sign() < 0 {
		fail(n.at, "%s does not fit %s", n.integer, t)
	}
}
