package wasmtest

import "strings"

// The instructions without immediates, in the order of their codes from the one in front.
var plain = func() map[string]byte {
	m := map[string]byte{
		"unreachable": 0x00, "nop": 0x01, "else": 0x05, "end": 0x0b, "return": 0x0f, "drop": 0x1a, "select": 0x1b, "ref.is_null": 0xd1,
	}
	for from, names := range map[byte]string{
		0x45: "i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u " +
			"i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u",
		0x67: "i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr " +
			"i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr",
		0xa7: "i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u",
	} {
		for i, n := range strings.Fields(names) {
			m[n] = from + byte(i)
		}
	}
	return m
}()

var memory = func() map[string]byte {
	m := map[string]byte{}
	for i, n := range strings.Fields("i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u " +
		"i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u " +
		"i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32") {
		m[n] = 0x28 + byte(i)
	}
	return m
}()

var indexed = map[string]byte{
	"br": 0x0c, "br_if": 0x0d, "call": 0x10, "return_call": 0x12, "local.get": 0x20, "local.set": 0x21, "local.tee": 0x22,
	"global.get": 0x23, "global.set": 0x24, "table.get": 0x25, "table.set": 0x26, "ref.func": 0xd2,
}

// instruction appends one instruction. Memory instructions take an offset, 0 without one.
func (a *assembler) instruction(c []byte, w []string) []byte {
	if op, ok := plain[w[0]]; ok {
		return append(c, op)
	}
	if op, ok := memory[w[0]]; ok {
		offset := uint64(0)
		if len(w) > 1 {
			offset = unsigned(number(w[1]))
		}
		return u32(append(c, op, 0), offset)
	}
	if op, ok := indexed[w[0]]; ok {
		i, isGlobal := a.globals[w[1]]
		if !isGlobal {
			i = a.function(w[1])
		}
		return u32(append(c, op), i)
	}
	switch w[0] {
	case "block", "loop", "if":
		t := byte(0x40)
		if len(w) > 1 {
			t = valueTypes[w[1]]
		}
		return append(c, map[string]byte{"block": 2, "loop": 3, "if": 4}[w[0]], t)
	case "call_indirect":
		return append(u32(append(c, 0x11), a.typeIndex(w[1], w[2])), 0)
	case "i32.const":
		return s64(append(c, 0x41), narrow(number(w[1])))
	case "i64.const":
		return s64(append(c, 0x42), number(w[1]))
	case "memory.size":
		return append(c, 0x3f, 0)
	case "memory.grow":
		return append(c, 0x40, 0)
	case "memory.fill":
		return append(c, 0xfc, 11, 0)
	case "memory.copy":
		return append(c, 0xfc, 10, 0, 0)
	case "memory.init":
		return append(u32(append(c, 0xfc, 8), unsigned(number(w[1]))), 0)
	case "data.drop":
		return u32(append(c, 0xfc, 9), unsigned(number(w[1])))
	case "v128.const": // of one byte, and zeroes
		return append(append(c, 0xfd, 12, byte(number(w[1]))), make([]byte, 15)...) // #nosec G115 -- meant
	case "v128.store":
		return append(c, 0xfd, 11, 0, 0)
	case "ref.null":
		return append(c, 0xd0, valueTypes[w[1]])
	}
	panic("unknown instruction " + w[0])
}
