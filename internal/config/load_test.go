package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a folder with a configuration and a Wasm file beside it.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"config.toml": text, "a.wasm": "\x00asm"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.toml")
}

const good = `
[gateway]
listen = "127.0.0.1:0"
[gateway.limits]
idle_timeout = "2m"
[network]
url = "embedded"
listen = "127.0.0.1:0"
[[network.canister]]
name = "guestbook"
wasm = "a.wasm"
[[network.canister]]
name = "relay"
wasm = "builtin:relay"
[[route]]
canister = "relay"
adapter = "relay"
  [[route.relay.call]]
  target = "guestbook"
  method = "post"
  [[route.relay.feed]]
  target = "guestbook"
  method = "since"
`

// replaced is the good configuration with one part of it changed.
func replaced(t *testing.T, old, new string) string {
	t.Helper()
	if !strings.Contains(good, old) {
		t.Fatalf("%q is not in the good configuration", old)
	}
	return strings.Replace(good, old, new, 1)
}

func TestLoad(t *testing.T) {
	path := write(t, good)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Network.Canisters[0].Wasm, filepath.Join(filepath.Dir(path), "a.wasm"); got != want {
		t.Errorf("wasm = %q, want %q: relative paths start at the file's folder", got, want)
	}
	if got := time.Duration(c.Gateway.Limits.IdleTimeout); got != 2*time.Minute {
		t.Errorf("idle_timeout = %s", got)
	}
	if c.Gateway.Log.Level != "info" {
		t.Errorf("log level = %q, want the default", c.Gateway.Log.Level)
	}
	if len(c.Routes) != 1 || c.Routes[0].Relay.Feeds[0].Method != "since" {
		t.Errorf("routes = %+v", c.Routes)
	}
}

func TestDefaultConfigurationOfTheProject(t *testing.T) {
	if _, err := Load("../../config.toml"); err != nil {
		t.Fatal(err)
	}
}

