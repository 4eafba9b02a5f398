package wasm

// The Internet Computer counts instructions with weights, found by measuring. These
// are the weights for a 64-bit memory as its source has them (dfinity/ic,
// rs/embedders/src/wasm_utils/instrumentation.rs, instruction_to_cost), but that
// here every vector instruction that does not touch memory counts one.

// weight64 is what an instruction costs in a module with a 64-bit memory. Bulk
// memory instructions cost one more for each byte (writer.markCode).
func (in instruction) weight64() uint64 {
	switch in.op {
	case opPrefixFC:
		return weightFC(in.sub)
	case opPrefixFD:
		if in.sub <= fdStore || in.sub >= 84 && in.sub <= 93 {
			return 2
		}
		return 1
	}
	if w := weights64[in.op]; w != 0 {
		return uint64(w - 1)
	}
	return 1
}

func weightFC(sub uint32) uint64 {
	switch sub {
	case fcMemoryInit, fcMemoryCopy, fcMemoryFill, fcTableInit, fcTableCopy, fcTableFill, fcTableSize:
		return 100
	case fcDataDrop, fcElemDrop, fcTableGrow:
		return 300
	}
	return 20 // conversions of floats to integers that saturate
}

// weights64 has the weight and one for each opcode, and 0 where the weight is one.
var weights64 = func() (w [256]uint16) {
	set := func(weight uint16, from, to byte) {
		for op := int(from); op <= int(to); op++ {
			w[op] = weight + 1
		}
	}
	set(0, opBlock, opLoop)
	set(2, opIf, opIf)
	set(0, opElse, opElse)
	set(0, opEnd, opEnd)
	set(2, opBr, opBrTable)
	set(5, opCall, opCall)
	set(10, opCallIndirect, opCallIndirect)
	set(3, opReturnCall, opReturnCall)
	set(60, opReturnCallIndirect, opReturnCallIndirect)
	set(2, opGlobalGet, opGlobalSet)
	set(5, opTableGet, opTableSet)
	set(2, opI32Load, opI64Store32) // all loads and stores
	set(20, opMemorySize, opMemorySize)
	set(300, opMemoryGrow, opMemoryGrow)
	set(3, 0x5b, 0x66)  // comparisons of floats
	set(10, 0x6d, 0x70) // i32 division and remainder
	set(10, 0x7f, 0x82) // i64
	set(2, 0x8d, 0x90)  // f32: ceil, floor, trunc, nearest
	set(5, 0x91, 0x91)  // sqrt
	set(2, 0x92, 0x94)  // add, sub, mul
	set(3, 0x95, 0x95)  // div
	set(18, 0x96, 0x97) // min, max
	set(2, 0x98, 0x98)  // copysign
	set(2, 0x9b, 0x9e)  // f64 likewise
	set(8, 0x9f, 0x9f)
	set(2, 0xa0, 0xa2)
	set(5, 0xa3, 0xa3)
	set(18, 0xa4, 0xa5)
	set(3, 0xa6, 0xa6)
	set(20, 0xa8, 0xab) // i32.trunc
	set(20, 0xae, 0xb1) // i64.trunc
	for _, signed := range []byte{0xb2, 0xb4, 0xb7, 0xb9} {
		set(3, signed, signed) // convert
		set(16, signed+1, signed+1)
	}
	set(5, opRefIsNull, opRefIsNull)
	set(130, opRefFunc, opRefFunc)
	return w
}()

// endsBlock reports whether the code may go on elsewhere than behind the
// instruction, or come from elsewhere to behind it.
func (in instruction) endsBlock() bool {
	switch in.op {
	case opLoop, opIf, opElse, opEnd, opBr, opBrIf, opBrTable, opReturn, opUnreachable, opReturnCall, opReturnCallIndirect:
		return true
	}
	return false
}
