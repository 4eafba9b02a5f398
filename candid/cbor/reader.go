package cbor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Major types of RFC 8949, section 3.1.
const (
	MajorUint   = 0
	MajorNegInt = 1
	MajorBytes  = 2
	MajorText   = 3
	MajorArray  = 4
	MajorMap    = 5
	MajorTag    = 6
	MajorSimple = 7
)

// MaxDepth is how deep Skip and Raw follow nested items. Nothing that the
// Internet Computer sends outside hash trees, which have a decoder of their
// own, nests more than a handful of levels.
const MaxDepth = 64

// selfDescribe is the three-byte head of tag 55799 (RFC 8949, section 3.4.6).
const selfDescribe = "\xd9\xd9\xf7"

const indefinite = 31

var (
	// ErrTruncated reports that an item is longer than the input.
	ErrTruncated = errors.New("cbor: input ends inside an item")
	// ErrTrailing reports bytes after the item that should be the only one.
	ErrTrailing = errors.New("cbor: bytes after the end of the item")
	errDepth    = errors.New("cbor: items nested too deep")
	errBreak    = errors.New("cbor: unexpected break")
)

// Reader walks over CBOR items. The zero value reads an empty input.
// A Reader is a small value that can be copied to remember a position.
type Reader struct {
	data []byte
	off  int
}

// NewReader returns a reader at the start of data. It keeps data and never changes it.
func NewReader(data []byte) Reader { return Reader{data: data} }

// Offset is the number of bytes read.
func (r *Reader) Offset() int { return r.off }

// End returns an error unless the whole input has been read.
func (r *Reader) End() error {
	if r.off != len(r.data) {
		return ErrTrailing
	}
	return nil
}

// SkipSelfDescribe steps over the self-describe tag if it stands here.
// It reports whether it did.
func (r *Reader) SkipSelfDescribe() bool {
	if len(r.data)-r.off >= 3 && string(r.data[r.off:r.off+3]) == selfDescribe {
		r.off += 3
		return true
	}
	return false
}

// Major returns the major type of the next item without reading it.
func (r *Reader) Major() (int, error) {
	if r.off >= len(r.data) {
		return 0, ErrTruncated
	}
	return int(r.data[r.off] >> 5), nil
}

// head reads an item's head. For an indefinite length info is 31 and arg 0.
func (r *Reader) head() (major, info int, arg uint64, err error) {
	rest := r.data[r.off:]
	if len(rest) == 0 {
		return 0, 0, 0, ErrTruncated
	}
	major, info = int(rest[0]>>5), int(rest[0]&31)
	switch {
	case info < 24:
		r.off++
		return major, info, uint64(info), nil
	case info == 24:
		if len(rest) < 2 {
			return 0, 0, 0, ErrTruncated
		}
		r.off += 2
		return major, info, uint64(rest[1]), nil
	case info == 25:
		if len(rest) < 3 {
			return 0, 0, 0, ErrTruncated
		}
		r.off += 3
		return major, info, uint64(binary.BigEndian.Uint16(rest[1:])), nil
	case info == 26:
		if len(rest) < 5 {
			return 0, 0, 0, ErrTruncated
		}
		r.off += 5
		return major, info, uint64(binary.BigEndian.Uint32(rest[1:])), nil
	case info == 27:
		if len(rest) < 9 {
			return 0, 0, 0, ErrTruncated
		}
		r.off += 9
		return major, info, binary.BigEndian.Uint64(rest[1:]), nil
	case info == indefinite && major != MajorUint && major != MajorNegInt && major != MajorTag:
		r.off++
		return major, info, 0, nil
	}
	return 0, 0, 0, fmt.Errorf("cbor: reserved head 0x%02x", rest[0])
}

// left is the number of bytes that have not been read.
func (r *Reader) left() uint64 { return uint64(len(r.data) - r.off) } //nolint:gosec // off never passes the end

