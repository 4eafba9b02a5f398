package wasm

import (
	"fmt"
	"unicode/utf8"
)

// InvalidError says why a module was refused. The text is for the person who
// wrote or built the module.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

func invalid(format string, args ...any) error {
	return &InvalidError{Reason: fmt.Sprintf(format, args...)}
}

// reader reads the binary format. The first error sticks: every later read
// returns zero values and consumes nothing, so that a loop needs to look at err
// only once per turn. It never allocates more than it has bytes to read.
type reader struct {
	b    []byte
	off  int
	base int // offset of b in the module, for error texts
	// memory64: instructions address the memory with 64 bits.
	memory64 bool
	err      error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = invalid("%s (at offset 0x%x)", fmt.Sprintf(format, args...), r.base+r.off)
	}
}

func (r *reader) more() bool { return r.err == nil && r.off < len(r.b) }

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	if r.off >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	c := r.b[r.off]
	r.off++
	return c
}

// bytes returns the next n bytes without copying them.
func (r *reader) bytes(n uint32) []byte {
	if r.err != nil {
		return nil
	}
	if uint64(n) > uint64(len(r.b)-r.off) { // #nosec G115 -- off never passes the end
		r.fail("unexpected end")
		return nil
	}
	p := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return p
}

// u32 reads an unsigned LEB128 number of at most 32 bits (WebAssembly core
// specification, "Integers").
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 0xffffffff {
				r.fail("integer too large")
				return 0
			}
			return uint32(v)
		}
	}
	r.fail("integer representation too long")
	return 0
}

// u64 reads an unsigned LEB128 number of at most 64 bits.
func (r *reader) u64() uint64 {
	var v uint64
	for shift := 0; shift < 70; shift += 7 {
		c := r.byte()
		if shift == 63 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail("integer representation too long")
	return 0
}

// sleb reads a signed LEB128 number of at most the given bits.
func (r *reader) sleb(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		c := r.byte()
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if s := shift + 7; s < 64 {
				v = v << (64 - s) >> (64 - s)
			}
			if bits < 64 && (v < -(1<<(bits-1)) || v >= 1<<(bits-1)) {
				r.fail("integer too large")
				return 0
			}
			return v
		}
	}
	r.fail("integer representation too long")
	return 0
}

// count reads the length of a vector whose items take at least one byte each.
func (r *reader) count() uint32 {
	n := r.u32()
	if r.err == nil && uint64(n) > uint64(len(r.b)-r.off) { // #nosec G115 -- off never passes the end
		r.fail("vector of %d items is longer than its section", n)
		return 0
	}
	return n
}

func (r *reader) name() string {
	p := r.bytes(r.u32())
	if r.err == nil && !utf8.Valid(p) {
		r.fail("malformed UTF-8 encoding")
		return ""
	}
	return string(p)
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendName(b []byte, s string) []byte {
	b = appendU32(b, uint32(len(s))) // #nosec G115 -- names are far shorter than 4 GiB
	return append(b, s...)
}

// paddedLen is the length of the numbers that appendPadded writes.
const paddedLen = 5

// appendPadded appends zero as a signed LEB128 number of fixed length, to be
// replaced by setPadded once the value is known.
func appendPadded(b []byte) []byte { return append(b, 0x80, 0x80, 0x80, 0x80, 0x00) }

// setPadded stores v, which must be below 1<<34, in the five bytes at p.
func setPadded(p []byte, v uint64) {
	for i := 0; i < paddedLen-1; i++ {
		p[i] = byte(v) | 0x80
		v >>= 7
	}
	p[paddedLen-1] = byte(v) & 0x3f
}