// Every problem of a file is reported, with line and key.
func TestProblems(t *testing.T) {
	replace := func(old, new string) string { return replaced(t, old, new) }
	tests := []struct {
		name, text string
		want       []string // parts of "line: key: text", one each and no more
	}{
		{"not TOML", "a = = 1\n", []string{":1: "}},
		{"empty", "", []string{"route: there is none"}},
		{"unknown keys", replace(`adapter = "relay"`, "adapter = \"relay\"\nadaptor = 1") + "method2 = 2\n[gatway]\nlisten = 1\n",
			[]string{":18: route[0].adaptor: unknown key", ":25: route[0].relay.feed[0].method2: unknown key", ":26: gatway: unknown key"}},
		{"wrong types", replace(`idle_timeout = "2m"`, "idle_timeout = 7\nmax_connections = \"many\""),
			[]string{":5: gateway.limits.idle_timeout: ", ":6: gateway.limits.max_connections: "}},
		{"bad duration", replace(`"2m"`, `"2 parsecs"`), []string{":5: gateway.limits.idle_timeout: "}},
		{"negative", replace(`"2m"`, `"-2m"`), []string{":5: gateway.limits.idle_timeout: -2m is negative"}},
		{"addresses", strings.ReplaceAll(good, `"127.0.0.1:0"`, `"nowhere"`),
			[]string{":3: gateway.listen: ", ":8: network.listen: "}},
		{"missing file", replace("a.wasm", "b.wasm"), []string{":11: network.canister[0].wasm: "}},
		{"unknown builtin", replace("builtin:relay", "builtin:rely"), []string{`:14: network.canister[1].wasm: there is no module "builtin:rely"`}},
		{"name twice", replace(`name = "relay"`, `name = "guestbook"`),
			[]string{`:13: network.canister[1].name: "guestbook" is the name`, `:16: route[0].canister: "relay" is neither`}},
		{"unknown adapter", replace(`adapter = "relay"`, `adapter = "telepathy"`),
			[]string{`:17: route[0].adapter: "telepathy" is not one of cdk, relay`, `:18: route[0].relay: is for`}},
		{"unknown target", replace(`target = "guestbook"`, `target = "gästebuch"`), []string{`:19: route[0].relay.call[0].target: `}},
		{"no method", replace(`method = "post"`, ``), []string{`:18: route[0].relay.call[0].method: `}},
		{"two calls", good + "[[route.relay.call]]\ntarget = \"guestbook\"\nmethod = \"other\"\n", []string{":24: route[0].relay.call[1].tag: missing: route[0].relay.call[0] has none either"}},
		{"route twice", good + "[[route]]\ncanister = \"relay\"\nadapter = \"cdk\"\n", []string{`:25: route[1].canister: "relay" has a route already`}},
		{"remote with canisters", strings.Replace(replace(`"embedded"`, `"http://127.0.0.1:8000"`), "listen = \"127.0.0.1:0\"\n[[network", "[[network", 1),
			[]string{":8: network.canister[0]: "}},
		{"remote without key", "[network]\nurl = \"http://example.com\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n", []string{":1: network.root_key: needed"}},
		{"bad key", "[network]\nurl = \"http://example.com\"\nroot_key = \"xyz\"\n[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n", []string{":3: network.root_key: "}},
		{"relay for any", "[[route]]\ncanister = \"*\"\nadapter = \"relay\"\n[[route.relay.call]]\ntarget = \"aaaaa-aa\"\nmethod = \"m\"\n", []string{`:2: route[0].canister: "*" cannot`}},
		{"idle below ping", replace(`idle_timeout = "2m"`, "idle_timeout = \"1s\"\nping_interval = \"2s\""), []string{":5: gateway.limits.idle_timeout: idle_timeout (1s) must be longer than ping_interval (2s)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

// wantProblems loads a bad file: want are parts of its problems, one each.
func wantProblems(t *testing.T, text string, want []string) {
	t.Helper()
	_, err := Load(write(t, text))
	var bad *Error
	if !errors.As(err, &bad) {
		t.Fatalf("err = %v, want an *Error", err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in:\n%s", part, err)
		}
	}
	if len(bad.Problems) != len(want) {
		t.Errorf("%d problems, want %d:\n%s", len(bad.Problems), len(want), err)
	}
}

func TestNoFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "config.toml"))
	if err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("err = %v, want the flag that names one", err)
	}
}

func TestLineIndex(t *testing.T) {
	const text = `a = 1
b = """
[c]
d = 2
"""
"e" = [
  "f = 3", # [
]
[g.h]
i = '''x''' # '''
[[j]]
k = { l = 1,
  m = 2 }
[j.n]
o = "\"="
[[j]]
[[j.p]]
q = 1
`
	want := map[string]int{"a": 1, "b": 2, "e": 6, "g.h": 9, "g.h.i": 10, "j[0]": 11, "j[0].k": 12, "j[0].n": 14, "j[0].n.o": 15, "j[1]": 16, "j[1].p[0]": 17, "j[1].p[0].q": 18}
	x := indexLines([]byte(text))
	for key, line := range want {
		if x.byKey[key] != line {
			t.Errorf("%s is on line %d, want %d", key, x.byKey[key], line)
		}
	}
	if len(x.byKey) != len(want) {
		t.Errorf("index = %v", x.byKey)
	}
	if got := x.line("j[0].k.l"); got != 12 {
		t.Errorf("a key of an inline table: line %d, want that of the table", got)
	}
}

// The configuration is the user's own, but a reader that panics explains nothing.
func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("[[a.b]]\n[a]\nb = 1\n'''")
	f.Add(withTLS("domains = [\"ws.example.org\"]\naccept_terms = true\nhttp_listen = \"127.0.0.1:80\""))
	f.Add("a = \"\\")
	f.Add(withAdapter("command = [\"sh\", \"a.sh\"]\nenv.A = \"b\"\nmemory = \"64MB\"\nsha256 = \"00\"", "settings = { a = [1, 2.5, 07:32:00, {}] }\nbase = \"relay\""))
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse("config.toml", []byte(text))
		var bad *Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
