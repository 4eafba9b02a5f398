package wasm

import "encoding/binary"

// dataSection walks over the data section, which is taken over as it is. The
// compiler behind the package makes room for as many segments, and as many bytes
// in each, as the section says it has, so what it says must be true.
func (p *parsed) dataSection(s *reader) {
	n := s.count()
	for i := uint32(0); i < n && s.err == nil; i++ {
		flags := s.u32()
		switch {
		case flags > 2:
			s.fail("malformed data segment")
			return
		case flags == 2:
			if s.u32() != 0 {
				s.fail("multiple memories")
			}
		}
		if flags != 1 {
			p.constExpr(s)
		}
		s.bytes(s.u32())
	}
	p.data = s.b
}

// appendTable appends a table's type. A table does not grow beyond maxTableSize:
// what the compiler behind the package would otherwise make room for is 32 GiB.
// That table.grow fails is something that modules have to expect.
func appendTable(b []byte, t ValueType, l limits, is64 bool) []byte {
	flags := byte(1)
	if is64 {
		flags |= 4
	}
	if !l.hasMax || l.max > maxTableSize {
		l.max = maxTableSize
	}
	b = append(b, byte(t), flags)
	b = binary.AppendUvarint(b, l.min)
	return binary.AppendUvarint(b, l.max)
}