// take returns the next n bytes of the input without copying them.
func (r *Reader) take(n uint64) ([]byte, error) {
	if n > r.left() {
		return nil, ErrTruncated
	}
	end := r.off + int(n) //nolint:gosec // n is at most the length of the input
	b := r.data[r.off:end:end]
	r.off = end
	return b, nil
}

func unexpected(want string, major, info int) error {
	return fmt.Errorf("cbor: expected %s, found %s", want, describe(major, info))
}

func describe(major, info int) string {
	switch major {
	case MajorUint:
		return "an unsigned integer"
	case MajorNegInt:
		return "a negative integer"
	case MajorBytes:
		return "a byte string"
	case MajorText:
		return "a text string"
	case MajorArray:
		return "an array"
	case MajorMap:
		return "a map"
	case MajorTag:
		return "a tag"
	}
	switch info {
	case 20, 21:
		return "a boolean"
	case 22:
		return "null"
	case 23:
		return "undefined"
	case 25, 26, 27:
		return "a float"
	case indefinite:
		return "a break"
	}
	return "a simple value"
}

// Uint reads an unsigned integer. Both a plain integer and a bignum (tag 2) of
// at most 64 significant bits are accepted, since JavaScript agents always
// send bignums (interface specification, "CBOR encoding of requests").
func (r *Reader) Uint() (uint64, error) {
	major, info, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	switch {
	case major == MajorUint:
		return arg, nil
	case major == MajorTag && arg == 2:
		b, err := r.Bytes()
		if err != nil {
			return 0, err
		}
		var n uint64
		for _, c := range b {
			if n>>56 != 0 {
				return 0, errors.New("cbor: integer exceeds 64 bits")
			}
			n = n<<8 | uint64(c)
		}
		return n, nil
	}
	return 0, unexpected("an unsigned integer", major, info)
}

// Int reads an integer of either sign that fits 64 bits.
func (r *Reader) Int() (int64, error) {
	major, info, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	if major != MajorUint && major != MajorNegInt {
		return 0, unexpected("an integer", major, info)
	}
	if arg > math.MaxInt64 {
		return 0, errors.New("cbor: integer exceeds 64 bits")
	}
	if major == MajorNegInt {
		return -1 - int64(arg), nil
	}
	return int64(arg), nil
}

// Bytes reads a byte string. The result aliases the input, except that the
// chunks of a string of indefinite length are joined in a new slice.
func (r *Reader) Bytes() ([]byte, error) { return r.str(MajorBytes, "a byte string", false) }

// BytesMax is Bytes with a limit on the length.
func (r *Reader) BytesMax(limit int) ([]byte, error) {
	b, err := r.Bytes()
	if err == nil && len(b) > limit {
		return nil, fmt.Errorf("cbor: byte string of %d bytes, at most %d allowed", len(b), limit)
	}
	return b, err
}

// Text reads a text string, which must be valid UTF-8.
func (r *Reader) Text() (string, error) {
	b, err := r.TextBytes()
	return string(b), err
}

// TextBytes is Text without the copy.
func (r *Reader) TextBytes() ([]byte, error) {
	return r.str(MajorText, "a text string", true)
}

// str reads a string. Each chunk of a text is a text of its own (RFC 8949, section 3.2.3).
func (r *Reader) str(want int, name string, isUTF8 bool) ([]byte, error) {
	major, info, arg, err := r.head()
	if err != nil {
		return nil, err
	}
	if major != want {
		return nil, unexpected(name, major, info)
	}
	if info != indefinite {
		return r.chunk(arg, isUTF8)
	}
	var joined []byte
	for {
		major, info, arg, err = r.head()
		if err != nil {
			return nil, err
		}
		if major == MajorSimple && info == indefinite {
			return joined, nil
		}
		if major != want || info == indefinite {
			return nil, unexpected("a chunk of "+name, major, info)
		}
		chunk, err := r.chunk(arg, isUTF8)
		if err != nil {
			return nil, err
		}
		joined = append(joined, chunk...)
	}
}

