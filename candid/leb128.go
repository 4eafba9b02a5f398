package candid

import (
	"errors"
	"math/big"
)

var (
	errTruncated = errors.New("candid: input ends inside a value")
	errOverflow  = errors.New("candid: number exceeds 64 bits")
)

func appendULEB(dst []byte, n uint64) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

func appendSLEB(dst []byte, n int64) []byte {
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if (n == 0 && b&0x40 == 0) || (n == -1 && b&0x40 != 0) {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}

// uleb reads an unsigned LEB128 number from the front of b and the number of
// bytes it took. Padding with zero groups is allowed, as by other decoders.
func uleb(b []byte) (n uint64, size int, err error) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1, nil
	}
	var shift uint
	for i, c := range b {
		group := uint64(c & 0x7f)
		if shift >= 64 || (shift == 63 && group > 1) {
			if group != 0 {
				return 0, 0, errOverflow
			}
		} else {
			n |= group << shift
		}
		if c < 0x80 {
			return n, i + 1, nil
		}
		shift += 7
	}
	return 0, 0, errTruncated
}

// sleb reads a signed LEB128 number of at most 64 bits.
func sleb(b []byte) (n int64, size int, err error) {
	var shift uint
	for i, c := range b {
		group := int64(c & 0x7f)
		switch {
		case shift < 63:
			n |= group << shift
		case shift == 63 && (group == 0 || group == 0x7f):
			n |= group << 63
		case shift > 63 && ((n >= 0 && group == 0) || (n < 0 && group == 0x7f)):
		default:
			return 0, 0, errOverflow
		}
		if c < 0x80 {
			if shift < 57 && c&0x40 != 0 {
				n |= -1 << (shift + 7)
			}
			return n, i + 1, nil
		}
		shift += 7
	}
	return 0, 0, errTruncated
}

// lebLen is the number of bytes of the LEB128 number at the front of b.
func lebLen(b []byte) (int, error) {
	for i, c := range b {
		if c < 0x80 {
			return i + 1, nil
		}
	}
	return 0, errTruncated
}

// bigLEB turns the bytes of one LEB128 number into a big integer, in linear time.
func bigLEB(b []byte, signed bool) *big.Int {
	// Pack the 7-bit groups from the least significant end into big-endian bytes.
	out := make([]byte, (len(b)*7+7)/8)
	pos, acc, bits := len(out), uint(0), uint(0)
	for _, c := range b {
		acc |= uint(c&0x7f) << bits
		bits += 7
		if bits >= 8 {
			pos--
			out[pos] = byte(acc & 0xff)
			acc >>= 8
			bits -= 8
		}
	}
	if bits > 0 {
		pos--
		out[pos] = byte(acc & 0xff)
	}
	n := new(big.Int).SetBytes(out[pos:])
	if signed && b[len(b)-1]&0x40 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*7))
	}
	return n
}

// appendBigLEB appends n as signed or unsigned LEB128.
func appendBigLEB(dst []byte, n *big.Int, signed bool) []byte {
	rest, group, mask := new(big.Int).Set(n), new(big.Int), big.NewInt(0x7f)
	minusOne := big.NewInt(-1)
	for {
		b := byte(group.And(rest, mask).Uint64()) //nolint:gosec // 7 bits; And works on two's complement
		rest.Rsh(rest, 7)
		done := rest.Sign() == 0
		if signed {
			done = (done && b&0x40 == 0) || (rest.Cmp(minusOne) == 0 && b&0x40 != 0)
		}
		if done {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}
