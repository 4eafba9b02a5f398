package candid

import (
	"errors"
	"fmt"
)

// A Page is one answer of a feed's query: vec T, or record { items : vec T; next : nat }.
type Page struct {
	Items   int
	Next    uint64 // where to ask next, if HasNext
	HasNext bool
}

var (
	hashItems = Hash("items")
	hashNext  = Hash("next")
)

// DecodePage reads the first argument, a Page with whatever items. All of b is
// checked; fields that nobody asked for are skipped.
func DecodePage(b []byte) (page Page, err error) {
	err = decodeFirst(b, func(d *decoder, t typeRef) error {
		if _, ok := d.def(t, opVec); ok {
			page.Items, err = d.countVec(t)
			return err
		}
		if _, ok := d.def(t, opRecord); !ok {
			return d.mismatch("a vec, or a record with items and next", t)
		}
		return d.pageRecord(t, &page)
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func (d *decoder) pageRecord(t typeRef, page *Page) error {
	fields, err := d.record(t)
	if err != nil {
		return err
	}
	hasItems := false
	for _, f := range fields {
		switch f.hash {
		case hashItems:
			hasItems = true
			page.Items, err = d.countVec(f.typ)
		case hashNext:
			page.HasNext = true
			page.Next, err = d.nat(f.typ)
		default:
			err = d.skip(f.typ)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", fieldLabel(f.hash), err)
		}
	}
	if !hasItems || !page.HasNext {
		return errors.New("candid: a record without the fields items and next")
	}
	return nil
}

// nat reads a nat of at most 64 bits, or one of a fixed size, as the relay canister does.
func (d *decoder) nat(t typeRef) (n uint64, err error) {
	switch t {
	case opNat:
		return d.uleb()
	case opNat8, opNat16, opNat32, opNat64:
	default:
		return 0, d.mismatch("nat", t)
	}
	b, err := d.take(uint64(fixedSize(t))) //nolint:gosec // these have one
	for i := range b {
		n |= uint64(b[i]) << (8 * i)
	}
	return n, err
}

// countVec steps over a vec and returns its length.
func (d *decoder) countVec(t typeRef) (int, error) {
	def, ok := d.def(t, opVec)
	if !ok {
		return 0, d.mismatch("a vec", t)
	}
	start := d.off
	n, err := d.uleb()
	if err != nil {
		return 0, err
	}
	// Elements that take no bytes are the only ones that could be more than the input.
	if n > uint64(workFixed+workPerByte*len(d.data)) {
		return 0, errWork
	}
	d.off = start
	return int(n), d.skipVec(def.elem, maxDepth) //nolint:gosec // bounded above
}
