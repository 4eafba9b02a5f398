package wasm

// Opcodes that rewriting or counting treats specially.
const (
	opUnreachable        = 0x00
	opBlock              = 0x02
	opLoop               = 0x03
	opIf                 = 0x04
	opElse               = 0x05
	opEnd                = 0x0b
	opBr                 = 0x0c
	opBrIf               = 0x0d
	opBrTable            = 0x0e
	opCall               = 0x10
	opCallIndirect       = 0x11
	opReturnCall         = 0x12
	opReturnCallIndirect = 0x13
	opLocalGet           = 0x20
	opLocalSet           = 0x21
	opLocalTee           = 0x22
	opGlobalGet          = 0x23
	opGlobalSet          = 0x24
	opMemorySize         = 0x3f
	opMemoryGrow         = 0x40
	opI32Load            = 0x28
	opI32Store           = 0x36
	opI32Store8          = 0x3a
	opI64Store32         = 0x3e
	opI32Const           = 0x41
	opI64Const           = 0x42
	opI64LtS             = 0x53
	opI32GtU             = 0x4b
	opI32Eq              = 0x46
	opI32LtU             = 0x49
	opI32Add             = 0x6a
	opI32Sub             = 0x6b
	opI32Shl             = 0x74
	opI32WrapI64         = 0xa7
	opI64Eqz             = 0x50
	opI64GtU             = 0x56
	opI32Or              = 0x72
	opI64Or              = 0x84
	opI64Add             = 0x7c
	opI64Sub             = 0x7d
	opI64ShrU            = 0x88
	opI64ExtendI32U      = 0xad
	opReturn             = 0x0f
	opDrop               = 0x1a
	opSelect             = 0x1b
	opTableGet           = 0x25
	opTableSet           = 0x26
	opI64Shl             = 0x86
	opRefIsNull          = 0xd1
	opRefFunc            = 0xd2
	opPrefixFC           = 0xfc
	opPrefixFD           = 0xfd
	blockVoid            = 0x40

	// Of the prefix 0xfc.
	fcMemoryInit = 8
	fcDataDrop   = 9
	fcMemoryCopy = 10
	fcMemoryFill = 11
	fcTableInit  = 12
	fcElemDrop   = 13
	fcTableCopy  = 14
	fcTableGrow  = 15
	fcTableSize  = 16
	fcTableFill  = 17

	// Of the prefix 0xfd.
	fdStore     = 11
	fdStoreLane = 88
)

// instruction is one decoded instruction, as far as anybody looks at it.
type instruction struct {
	op    byte
	sub   uint32 // behind a prefix
	index uint32 // of the function that call, return_call and ref.func name
	// offset of a load or store.
	offset uint64
}

// instruction reads one instruction with its immediates (core specification,
// "Instructions" of the binary format). It checks lengths, not types: those the
// engine checks when it compiles the module.
func (r *reader) instruction() instruction {
	in := instruction{op: r.byte()}
	if r.err != nil {
		return in
	}
	switch op := in.op; {
	case op <= 0x01, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == 0x1b,
		op >= 0x45 && op <= 0xc4, op == opRefIsNull:
	case op == opBlock, op == opLoop, op == opIf:
		r.sleb(33)
	case op == opBr, op == opBrIf:
		r.u32()
	case op == opBrTable:
		n := r.count()
		for i := uint32(0); i <= n && r.err == nil; i++ {
			r.u32()
		}
	case op == opCall, op == opReturnCall, op == opRefFunc:
		in.index = r.u32()
	case op == opCallIndirect, op == opReturnCallIndirect:
		r.u32()
		r.u32()
	case op == 0x1c: // select with types
		r.valueTypes()
	case op >= opLocalGet && op <= opTableSet:
		r.u32()
	case op >= opI32Load && op <= opI64Store32:
		in.offset = r.memarg()
	case op == opMemorySize, op == opMemoryGrow:
		r.memoryIndex()
	case op == opI32Const:
		r.sleb(32)
	case op == opI64Const:
		r.sleb(64)
	case op == 0x43:
		r.bytes(4)
	case op == 0x44:
		r.bytes(8)
	case op == 0xd0: // ref.null
		r.byte()
	case op == opPrefixFC:
		in.sub = r.u32()
		r.prefixFC(in.sub)
	case op == opPrefixFD:
		in.sub = r.u32()
		r.prefixFD(in.sub)
	default:
		r.fail("instruction 0x%x is not supported", op)
	}
	return in
}

func (r *reader) memoryIndex() {
	if r.byte() != 0 {
		r.fail("multiple memories")
	}
}

func (r *reader) memarg() (offset uint64) {
	if align := r.u32(); align >= 32 {
		r.fail("malformed alignment")
	}
	if r.memory64 {
		return r.u64()
	}
	return uint64(r.u32())
}

func (r *reader) prefixFC(sub uint32) {
	switch {
	case sub <= 7:
	case sub == fcMemoryFill:
		r.memoryIndex()
	case sub == fcMemoryInit:
		r.u32()
		r.memoryIndex()
	case sub == fcMemoryCopy:
		r.memoryIndex()
		r.memoryIndex()
	case sub == fcTableInit, sub == fcTableCopy:
		r.u32()
		r.u32()
	case sub == fcDataDrop, sub == fcElemDrop, sub >= fcTableGrow && sub <= fcTableFill:
		r.u32()
	default:
		r.fail("instruction 0xfc 0x%x is not supported", sub)
	}
}

func (r *reader) prefixFD(sub uint32) {
	switch {
	case sub <= 11, sub == 92, sub == 93:
		r.memarg()
	case sub == 12, sub == 13:
		r.bytes(16)
	case sub >= 21 && sub <= 34:
		r.byte()
	case sub >= 84 && sub <= 91:
		r.memarg()
		r.byte()
	case sub <= 0xff:
	default:
		r.fail("instruction 0xfd 0x%x is not supported", sub)
	}
}
