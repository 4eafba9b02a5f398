package canister_test

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/canister"
)

var builds = []struct {
	name string
	wasm []byte
}{
	{"wasm32", canister.Wasm32()},
	{"wasm64", canister.Wasm()},
}

// Both builds carry the same interface, and tools find in them what they look for.
func TestMetadata(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			sections := customSections(t, b.wasm)
			if got, want := words(sections["icp:public candid:service"]), serviceOf(t, words(canister.Interface())); got != want {
				t.Errorf("candid:service is\n%s\nrelay.did is\n%s", got, want)
			}
			if got := words(sections["icp:public candid:args"]); got != "(config:Config)" {
				t.Errorf("candid:args is %q", got)
			}
			for _, name := range []string{"icp:private motoko:stable-types", "icp:private motoko:compiler", "name"} {
				if sections[name] == "" {
					t.Errorf("no section %q", name)
				}
			}
			_, keeps := sections["icp:private enhanced-orthogonal-persistence"]
			if want := b.name == "wasm64"; keeps != want {
				t.Errorf("enhanced persistence: %v, expected %v", keeps, want)
			}
		})
	}
}

var comments = regexp.MustCompile(`(?m)//.*$`)

// words is Candid text without comments and white space.
func words(text string) string {
	return strings.Join(strings.Fields(comments.ReplaceAllString(text, "")), "")
}

// serviceOf turns the interface of an actor class, which has an argument for the
// installation and a name for the service, into that of its instances.
func serviceOf(t *testing.T, class string) string {
	t.Helper()
	before, rest, ok := strings.Cut(class, "typeRelay=service")
	body, rest, ok2 := strings.Cut(rest, "};")
	types, ok3 := strings.CutSuffix(rest, "service:(config:Config)->Relay")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("the interface has another form: %s", class)
	}
	return before + types + "service:" + body + "}"
}

// customSections reads a module's custom sections.
func customSections(t *testing.T, module []byte) map[string]string {
	t.Helper()
	rest, ok := bytes.CutPrefix(module, []byte("\x00asm\x01\x00\x00\x00"))
	if !ok {
		t.Fatal("no Wasm module")
	}
	take := func(b []byte) (taken, rest []byte) {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			t.Fatal("malformed module")
		}
		return b[n : n+int(size)], b[n+int(size):] // #nosec G115 -- at most len(b)
	}
	sections := map[string]string{}
	for len(rest) > 0 {
		id := rest[0]
		var content []byte
		content, rest = take(rest[1:])
		if id == 0 {
			name, text := take(content)
			sections[string(name)] = string(text)
		}
	}
	return sections
}
