package candid

import "fmt"

// EncodeEmpty encodes the empty argument tuple.
func EncodeEmpty() []byte { return []byte("DIDL\x00\x00") }

// EncodeNat encodes (n) with n : nat.
func EncodeNat(n uint64) []byte { return appendULEB(build(natHeader, 10), n) }

// EncodeText encodes (s) with s : text. The caller vouches that s is UTF-8.
func EncodeText(s string) []byte { return appendBlob(build(textHeader, 10+len(s)), []byte(s)) }

// DecodeNat reads the first argument, a nat of at most 64 bits.
func DecodeNat(b []byte) (n uint64, err error) {
	err = decodeFirst(b, func(d *decoder, t typeRef) error {
		if t != opNat {
			return d.mismatch("nat", t)
		}
		n, err = d.uleb()
		return err
	})
	return n, err
}

// DecodeText reads the first argument, a text.
func DecodeText(b []byte) (s string, err error) {
	err = decodeFirst(b, func(d *decoder, t typeRef) error {
		s, err = d.text(t)
		return err
	})
	return s, err
}

// VecLen is the length of the vec that is the first argument, of whatever
// elements. All of b is checked.
func VecLen(b []byte) (n int, err error) {
	err = decodeFirst(b, func(d *decoder, t typeRef) error {
		def, ok := d.def(t, opVec)
		if !ok {
			return d.mismatch("a vec", t)
		}
		start := d.off
		count, err := d.uleb()
		if err != nil {
			return err
		}
		// Elements that take no bytes are the only ones that could be more than the input.
		if count > uint64(workFixed+workPerByte*len(b)) {
			return errWork
		}
		n = int(count) //nolint:gosec // bounded above
		d.off = start
		return d.skipVec(def.elem, maxDepth)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func decodeFirst(b []byte, value func(*decoder, typeRef) error) error {
	d, err := newDecoder(b)
	if err != nil {
		return err
	}
	t, err := d.arg()
	if err != nil {
		return fmt.Errorf("candid: a value was expected: %w", err)
	}
	if err := value(d, t); err != nil {
		return err
	}
	return d.end()
}
