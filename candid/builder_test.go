package candid

import (
	"encoding/binary"
	"math/big"
	"strings"
	"testing"
)

func errorContains(tb testing.TB, err error, part string) {
	tb.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		tb.Errorf("got error %v, want one with %q", err, part)
	}
}

var zooType = RecordOf(
	Field{"null", NullType}, Field{"bool", BoolType}, Field{"nat", NatType}, Field{"int", IntType},
	Field{"nat8", Nat8Type}, Field{"nat16", Nat16Type}, Field{"nat32", Nat32Type}, Field{"nat64", Nat64Type},
	Field{"int8", Int8Type}, Field{"int16", Int16Type}, Field{"int32", Int32Type}, Field{"int64", Int64Type},
	Field{"float32", Float32Type}, Field{"float64", Float64Type}, Field{"text", TextType},
	Field{"reserved", ReservedType}, Field{"principal", PrincipalType}, Field{"opt", OptOf(OptOf(Nat8Type))},
	Field{"vec", VecOf(Nat16Type)}, Field{"blob", BlobType}, Field{"tuple", TupleOf(TextType, BoolType)},
	Field{"variant", VariantOf(Field{"red", NullType}, Field{"green", IntType})},
)

// buildZoo encodes a value of every type that Builder has.
func buildZoo(tb testing.TB) []byte {
	tb.Helper()
	power := new(big.Int).Lsh(big.NewInt(1), 100)
	b, err := NewBuilder().Add(zooType, Fields{
		"bool": true, "nat": power, "int": new(big.Int).Neg(power),
		"nat8": 255, "nat16": uint16(65535), "nat32": uint32(4294967295), "nat64": uint64(1<<64 - 1),
		"int8": -128, "int16": int16(-32768), "int32": int32(-2147483648), "int64": int64(-1 << 63),
		"float32": float32(0.5), "float64": -1e300, "text": "t",
		"principal": mustPrincipal(tb, gatewayText), "opt": 3, "vec": []any{1, 2, 3}, "blob": []byte{1, 2, 3},
		"tuple": []any{"z", false}, "variant": Tag{"green", -3},
	}).Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestDecodeZoo(t *testing.T) {
	js := loadVectors(t).Candid
	references := unhex(t, js["zoo_with_references"])
	for name, raw := range map[string][]byte{"JavaScript's": unhex(t, js["zoo"]), "with references": references, "ours": buildZoo(t)} {
		t.Run(name, func(t *testing.T) {
			values, err := Decode(raw, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			checkZoo(t, values[0])
		})
	}
	values, err := Decode(references, Limits{})
	equal(t, err, nil)
	service, method, ok := values[0].Field("func").Func()
	equal(t, ok, true)
	equal(t, service, testClient)
	equal(t, method, "go")
	service, ok = values[0].Field("service").Principal()
	equal(t, ok, true)
	equal(t, service, testClient)
}

func checkZoo(t *testing.T, v Value) {
	t.Helper()
	equal(t, v.Kind(), KindRecord)
	power := new(big.Int).Lsh(big.NewInt(1), 100)
	number := func(label string, want *big.Int) {
		t.Helper()
		n, ok := v.Field(label).Big()
		if !ok || n.Cmp(want) != 0 {
			t.Errorf("%s: got %v", label, n)
		}
	}
	number("nat", power)
	number("int", new(big.Int).Neg(power))
	number("nat8", big.NewInt(255))
	number("nat16", big.NewInt(65535))
	number("nat32", big.NewInt(4294967295))
	number("nat64", new(big.Int).SetUint64(1<<64-1))
	number("int8", big.NewInt(-128))
	number("int16", big.NewInt(-32768))
	number("int32", big.NewInt(-2147483648))
	number("int64", big.NewInt(-1<<63))
	yes, ok := v.Field("bool").Bool()
	equal(t, yes && ok, true)
	equal(t, v.Field("null").Kind(), KindNull)
	equal(t, v.Field("reserved").Kind(), KindReserved)
	f, _ := v.Field("float32").Float()
	equal(t, f, 0.5)
	f, _ = v.Field("float64").Float()
	equal(t, f, -1e300)
	s, _ := v.Field("text").Text()
	equal(t, s, "t")
	p, _ := v.Field("principal").Principal()
	equal(t, p.String(), gatewayText)
	inner, _ := v.Field("opt").Opt()
	inner, held := inner.Opt()
	n, _ := inner.Uint64()
	equal(t, held, true)
	equal(t, n, 3)
	elems, _ := v.Field("vec").Vec()
	equal(t, len(elems), 3)
	blob, _ := v.Field("blob").Blob()
	equalBytes(t, blob, []byte{1, 2, 3})
	s, _ = v.Field("tuple").Field("0").Text()
	equal(t, s, "z")
	green, ok := v.Field("variant").Tag("green")
	equal(t, ok, true)
	i, _ := green.Int64()
	equal(t, i, -3)
	_, ok = v.Field("variant").Tag("red")
	equal(t, ok, false)
	_, ok = v.Field("nowhere").Field("deeper").Text()
	equal(t, ok, false)
}

func TestBuilderRefuses(t *testing.T) {
	person := RecordOf(Field{"name", TextType}, Field{"age", OptOf(NatType)})
	tests := map[string]struct {
		t    Type
		v    any
		want string
	}{
		"missing field":      {person, Fields{"age": 3}, "field name is missing"},
		"unknown field":      {person, Fields{"name": "a", "aeg": 3}, "has no field aeg"},
		"wrong type inside":  {person, Fields{"name": "a", "age": "3"}, "field age: a Go string cannot be nat"},
		"not a record":       {person, 7, "cannot be record { age : opt nat; name : text }"},
		"negative nat":       {NatType, -1, "not negative"},
		"too large":          {Nat8Type, 256, "256 does not fit nat8"},
		"too small":          {Int8Type, -129, "-129 does not fit int8"},
		"unknown tag":        {VariantOf(Field{"a", NullType}), "b", "has no tag b"},
		"payload missing":    {VariantOf(Field{"a", TextType}), "a", "tag a"},
		"not UTF-8":          {TextType, "\xff", "not UTF-8"},
		"long principal":     {PrincipalType, Principal(strings.Repeat("x", 30)), "longer than 29"},
		"value of empty":     {EmptyType, 1, "does not fit"},
		"bool for text":      {TextType, true, "a Go bool cannot be text"},
		"element":            {VecOf(TextType), []any{"a", 1}, "element 1"},
		"nil for a vec":      {VecOf(TextType), nil, "cannot be vec text"},
		"null with a value":  {NullType, 1, "cannot be null"},
		"untyped big number": {Nat64Type, new(big.Int).Lsh(big.NewInt(1), 64), "does not fit nat64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := NewBuilder().Add(TextType, "first").Add(tt.t, tt.v).Add(TextType, "last").Bytes()
			equal(t, len(b), 0)
			errorContains(t, err, "argument 2")
			errorContains(t, err, tt.want)
		})
	}
}

func TestBuilderSharesTypes(t *testing.T) {
	call := RecordOf(Field{"target", PrincipalType}, Field{"method", TextType})
	config := RecordOf(Field{"calls", VecOf(call)}, Field{"feeds", VecOf(call)}, Field{"admins", VecOf(PrincipalType)})
	b, err := NewBuilder().Add(config, Fields{
		"calls":  []Fields{{"target": testClient, "method": "post"}},
		"feeds":  []Fields{},
		"admins": []Principal{Anonymous},
	}).Bytes()
	equal(t, err, nil)
	equal(t, b[4], 4) // config, vec call, call, vec principal
	values, err := Decode(b, Limits{})
	equal(t, err, nil)
	calls, _ := values[0].Field("calls").Vec()
	equal(t, len(calls), 1)
	method, _ := calls[0].Field("method").Text()
	equal(t, method, "post")
	equal(t, values[0].String(),
		`record { _1092317717_ = vec { record { _156956385_ = "post"; _2263675729_ = principal "`+testClient.String()+`" } }; `+
			`_2769047812_ = vec { principal "2vxsx-fae" }; _4260279125_ = vec {} }`)
}

func TestNumbersRoundTrip(t *testing.T) {
	for _, bits := range []uint{0, 1, 6, 7, 8, 13, 14, 31, 32, 62, 63, 64, 65, 127, 128, 1000} {
		for _, delta := range []int64{-1, 0, 1} {
			n := new(big.Int).Lsh(big.NewInt(1), bits)
			n.Add(n, big.NewInt(delta))
			for _, v := range []*big.Int{n, new(big.Int).Neg(n)} {
				b, err := NewBuilder().Add(IntType, v).Bytes()
				equal(t, err, nil)
				values, err := Decode(b, Limits{})
				equal(t, err, nil)
				got, _ := values[0].Big()
				if got.Cmp(v) != 0 {
					t.Errorf("int %v came back as %v", v, got)
				}
			}
			b, err := NewBuilder().Add(NatType, n).Bytes()
			equal(t, err, nil)
			if want := appendULEB(b[:7:7], n.Uint64()); n.IsUint64() {
				equalBytes(t, b, want)
				got, err := DecodeNat(b)
				equal(t, err, nil)
				equal(t, got, n.Uint64())
			}
		}
	}
}

func TestLEB128(t *testing.T) {
	for name, tt := range map[string]struct {
		raw  []byte
		want uint64
		err  error
	}{
		"zero":            {[]byte{0}, 0, nil},
		"padded":          {[]byte{0x85, 0x80, 0x80, 0}, 5, nil},
		"padded far":      {append([]byte{0x85}, append(make80(20), 0)...), 5, nil},
		"largest":         {binary.AppendUvarint(nil, 1<<64-1), 1<<64 - 1, nil},
		"one bit more":    {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 0, errOverflow},
		"a group too far": {append(make80(10), 1), 0, errOverflow},
		"unfinished":      {[]byte{0x80}, 0, errTruncated},
		"nothing":         {nil, 0, errTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			n, size, err := uleb(tt.raw)
			equal(t, err, tt.err)
			equal(t, n, tt.want)
			if err == nil {
				equal(t, size, len(tt.raw))
			}
		})
	}
	for _, n := range []int64{0, 1, -1, 63, 64, -64, -65, 1 << 62, -1 << 62, 1<<63 - 1, -1 << 63} {
		b := appendSLEB(nil, n)
		got, size, err := sleb(b)
		equal(t, err, nil)
		equal(t, got, n)
		equal(t, size, len(b))
	}
	_, _, err := sleb([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	equal(t, err, errOverflow)
}

func make80(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0x80
	}
	return b
}

func TestWireHashes(t *testing.T) {
	for label, want := range map[string]uint32{
		"client_key": hashClientKey, "client_principal": hashClientPrincipal, "client_nonce": hashClientNonce,
		"gateway_principal": hashGatewayPrincipal, "msg": hashMsg, "sequence_num": hashSequenceNum,
		"timestamp": hashTimestamp, "is_service_message": hashIsServiceMessage, "content": hashContent,
		"nonce": hashNonce, "Ok": hashOk, "Err": hashErr, "messages": hashMessages, "cert": hashCert,
		"tree": hashTree, "is_end_of_queue": hashIsEndOfQueue, "key": hashKey,
		"last_incoming_sequence_num": hashLastIncoming, "reason": hashReason, "OpenMessage": hashOpenMessage,
		"AckMessage": hashAckMessage, "KeepAliveMessage": hashKeepAliveMessage, "CloseMessage": hashCloseMessage,
		"WrongSequenceNumber": hashWrongSequenceNumber, "InvalidServiceMessage": hashInvalidServiceMessage,
		"KeepAliveTimeout": hashKeepAliveTimeout, "ClosedByApplication": hashClosedByApplication,
	} {
		equal(t, Hash(label), want)
		equal(t, fieldLabel(want), label)
	}
}
