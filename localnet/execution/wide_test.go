package execution

import (
	"regexp"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/localnet/wasm"
)

// forWidth gives a text for package wasmtest the width that the test runs with.
func forWidth(text string) string {
	if moduleSuffix == "64" {
		return widen(text)
	}
	return text
}

// farAddress is the text of the address -1.
func farAddress() string {
	if moduleSuffix == "64" {
		return "18446744073709551615"
	}
	return "4294967295"
}

var (
	narrowLoads  = regexp.MustCompile(`\bi32\.(load(?:8|16)_[su]|store(?:8|16))`)
	narrowLoad   = regexp.MustCompile(`\bi32\.load\b`)
	narrowStore  = regexp.MustCompile(`\bi32\.store\b`)
	importedName = regexp.MustCompile(`^\s*import ic0 (\w+)`)
	calledName   = regexp.MustCompile(`^\s*call \$(\w+)`)
)

// widen makes a text that works with i32 one that works with i64 and a 64-bit
// memory: the same program, as long as what it compares it compares for branches.
func widen(text string) string {
	api := map[string]systemFunction{}
	for _, f := range systemAPI() {
		api[f.name] = f
	}
	names := func(letters string) string {
		var out []string
		for _, t := range valueTypes(letters, wasm.I64) {
			out = append(out, t.String())
		}
		return "(" + strings.Join(out, " ") + ")"
	}
	const wrap = "i32.wrap_i64" // stays
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if m := importedName.FindStringSubmatch(line); m != nil {
			f := api[m[1]]
			out = append(out, "import ic0 "+f.name+" "+names(f.params)+" "+names(f.results))
			continue
		}
		if strings.TrimSpace(line) == wrap {
			out = append(out, wrap)
			continue
		}
		m := calledName.FindStringSubmatch(line)
		if m != nil && strings.HasSuffix(api[m[1]].params, "i") && out[len(out)-1] != wrap {
			out = append(out, wrap)
		}
		line = narrowLoads.ReplaceAllString(line, "i64.$1")
		line = narrowLoad.ReplaceAllString(line, "i64.load32_u")
		line = narrowStore.ReplaceAllString(line, "i64.store32")
		line = strings.ReplaceAll(line, "i32", "i64")
		line = strings.Replace(line, "memory ", "memory64 ", 1)
		out = append(out, line)
		if m != nil && api[m[1]].results == "i" {
			out = append(out, "i64.extend_i32_u")
		}
	}
	return strings.Join(out, "\n")
}

func TestWiden(t *testing.T) {
	got := widen("import ic0 call_perform () (i32)\nimport ic0 trap (i32 i32) ()\nmemory 1\nfunc $f (i32) ()\ni32.load8_u\ni32.load\ncall $call_perform\nend")
	want := "import ic0 call_perform () (i32)\nimport ic0 trap (i64 i64) ()\nmemory64 1\nfunc $f (i64) ()\ni64.load8_u\ni64.load32_u\ncall $call_perform\ni64.extend_i32_u\nend"
	if got != want {
		t.Errorf("%s\nexpected\n%s", got, want)
	}
}
