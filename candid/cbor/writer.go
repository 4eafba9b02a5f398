package cbor

import "encoding/binary"

// AppendSelfDescribe appends the head of tag 55799.
func AppendSelfDescribe(dst []byte) []byte { return append(dst, selfDescribe...) }

// AppendHead appends the head of an item of the given major type in the shortest form.
func AppendHead(dst []byte, major int, n uint64) []byte {
	m := byte(major << 5) //nolint:gosec // major is one of the eight constants
	switch {
	case n < 24:
		return append(dst, m|byte(n))
	case n <= 0xff:
		return append(dst, m|24, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, m|25), uint16(n))
	case n <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(dst, m|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, m|27), n)
}

// AppendUint appends an unsigned integer.
func AppendUint(dst []byte, n uint64) []byte { return AppendHead(dst, MajorUint, n) }

// AppendBytes appends a byte string.
func AppendBytes[T ~[]byte | ~string](dst []byte, b T) []byte {
	return append(AppendHead(dst, MajorBytes, uint64(len(b))), b...)
}

// AppendText appends a text string. The caller vouches that it is UTF-8.
func AppendText(dst []byte, s string) []byte {
	return append(AppendHead(dst, MajorText, uint64(len(s))), s...)
}

// AppendArray appends the head of an array of n elements.
func AppendArray(dst []byte, n int) []byte { return AppendHead(dst, MajorArray, uint64(n)) } //nolint:gosec // n is a length

// AppendMap appends the head of a map of n pairs.
func AppendMap(dst []byte, n int) []byte { return AppendHead(dst, MajorMap, uint64(n)) } //nolint:gosec // n is a length

// AppendBool appends true or false.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0xf5)
	}
	return append(dst, 0xf4)
}

// HeadLen is the number of bytes that AppendHead writes for n.
func HeadLen(n int) int {
	switch {
	case n < 24:
		return 1
	case n <= 0xff:
		return 2
	case n <= 0xffff:
		return 3
	case n <= 0xffffffff:
		return 5
	}
	return 9
}
