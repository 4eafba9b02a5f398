package candidtext

import (
	"bytes"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// args encodes types and values in turn.
func args(t *testing.T, typesAndValues ...any) []byte {
	t.Helper()
	b := candid.NewBuilder()
	for i := 0; i < len(typesAndValues); i += 2 {
		b.Add(typesAndValues[i].(candid.Type), typesAndValues[i+1])
	}
	encoded, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestEncode(t *testing.T) {
	field := func(label string, of candid.Type) candid.Field { return candid.Field{Label: label, Type: of} }
	gateway := candid.Principal("\x01gateway\x02")
	for name, test := range map[string]struct {
		text string
		want []any
	}{
		"nothing":               {`()`, nil},
		"without brackets":      {`"Ada"`, []any{candid.TextType, "Ada"}},
		"two arguments":         {`("Ada", true)`, []any{candid.TextType, "Ada", candid.BoolType, true}},
		"a comma behind":        {`("Ada",)`, []any{candid.TextType, "Ada"}},
		"comments":              {"( // first\n /* second */ null)", []any{candid.NullType, nil}},
		"escapes":               {`"\n\r\t\\\"\'\u{e9}\u{1_F600}\c3\a9"`, []any{candid.TextType, "\n\r\t\\\"'é😀é"}},
		"other letters":         {`"é😀"`, []any{candid.TextType, "é😀"}},
		"a line break":          {"\"a\nb\"", []any{candid.TextType, "a\nb"}},
		"a blob":                {`blob "a\00\ff\u{e9}"`, []any{candid.BlobType, []byte("a\x00\xffé")}},
		"numbers":               {`(1, +1, -1, 1_000, 0xFf)`, []any{candid.NatType, 1, candid.IntType, 1, candid.IntType, -1, candid.NatType, 1000, candid.NatType, 255}},
		"natural numbers":       {`(255 : nat8, 65535 : nat16, 4294967295 : nat32, 18446744073709551615 : nat64, 0 : nat)`, []any{candid.Nat8Type, 255, candid.Nat16Type, 65535, candid.Nat32Type, uint32(1<<32 - 1), candid.Nat64Type, uint64(1<<64 - 1), candid.NatType, 0}},
		"the least integers":    {`(-128 : int8, -32768 : int16, -2147483648 : int32, -9223372036854775808 : int64)`, []any{candid.Int8Type, -128, candid.Int16Type, -1 << 15, candid.Int32Type, -1 << 31, candid.Int64Type, int64(-1 << 63)}},
		"the greatest integers": {`(127 : int8, 32767 : int16, 2147483647 : int32, 9223372036854775807 : int64, 5 : int)`, []any{candid.Int8Type, 127, candid.Int16Type, 1<<15 - 1, candid.Int32Type, 1<<31 - 1, candid.Int64Type, int64(1<<63 - 1), candid.IntType, 5}},
		"floats":                {`(1.5, -1e3, 1., 0x1.8, 2.5 : float32, 3 : float64)`, []any{candid.Float64Type, 1.5, candid.Float64Type, -1000.0, candid.Float64Type, 1.0, candid.Float64Type, 1.5, candid.Float32Type, float32(2.5), candid.Float64Type, 3.0}},
		"principals":            {`(principal "aaaaa-aa", principal "` + gateway.String() + `")`, []any{candid.PrincipalType, candid.ManagementCanister, candid.PrincipalType, gateway}},
		"opt":                   {`(opt 5, null : opt text, opt opt "a")`, []any{candid.OptOf(candid.NatType), 5, candid.OptOf(candid.TextType), nil, candid.OptOf(candid.OptOf(candid.TextType)), "a"}},
		"a type in brackets":    {`opt (5 : nat8)`, []any{candid.OptOf(candid.Nat8Type), 5}},
		"reserved":              {`5 : reserved`, []any{candid.ReservedType, nil}},
		"vec":                   {`vec { 1; 2; }`, []any{candid.VecOf(candid.NatType), []any{1, 2}}},
		"an empty vec":          {`vec {}`, []any{candid.VecOf(candid.EmptyType), []any{}}},
		"vec of int":            {`vec { 1; -2 }`, []any{candid.VecOf(candid.IntType), []any{1, -2}}},
		"vec of opt":            {`vec { null; opt "a" }`, []any{candid.VecOf(candid.OptOf(candid.TextType)), []any{nil, "a"}}},
		"vec of vec":            {`vec { vec {}; vec { "a" } }`, []any{candid.VecOf(candid.VecOf(candid.TextType)), []any{[]any{}, []any{"a"}}}},
		"vec of variants": {`vec { variant { A }; variant { B = 5 } }`, []any{candid.VecOf(candid.VariantOf(field("A", candid.NullType), field("B", candid.NatType))),
			[]any{candid.Tag{Label: "A"}, candid.Tag{Label: "B", Value: 5}}}},
		"vec of nat8 with a type": {`vec { 1; 255 } : vec nat8`, []any{candid.BlobType, []any{1, 255}}},
		"record": {`record { name = "Ada"; age = 36 : nat8 }`, []any{candid.RecordOf(field("name", candid.TextType), field("age", candid.Nat8Type)),
			candid.Fields{"name": "Ada", "age": 36}}},
		"a tuple":                  {`record { "Ada"; 36 }`, []any{candid.TupleOf(candid.TextType, candid.NatType), []any{"Ada", 36}}},
		"numbered fields":          {`record { 7 = "a"; "b"; 0 = "c" }`, []any{candid.RecordOf(field("7", candid.TextType), field("8", candid.TextType), field("0", candid.TextType)), candid.Fields{"7": "a", "8": "b", "0": "c"}}},
		"a name in quotes":         {`record { "a name" = 1; opt = 2 }`, []any{candid.RecordOf(field("a name", candid.NatType), field("opt", candid.NatType)), candid.Fields{"a name": 1, "opt": 2}}},
		"a number in quotes":       {`record { "0" = 1 }`, []any{candid.RecordOf(field("48", candid.NatType)), candid.Fields{"48": 1}}},
		"a variant without value":  {`variant { Leave }`, []any{candid.VariantOf(field("Leave", candid.NullType)), candid.Tag{Label: "Leave"}}},
		"a variant":                {`(variant { Say = "hi"; })`, []any{candid.VariantOf(field("Say", candid.TextType)), candid.Tag{Label: "Say", Value: "hi"}}},
		"a tag in quotes":          {`variant { "my tag" = 1 }`, []any{candid.VariantOf(field("my tag", candid.NatType)), candid.Tag{Label: "my tag", Value: 1}}},
		"one tag of a type's":      {`variant { A = 1 } : variant { A : nat8; B }`, []any{candid.VariantOf(field("A", candid.Nat8Type), field("B", candid.NullType)), candid.Tag{Label: "A", Value: 1}}},
		"a record with its type":   {`record { a = 1 } : record { a : nat64; b : opt text }`, []any{candid.RecordOf(field("a", candid.Nat64Type), field("b", candid.OptOf(candid.TextType))), candid.Fields{"a": 1}}},
		"a tuple with its type":    {`record { 1; "a" } : record { nat16; text }`, []any{candid.TupleOf(candid.Nat16Type, candid.TextType), []any{1, "a"}}},
		"a nat is an int":          {`vec { (1 : nat); -1 }`, []any{candid.VecOf(candid.IntType), []any{1, -1}}},
		"a value inside of others": {`record { caller = principal "aaaaa-aa"; text = "x" }`, []any{candid.RecordOf(field("caller", candid.PrincipalType), field("text", candid.TextType)), candid.Fields{"caller": candid.ManagementCanister, "text": "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Encode(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if want := args(t, test.want...); !bytes.Equal(got, want) {
				t.Errorf("got\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":                     {``, "position 1: a value is expected, not the end"},
		"no value":                    {`(Ada)`, `position 2: a value is expected, not "Ada"`},
		"no end":                      {`record { a = 1`, `position 15: "}" is expected, not the end`},
		"more":                        {`(1) 2`, `position 5: nothing more is expected, not "2"`},
		"a text without end":          {`"abc`, "position 1: a text without end"},
		"a comment without end":       {`/* abc`, "position 1: a comment without end"},
		"no escape":                   {`"\x"`, "position 2: no escape"},
		"a letter beyond the last":    {`"\u{110000}"`, "is not a character"},
		"half of a pair":              {`"\u{d800}"`, "is not a character"},
		"no UTF-8":                    {`"\ff"`, "position 1: the text is not UTF-8"},
		"too large for nat8":          {`300 : nat8`, "position 1: 300 does not fit nat8"},
		"too small for int8":          {`-129 : int8`, "-129 does not fit int8"},
		"a negative nat":              {`-1 : nat`, "-1 does not fit nat"},
		"a float as an integer":       {`1.5 : nat`, "position 1: a float is not of the type nat"},
		"a float too large":           {`1e400`, "too large"},
		"a float32 too large":         {`1e300 : float32`, "1e300 does not fit float32"},
		"a number":                    {`12x`, `"12x" is not a number`},
		"many digits":                 {strings.Repeat("1", 2000), "more than 1000 digits"},
		"a text as a number":          {`"5" : nat`, "a text is not of the type nat"},
		"null inside an opt":          {`opt null`, "null inside an opt"},
		"none inside an opt":          {`opt (null : opt nat)`, "null inside an opt"},
		"a mixed vec":                 {`vec { 1; "a" }`, "position 10: text among elements of the type nat"},
		"records of different fields": {`vec { record { a = 1 }; record { b = 1 } }`, "position 25: a record of 1 among"},
		"a field twice":               {`record { a = 1; a = 2 }`, "position 17: the field is there twice"},
		"a number twice":              {`record { 1 = 1; 0 = 1; 2 }`, "position 24: the field is there twice"},
		"a large number of a field":   {`record { 4294967296 = 1 }`, `"4294967296" is no number of a field`},
		"after the last number":       {`record { 4294967295 = 1; 2 }`, "no number is left"},
		"a missing field":             {`record {} : record { a : nat }`, "is missing"},
		"a field too many":            {`record { a = 1 } : record {}`, "no such field"},
		"an unknown tag":              {`variant { A } : variant { B }`, "no such tag"},
		"two tags":                    {`variant { A; B }`, `position 14: "}" is expected`},
		"no tag":                      {`variant {}`, "a tag is expected"},
		"two types":                   {`((5 : nat8) : nat16)`, "a value of the type nat8 is not of the type nat16"},
		"two types of what is in it":  {`((vec { 1 } : vec nat8) : vec nat16)`, "a value of the type vec nat8"},
		"no type":                     {`5 : number`, `position 5: a type is expected, not "number"`},
		"no principal":                {`principal "abc"`, "position 1: principal"},
		"a reference":                 {`func "aaaaa-aa".go`, "not known here"},
		"empty":                       {`5 : empty`, "not of the type empty"},
		"deep values":                 {strings.Repeat("opt ", 1000) + "1", "nested too deep"},
		"deep types":                  {"null : " + strings.Repeat("opt ", 1000) + "nat", "nested too deep"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Encode(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q and %v, want %q", got, err, test.want)
			}
		})
	}
}

// FuzzEncode: whatever the text, it is refused or is Candid that can be decoded.
func FuzzEncode(f *testing.F) {
	for _, text := range []string{
		`(record { caller = principal "aaaaa-aa"; text = "\u{e9}\n\ff" }, 300 : nat8)`,
		`(vec { variant { A }; variant { B = opt -5 } }, blob "\00", 0x1.8p3 /* float */)`,
		`record { 7 = null : opt record { nat; text }; "quoted" = 1_000 : nat64; (true) }`,
		`variant { A = 1 } : variant { A : nat8; B }`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := Encode(text)
		if err != nil {
			return
		}
		if _, err := candid.Decode(encoded, candid.Limits{}); err != nil {
			t.Errorf("%q became %q: %v", text, encoded, err)
		}
	})
}
