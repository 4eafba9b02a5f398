package sdk

import (
	"strings"
	"testing"
	"time"
)

type testSettings struct {
	Token    Principal              `json:"token"`
	Minimum  uint32                 `json:"minimum"`
	Every    Duration               `json:"every"`
	Refuse   []Principal            `json:"refuse"`
	Strict   bool                   `json:"strict"`
	Ratio    float64                `json:"ratio"`
	Names    map[string]string      `json:"names"`
	Limits   struct{ Rate int }     `json:"limits"`
	Optional *struct{ Name string } `json:"optional"`
	Any      any                    `json:"any"`
	hidden   int
	embedded
}

type embedded struct {
	Inner string `json:"inner"`
}

func TestSettings(t *testing.T) {
	const token = "ryjl3-tyaaa-aaaaa-aaaba-cai"
	for _, tc := range []struct{ name, json, want string }{
		{"nothing", ``, ""},
		{"an empty table", `{}`, ""},
		{"everything", `{"token":"` + token + `","minimum":5,"every":"2s","refuse":["` + token + `"],"strict":true,"ratio":0.5,
			"names":{"a":"b"},"limits":{"Rate":3},"optional":{"Name":"x"},"any":[1,"2"],"inner":"i"}`, ""},
		{"unknown", `{"tokn":"x"}`, `unknown key "tokn"; known are: "any", "every", "inner", "limits", "minimum"`},
		{"other letters", `{"Token":"` + token + `"}`, `unknown key "Token"`},
		{"not exported", `{"hidden":1}`, `unknown key "hidden"`},
		{"unknown inside", `{"limits":{"rate":3}}`, `unknown key "limits.rate"; known are: "Rate"`},
		{"unknown behind a pointer", `{"optional":{"name":"x"}}`, `unknown key "optional.name"`},
		{"no principal", `{"token":"abc"}`, `"token": principal "abc"`},
		{"no principal in a list", `{"refuse":["` + token + `","abc"]}`, `"refuse[1]": principal "abc"`},
		{"no duration", `{"every":"2 s"}`, `"every": "2 s" is no duration such as`},
		{"a number for a duration", `{"every":2}`, `"every" must be`},
		{"a string for a number", `{"minimum":"5"}`, `"minimum" must be a positive integer of 32 bits, not string`},
		{"negative", `{"minimum":-5}`, `"minimum" must be a positive integer of 32 bits, not number -5`},
		{"too large", `{"minimum":5000000000}`, `"minimum" must be a positive integer of 32 bits`},
		{"a string for a bool", `{"strict":"yes"}`, `"strict" must be true or false, not string`},
		{"a string for a float", `{"ratio":"x"}`, `"ratio" must be a number, not string`},
		{"a table for an array", `{"refuse":{}}`, `"refuse" must be an array, not object`},
		{"an array for a table", `{"limits":[]}`, `"limits" must be a table, not array`},
		{"a number in a map", `{"names":{"a":1}}`, `"names.a" must be a string, not number`},
		{"no table", `[]`, `the table must be a table, not array`},
		{"no JSON", `{"a"`, `settings: the table: `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := testSettings{Every: Duration(time.Minute)}
			err := (&Route{settings: []byte(tc.json)}).Settings(&got)
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "settings: ")):
				t.Fatalf("err = %v, want %q", err, tc.want)
			case tc.name == "everything" && (got.Token.String() != token || got.Every != Duration(2*time.Second) || got.Inner != "i" || got.Limits.Rate != 3):
				t.Fatalf("settings = %+v", got)
			case tc.want == "" && tc.name != "everything" && got.Every.String() != "1m0s":
				t.Fatal("the default is gone")
			}
			_ = got.hidden
		})
	}
	for _, into := range []any{nil, testSettings{}} {
		if err := (&Route{}).Settings(into); err == nil || !strings.Contains(err.Error(), "a pointer is needed") {
			t.Fatalf("into %T: %v", into, err)
		}
	}
	var table map[string]any
	if err := (&Route{settings: []byte(`{"a":1}`)}).Settings(&table); err != nil || table["a"] != 1.0 {
		t.Fatalf("into a map: %v, %v", table, err)
	}
}