func (r *Reader) chunk(n uint64, isUTF8 bool) ([]byte, error) {
	b, err := r.take(n)
	if err == nil && isUTF8 && !utf8.Valid(b) {
		return nil, errors.New("cbor: text string is not UTF-8")
	}
	return b, err
}

// Bool reads true or false.
func (r *Reader) Bool() (bool, error) {
	major, info, _, err := r.head()
	if err != nil {
		return false, err
	}
	if major == MajorSimple && (info == 20 || info == 21) {
		return info == 21, nil
	}
	return false, unexpected("a boolean", major, info)
}

// Null steps over null or undefined if one stands here and reports whether it did.
// Optional fields that a JavaScript peer left empty arrive in this form.
func (r *Reader) Null() bool {
	if r.off < len(r.data) && (r.data[r.off] == 0xf6 || r.data[r.off] == 0xf7) {
		r.off++
		return true
	}
	return false
}

// Container counts the elements of an array or map that is being read.
type Container struct {
	left       uint64
	indefinite bool
}

// Array reads the head of an array. Read its elements while Next says so.
func (r *Reader) Array() (Container, error) { return r.container(MajorArray, 1, "an array") }

// Map reads the head of a map. Read a key and a value while Next says so.
func (r *Reader) Map() (Container, error) { return r.container(MajorMap, 2, "a map") }

func (r *Reader) container(want int, itemsEach uint64, name string) (Container, error) {
	major, info, arg, err := r.head()
	if err != nil {
		return Container{}, err
	}
	if major != want {
		return Container{}, unexpected(name, major, info)
	}
	if info == indefinite {
		return Container{indefinite: true}, nil
	}
	// Each item takes at least one byte: a longer count is a lie, and refusing it
	// here means that callers may size slices by Len.
	if arg > r.left()/itemsEach {
		return Container{}, ErrTruncated
	}
	return Container{left: arg}, nil
}

// Len is the number of elements that are left, 0 if the head did not say.
// It never exceeds the length of the input.
func (c *Container) Len() int { return int(c.left) } //nolint:gosec // bounded by the input's length

// Next reports whether another element (of a map: a pair) follows.
func (r *Reader) Next(c *Container) (bool, error) {
	if !c.indefinite {
		if c.left == 0 {
			return false, nil
		}
		c.left--
		return true, nil
	}
	if r.off >= len(r.data) {
		return false, ErrTruncated
	}
	if r.data[r.off] == 0xff {
		r.off++
		return false, nil
	}
	return true, nil
}

// Raw reads one item of any kind and returns its bytes as they stand in the input.
func (r *Reader) Raw() ([]byte, error) {
	start := r.off
	if err := r.Skip(); err != nil {
		return nil, err
	}
	return r.data[start:r.off:r.off], nil
}

// Skip reads one item of any kind. It checks that the item is well-formed.
func (r *Reader) Skip() error { return r.skip(MaxDepth) }

func (r *Reader) skip(depth int) error {
	if depth == 0 {
		return errDepth
	}
	major, info, arg, err := r.head()
	if err != nil {
		return err
	}
	switch major {
	case MajorUint, MajorNegInt:
		return nil
	case MajorBytes, MajorText:
		if info != indefinite {
			_, err = r.take(arg)
			return err
		}
		r.off--
		_, err = r.str(major, describe(major, 0), false)
		return err
	case MajorArray, MajorMap:
		return r.skipContainer(major, info, arg, depth)
	case MajorTag:
		return r.skip(depth - 1)
	}
	switch {
	case info == indefinite:
		return errBreak
	case info == 24 && arg < 32:
		return errors.New("cbor: simple value in an overlong form")
	}
	return nil
}

func (r *Reader) skipContainer(major, info int, arg uint64, depth int) error {
	each := uint64(1)
	if major == MajorMap {
		each = 2
	}
	c := Container{left: arg, indefinite: info == indefinite}
	if !c.indefinite && arg > r.left()/each {
		return ErrTruncated
	}
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return err
		}
		for range each {
			if err := r.skip(depth - 1); err != nil {
				return err
			}
		}
	}
}
