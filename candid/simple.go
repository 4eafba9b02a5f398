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
		n, err = d.nat(t)
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
