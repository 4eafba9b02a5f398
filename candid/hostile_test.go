package candid

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// didl builds a message of raw parts: type table entries, argument types, values.
func didl(entries []string, args, values string) []byte {
	b := appendULEB([]byte("DIDL"), uint64(len(entries)))
	b = append(b, strings.Join(entries, "")...)
	return append(append(b, args...), values...)
}

func uvarint(n uint64) string { return string(appendULEB(nil, n)) }

// Names for opcodes in raw type tables.
const (
	oNull, oBool, oNat, oNat8, oNat64 = "\x7f", "\x7e", "\x7d", "\x7b", "\x78"
	oText, oReserved, oEmpty          = "\x71", "\x70", "\x6f"
	oOpt, oVec, oRecord, oVariant     = "\x6e", "\x6d", "\x6c", "\x6b"
	oPrincipal                        = "\x68"
)

// TestHostile feeds small messages that ask for much: time, memory or stack.
func TestHostile(t *testing.T) {
	huge := uvarint(1 << 40)
	var nested []string
	for i := range 2000 {
		nested = append(nested, oOpt+string(appendSLEB(nil, int64(i+1))))
	}
	nested = append(nested, oOpt+oNull)
	var wide []string
	for i := range 20 { // each record holds the next one twice
		wide = append(wide, oRecord+"\x02\x00"+uvarint(uint64(i+1))+"\x01"+uvarint(uint64(i+1)))
	}
	wide = append(wide, oNull[:0]+oRecord+"\x00")
	tests := map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":                   {nil, "DIDL"},
		"only the magic":            {[]byte("DIDL"), "ends inside"},
		"wrong magic":               {[]byte("DIDM\x00\x00"), "DIDL"},
		"a table of a lie":          {[]byte("DIDL\xff\x1f\x00"), "ends inside"},
		"a table too long":          {[]byte("DIDL" + huge), "at most 4096"},
		"arguments of a lie":        {didl(nil, uvarint(1000), ""), "ends inside"},
		"too many arguments":        {didl(nil, huge, ""), "at most 1024"},
		"vec null of 2^40":          {didl([]string{oVec + oNull}, "\x01\x00", huge), "more values than allowed"},
		"vec of empty records":      {didl([]string{oVec + "\x01", oRecord + "\x00"}, "\x01\x00", huge), "more values than allowed"},
		"vec of vec null":           {didl([]string{oVec + "\x01", oVec + oNull}, "\x01\x00", uvarint(200)+strings.Repeat(uvarint(1<<39), 200)), "more values than allowed"},
		"vec nat8 of a lie":         {didl([]string{oVec + oNat8}, "\x01\x00", huge), "ends inside"},
		"vec nat64 overflowing":     {didl([]string{oVec + oNat64}, "\x01\x00", uvarint(1<<61)), "more values than allowed"},
		"record of itself":          {didl([]string{oRecord + "\x01\x00\x00"}, "\x01\x00", ""), "too deep"},
		"opt of itself":             {didl([]string{oOpt + "\x00"}, "\x01\x00", strings.Repeat("\x01", 10_000)+"\x00"), "too deep"},
		"variant of itself":         {didl([]string{oVariant + "\x01\x00\x00"}, "\x01\x00", strings.Repeat("\x00", 10_000)), "too deep"},
		"types nested deeply":       {didl(nested, "\x01\x00", strings.Repeat("\x01", 2001)), "too deep"},
		"doubling records":          {didl(wide, "\x01\x00", ""), "more values than allowed"},
		"text of a lie":             {didl(nil, "\x01"+oText, huge), "ends inside"},
		"text not UTF-8":            {didl(nil, "\x01"+oText, "\x01\xff"), "not UTF-8"},
		"bool of 2":                 {didl(nil, "\x01"+oBool, "\x02"), "neither 0 nor 1"},
		"opt of 2":                  {didl([]string{oOpt + oNull}, "\x01\x00", "\x02"), "neither 0 nor 1"},
		"principal of 30 bytes":     {didl(nil, "\x01"+oPrincipal, "\x01\x1e"+strings.Repeat("x", 30)), "longer than 29"},
		"opaque principal":          {didl(nil, "\x01"+oPrincipal, "\x00"), "opaque"},
		"a value of empty":          {didl(nil, "\x01"+oEmpty, ""), "type empty"},
		"tag out of range":          {didl([]string{oVariant + "\x01\x00" + oNull}, "\x01\x00", "\x01"), "tag 1 of a variant of 1"},
		"an empty variant":          {didl([]string{oVariant + "\x00"}, "\x01\x00", "\x00"), "tag 0 of a variant of 0"},
		"nat of 5000 bytes":         {didl(nil, "\x01"+oNat, string(make80(5000))+"\x01"), "at most 4096"},
		"endless nat":               {didl(nil, "\x01"+oNat, string(make80(100))), "ends inside"},
		"fields out of order":       {didl([]string{oRecord + "\x02\x01" + oNull + "\x00" + oNull}, "\x01\x00", ""), "increasing order"},
		"a field twice":             {didl([]string{oRecord + "\x02\x01" + oNull + "\x01" + oNull}, "\x01\x00", ""), "increasing order"},
		"field id of 33 bits":       {didl([]string{oRecord + "\x01" + uvarint(1<<32) + oNull}, "\x01\x00", ""), "32 bits"},
		"type beyond the table":     {didl([]string{oOpt + "\x05"}, "\x01\x00", "\x00"), "neither primitive nor in the table"},
		"primitive as table entry":  {didl([]string{oNull}, "\x01\x00", ""), "opcode -1"},
		"constructor as a type":     {didl(nil, "\x01"+oVec, ""), "neither primitive nor in the table"},
		"trailing byte":             {didl(nil, "\x00", "x"), "after the last"},
		"future type of a lie":      {didl([]string{"\x60" + huge}, "\x01\x00", ""), "ends inside"},
		"future value with a lie":   {didl([]string{"\x60\x00"}, "\x01\x00", huge+"\x00"), "ends inside"},
		"future value's references": {didl([]string{"\x60\x00"}, "\x01\x00", "\x00\x01"), "references"},
		"service of a lie":          {didl([]string{"\x69" + huge}, "\x01\x00", ""), "ends inside"},
		"func of a lie":             {didl([]string{"\x6a" + huge}, "\x01\x00", ""), "ends inside"},
		"fields of a lie":           {didl([]string{oRecord + huge}, "\x01\x00", ""), "ends inside"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Decode(tt.raw, Limits{})
			errorContains(t, err, tt.want)
			// The direct decoders stop for reasons of their own.
			for _, err := range decodeAll(tt.raw) {
				if err == nil {
					t.Error("a decoder of the protocol accepted the message")
				}
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// decodeAll gives b to every direct decoder of Candid.
func decodeAll(b []byte) []error {
	_, _, open := DecodeOpenArgs(b)
	_, closing := DecodeCloseArgs(b)
	_, message := DecodeMessageArgs(b)
	_, get := DecodeGetMessagesArgs(b)
	_, _, result := DecodeResult(b)
	_, _, _, output := DecodeOutputMessages(b)
	_, service := DecodeServiceMessage(b)
	_, text := DecodeText(b)
	return []error{open, closing, message, get, result, output, service, text}
}

// TestHostileExtras puts the expensive values where decoders skip: into fields
// and arguments that nobody asked for.
func TestHostileExtras(t *testing.T) {
	nonce := oRecord + "\x02"
	field := func(typ string) string {
		// Field 0 comes first, the nonce after it.
		return nonce + "\x00" + typ + uvarint(hashNonce) + oNat64
	}
	eight := strings.Repeat("\x00", 8)
	for name, tt := range map[string]struct {
		raw  []byte
		want string // "": accepted
	}{
		"many nulls are free":    {didl([]string{field("\x01"), oVec + oNull}, "\x01\x00", uvarint(1<<62)+eight), ""},
		"many reserved are free": {didl([]string{field("\x01"), oVec + oReserved}, "\x01\x00", uvarint(1<<62)+eight), ""},
		"empty records are not":  {didl([]string{field("\x01"), oVec + "\x02", oRecord + "\x00"}, "\x01\x00", uvarint(1<<40)+eight), "too many values"},
		"record of itself":       {didl([]string{field("\x01"), oRecord + "\x01\x00\x01"}, "\x01\x00", eight), "too deep"},
		"nat of any size":        {didl([]string{field(oNat)}, "\x01\x00", string(make80(100_000))+"\x01"+eight), ""},
		"a future type":          {didl([]string{field("\x01"), "\x60\x03abc"}, "\x01\x00", "\x02\x00xy"+eight), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeGetMessagesArgs(tt.raw)
			if tt.want == "" {
				equal(t, err, nil)
			} else {
				errorContains(t, err, tt.want)
			}
		})
	}
}

func TestWrongTypes(t *testing.T) {
	client := "\x01\x01\x07"
	eight := strings.Repeat("\x00", 8)
	key := oRecord + "\x02" + uvarint(hashClientPrincipal) + oPrincipal + uvarint(hashClientNonce) + oNat64
	tests := map[string]struct {
		raw    []byte
		decode func([]byte) error
		want   string
	}{
		"nat for nat64": {
			didl([]string{oRecord + "\x01" + uvarint(hashNonce) + oNat}, "\x01\x00", "\x05"),
			func(b []byte) error { _, err := DecodeGetMessagesArgs(b); return err },
			"field nonce: candid: expected nat64, found nat",
		},
		"no record": {
			EncodeText("x"),
			func(b []byte) error { _, err := DecodeCloseArgs(b); return err },
			"ws_close arguments: candid: expected a record, found text",
		},
		"no argument": {
			EncodeEmpty(),
			func(b []byte) error { _, _, err := DecodeOpenArgs(b); return err },
			"0 arguments, more expected",
		},
		"nonce missing": {
			didl([]string{oRecord + "\x01" + uvarint(hashGatewayPrincipal) + oPrincipal}, "\x01\x00", client),
			func(b []byte) error { _, _, err := DecodeOpenArgs(b); return err },
			"field client_nonce is missing",
		},
		"key's nonce missing": {
			didl([]string{oRecord + "\x01" + uvarint(hashClientKey) + "\x01", oRecord + "\x01" + uvarint(hashClientPrincipal) + oPrincipal}, "\x01\x00", client),
			func(b []byte) error { _, err := DecodeCloseArgs(b); return err },
			"field client_nonce is missing",
		},
		"message lacks fields": {
			didl([]string{oRecord + "\x01" + uvarint(hashMsg) + "\x01", oRecord + "\x01" + uvarint(hashClientKey) + "\x02", key}, "\x01\x00", client+eight),
			func(b []byte) error { _, err := DecodeMessageArgs(b); return err },
			"field sequence_num is missing",
		},
		"neither Ok nor Err": {
			didl([]string{oVariant + "\x01" + uvarint(uint64(Hash("ok"))) + oNull}, "\x01\x00", "\x00"),
			func(b []byte) error { _, _, err := DecodeResult(b); return err },
			"is neither Ok nor Err",
		},
		"Err is not text": {
			didl([]string{oVariant + "\x01" + uvarint(hashErr) + oNat}, "\x01\x00", "\x00\x01"),
			func(b []byte) error { _, _, err := DecodeResult(b); return err },
			"expected text, found nat",
		},
		"batch without certificate": {
			didl([]string{oVariant + "\x01" + uvarint(hashOk) + "\x01", oRecord + "\x01" + uvarint(hashMessages) + "\x02", oVec + oEmpty}, "\x01\x00", "\x00\x00"),
			func(b []byte) error { _, _, _, err := DecodeOutputMessages(b); return err },
			"field cert is missing",
		},
		"batch of a lie": {
			didl([]string{oVariant + "\x01" + uvarint(hashOk) + "\x01", oRecord + "\x01" + uvarint(hashMessages) + "\x02", oVec + "\x03", oRecord + "\x00"}, "\x01\x00", "\x00"+uvarint(1<<30)),
			func(b []byte) error { _, _, _, err := DecodeOutputMessages(b); return err },
			"ends inside",
		},
		"unknown service message": {
			didl([]string{oVariant + "\x01\x05" + oNull}, "\x01\x00", "\x00"),
			func(b []byte) error { _, err := DecodeServiceMessage(b); return err },
			"unknown tag _5_",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { errorContains(t, tt.decode(tt.raw), tt.want) })
	}
}

// TestEndOfQueue reads the optional flag of a batch in every form it may have.
func TestEndOfQueue(t *testing.T) {
	batch := func(flagType, flag string) []byte {
		return didl([]string{
			oVariant + "\x01" + uvarint(hashOk) + "\x01",
			oRecord + "\x04" + uvarint(hashMessages) + "\x02" + uvarint(hashCert) + "\x02" + uvarint(hashTree) + "\x02" +
				uvarint(hashIsEndOfQueue) + flagType,
			oVec + oEmpty,
			oOpt + oBool,
		}, "\x01\x00", "\x00\x00\x00\x00"+flag)
	}
	for name, tt := range map[string]struct {
		raw  []byte
		want bool
		err  string
	}{
		"true":           {batch(oBool, "\x01"), true, ""},
		"false":          {batch(oBool, "\x00"), false, ""},
		"null":           {batch(oNull, ""), true, ""},
		"reserved":       {batch(oReserved, ""), true, ""},
		"opt, absent":    {batch("\x03", "\x00"), true, ""},
		"opt, false":     {batch("\x03", "\x01\x00"), false, ""},
		"opt of 2":       {batch("\x03", "\x02\x00"), false, "opt is neither 0 nor 1"},
		"opt, truncated": {batch("\x03", ""), false, "ends inside"},
		"a text":         {batch(oText, "\x00"), false, "field is_end_of_queue: candid: expected bool, found text"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _, err := DecodeOutputMessages(tt.raw)
			if tt.err != "" {
				errorContains(t, err, tt.err)
				return
			}
			equal(t, err, nil)
			equal(t, m.EndOfQueue, tt.want)
		})
	}
}

func TestDecodeAliases(t *testing.T) {
	raw := EncodeOutputMessages(testBatch())
	m, _, _, err := DecodeOutputMessages(raw)
	equal(t, err, nil)
	at := bytes.Index(raw, testBlob(41))
	raw[at] ^= 0xff
	equal(t, m.Messages[1].Content[0], testBlob(41)[0]^0xff)
	equal(t, cap(m.Messages[1].Content), 41) // appending must not reach into the input
}

func TestLimits(t *testing.T) {
	b, err := NewBuilder().Add(VecOf(OptOf(NatType)), []any{1, 2, nil}).Bytes()
	equal(t, err, nil)
	_, err = Decode(b, Limits{Values: 6})
	equal(t, err, nil)
	_, err = Decode(b, Limits{Values: 5})
	errorContains(t, err, "more values than allowed")
	_, err = Decode(b, Limits{Depth: 3})
	equal(t, err, nil)
	_, err = Decode(b, Limits{Depth: 2})
	errorContains(t, err, "too deep")
}

// TestOutputIsBounded: what an answer may have of messages, and in their keys.
func TestOutputIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		messages, key int
		ok            bool
	}{
		"as many as are read":      {maxOutputMessages, 1, true},
		"one more":                 {maxOutputMessages + 1, 1, false},
		"a key as long as it gets": {1, maxKeyLength, true},
		"one longer":               {1, maxKeyLength + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			var batch OutputMessages
			for range test.messages {
				batch.Messages = append(batch.Messages, OutputMessage{Key: strings.Repeat("k", test.key)})
			}
			got, _, _, err := DecodeOutputMessages(EncodeOutputMessages(batch))
			if (err == nil) != test.ok || test.ok && len(got.Messages) != test.messages {
				t.Errorf("%d messages, %v", len(got.Messages), err)
			}
		})
	}
}

func TestPrintIsBounded(t *testing.T) {
	b, err := NewBuilder().Add(VecOf(TextType), []string{strings.Repeat("\x00", 1<<20), strings.Repeat("y", 1<<20)}).Bytes()
	equal(t, err, nil)
	values, err := Decode(b, Limits{})
	equal(t, err, nil)
	if n := len(values[0].String()); n > maxPrinted+3 {
		t.Errorf("%d bytes of text", n)
	}
}

func TestFutureTypes(t *testing.T) {
	values, err := Decode(didl([]string{"\x60\x02ab"}, "\x01\x00", "\x03\x00xyz"), Limits{})
	equal(t, err, nil)
	equal(t, values[0].Kind(), KindFuture)
}

func TestFloat32(t *testing.T) {
	b := didl(nil, "\x01\x73", string(binary.LittleEndian.AppendUint32(nil, 0x3fc00000)))
	values, err := Decode(b, Limits{})
	equal(t, err, nil)
	f, _ := values[0].Float()
	equal(t, f, 1.5)
}
