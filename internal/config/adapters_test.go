package config

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// program is a script in a folder of PATH, whose name alone finds it, and its
// absolute path.
func program(t *testing.T) (name, path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "icrelay-test-program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // it is to be executed
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return filepath.Base(path), path
}

// withAdapter is a configuration with one adapter, called gate, that a route uses.
func withAdapter(settings, route string) string {
	return "[[adapter]]\nname = \"gate\"\n" + settings + "\n" + "[[route]]\ncanister = \"*\"\nadapter = \"gate\"\n" + route
}

func TestAdapterProblems(t *testing.T) {
	name, path := program(t)
	command := fmt.Sprintf("command = [%q]\n", name)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const relayRoute = "[[route]]\ncanister = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\n"
	gate := "[[adapter]]\nname = \"gate\"\n" + command // 3 lines
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing but a name", withAdapter("", ""), []string{`:1: adapter[0].command: must be a program and its arguments, for example ["./my-adapter"]`}},
		{"no name", "[[adapter]]\n" + command + routeOfAny, []string{":1: adapter[0].name: every adapter needs a name"}},
		{"names", "[[adapter]]\nname = \"relay\"\n" + command + "[[adapter]]\nname = \"CDK\"\n" + command + "[[adapter]]\nname = \"ein Tor\"\n" + command + "[[adapter]]\nname = \"gate\"\n" + command + "[[adapter]]\nname = \"gate\"\n" + command + "[[route]]\ncanister = \"*\"\nadapter = \"telepathy\"\n", []string{
			`:2: adapter[0].name: "relay" is a built-in adapter (cdk, relay): choose another`,
			`:5: adapter[1].name: "CDK" is a built-in adapter`,
			`:8: adapter[2].name: "ein Tor" is no name for an adapter: at most 64 letters`,
			`:14: adapter[4].name: "gate" is the name of another adapter`,
			`:18: route[0].adapter: "telepathy" is not one of cdk, relay, relay, CDK, ein Tor, gate, gate; an adapter of your own needs an [[adapter]]`,
		}},
		{"long name", gate + "[[adapter]]\nname = \"" + strings.Repeat("a", 65) + "\"\n" + command + withAdapter("", "")[strings.Index(withAdapter("", ""), "[[route]]"):] + relayRoute + "adapter = \"cdk\"\n",
			[]string{":5: adapter[1].name: ", ":4: adapter[1]: no route uses it"}},
		{"names that cannot be read", "[[adapter]]\nname = 7\n" + command + "[[route]]\ncanister = \"*\"\nadapter = \"gate\"\n", []string{":2: adapter[0].name: must be a text"}},
		{"no list", "adapter = \"gate\"\n" + "[[route]]\ncanister = \"*\"\nadapter = \"gate\"\n", []string{":1: adapter: must be a list"}},
		{"unknown keys", withAdapter(command+"cmd = 1\nEnv = {}", ""), []string{":4: adapter[0].cmd: unknown key", ":5: adapter[0].Env: unknown key"}},
		{"wrong types", withAdapter("command = \"./gate\"\nenv = [\"A=1\"]\nsha256 = 5\nmemory = 5\nstart_timeout = 5\nmax_calls = \"many\"", ""), []string{
			":3: adapter[0].command: must be a list, not \"./gate\"", ":4: adapter[0].env: must be a table, not a list", ":5: adapter[0].sha256: must be a text",
			`:6: adapter[0].memory: must be a size like "512MiB", "1GiB" or "64MB"`, ":7: adapter[0].start_timeout: must be a duration", ":8: adapter[0].max_calls: must be a whole number"}},

		{"an empty command", withAdapter("command = []", ""), []string{":3: adapter[0].command: must be a program"}},
		{"an empty program", withAdapter(`command = ["", "x"]`, ""), []string{":3: adapter[0].command[0]: must name a program"}},
		{"a number in the command", withAdapter(`command = ["x", 5]`, ""), []string{":3: adapter[0].command[1]: must be a text in quotes, not 5"}},
		{"a zero byte", withAdapter(`command = ["`+name+`", "a\u0000b"]`, ""), []string{":3: adapter[0].command[1]: has a zero byte"}},
		{"no such file", withAdapter(`command = ["./gate"]`, ""), []string{":3: adapter[0].command[0]: there is no file /"}},
		{"no such file, absolute", withAdapter(`command = ["/nowhere/gate"]`, ""), []string{":3: adapter[0].command[0]: there is no file /nowhere/gate; build it first"}},
		{"not in PATH", withAdapter(`command = ["no-such-program"]`, ""), []string{`:3: adapter[0].command[0]: "no-such-program" is in no folder of PATH; a program beside the configuration is written "./no-such-program"`}},
		{"beside the configuration", withAdapter(`command = ["a.wasm"]`, ""), []string{`:3: adapter[0].command[0]: "a.wasm" is in no folder of PATH; for the one beside the configuration write "./a.wasm"`}},
		{"not executable", withAdapter(fmt.Sprintf("command = [%q]", plain), ""), []string{":3: adapter[0].command[0]: " + plain + " cannot be executed: `chmod +x` it"}},
		{"a folder", withAdapter(fmt.Sprintf("command = [%q]", dir), ""), []string{":3: adapter[0].command[0]: " + dir + " is a folder, not a program"}},
		{"a device", withAdapter(`command = ["/dev/null"]`, ""), []string{":3: adapter[0].command[0]: /dev/null is not a program"}},

		{"no checksum", withAdapter(command+`sha256 = ""`, ""), []string{":4: adapter[0].sha256: must be 64 hexadecimal digits"}},
		{"a short checksum", withAdapter(command+`sha256 = "abcd"`, ""), []string{":4: adapter[0].sha256: must be 64 hexadecimal digits"}},
		{"a wrong checksum", withAdapter(command+`sha256 = "`+strings.Repeat("ab", 32)+`"`, ""), []string{":4: adapter[0].sha256: is not the checksum of " + path + ", which is " + fmt.Sprintf("%x", sha256.Sum256([]byte("#!/bin/sh\n")))}},

		{"variables", withAdapter(command+"[adapter.env]\nICRELAY_HOST = \"x\"\nPLUGIN_X = \"\"\n\"1A\" = \"x\"\n\"a b\" = \"x\"\nZERO = \"\\u0000\"\nPORT = 80", ""), []string{
			":5: adapter[0].env.ICRELAY_HOST: the relay itself sets", ":6: adapter[0].env.PLUGIN_X: the relay", `:7: adapter[0].env.1A: "1A" is no name`, `:8: adapter[0].env.a b: "a b" is no name`,
			":9: adapter[0].env.ZERO: has a zero byte", ":10: adapter[0].env.PORT: must be a text in quotes, not 80"}},

		{"a size without a unit", withAdapter(command+`memory = "512"`, ""), []string{`:4: adapter[0].memory: must be a size like`}},
		{"a size in other letters", withAdapter(command+`memory = "512mib"`, ""), []string{`:4: adapter[0].memory: must be a size like`}},
		{"a size beyond everything", withAdapter(command+`memory = "999999999999999GiB"`, ""), []string{`:4: adapter[0].memory: must be a size like`}},
		{"little memory", withAdapter(command+`memory = "16MiB"`, ""), []string{":4: adapter[0].memory: 16MiB is too little: at least 32MiB"}},
		{"no memory", withAdapter(command+`memory = "0MiB"`, ""), []string{":4: adapter[0].memory: nothing is too little: at least 32MiB"}},
		{"much memory", withAdapter(command+`memory = "1025GiB"`, ""), []string{":4: adapter[0].memory: 1025GiB is too much: at most 1024GiB"}},
		{"times", withAdapter(command+"start_timeout = \"1ms\"\ncall_timeout = \"-1s\"", ""), []string{":4: adapter[0].start_timeout: 1ms is too short", ":5: adapter[0].call_timeout: -1s is negative"}},
		{"calls", withAdapter(command+"max_calls = -1", ""), []string{":4: adapter[0].max_calls: -1 is negative"}},
		{"many calls", withAdapter(command+"max_calls = 10001", ""), []string{":4: adapter[0].max_calls: 10001 is too many: at most 10000"}},

		{"unused", gate + routeOfAny, []string{`:1: adapter[0]: no route uses it: set adapter = "gate" in a [[route]], or remove it`}},
		{"a base for a built-in adapter", routeOfAny + "base = \"cdk\"\n", []string{`:4: route[0].base: is for adapters of your own only, and "cdk" is built in`}},
		{"settings for a built-in adapter", routeOfAny + "settings = { a = 1 }\n", []string{`:4: route[0].settings: is for adapters of your own only, and "cdk" is built in`}},
		{"an unknown base", withAdapter(command, "base = \"canister\"\n"), []string{`:8: route[0].base: "canister" is not one of cdk, relay`}},
		{"an empty base", withAdapter(command, "base = \"\"\n"), []string{`:8: route[0].base: "" is not one of cdk, relay`}},
		{"a base of one's own", withAdapter(command, "base = \"gate\"\n"), []string{`:8: route[0].base: "gate" is an adapter of your own; a base is built in: cdk or relay`}},
		{"a base that cannot be read", withAdapter(command, "base = 5\nrelay.pushers = [\"ryjl3-tyaaa-aaaaa-aaaba-cai\"]\n"), []string{":8: route[0].base: must be a text"}},
		{"any relay canister", withAdapter(command, "base = \"relay\"\nrelay.pushers = [\"ryjl3-tyaaa-aaaaa-aaaba-cai\"]\n"), []string{`:6: route[0].canister: "*" cannot go with base = "relay": each relay canister`}},
		{"bad settings of a base", gate + relayRoute + "adapter = \"gate\"\nbase = \"relay\"\n[[route.relay.call]]\ntarget = \"ryjl3-tyaaa-aaaaa-aaaba-cai\"\n", []string{":8: route[0].relay.call[0].method: "}},
		{"settings of another base", gate + relayRoute + "adapter = \"gate\"\nrelay.pushers = [\"ryjl3-tyaaa-aaaaa-aaaba-cai\"]\n", []string{`:7: route[0].relay: is for adapter = "relay" or base = "relay" only, this route has "cdk"`}},
		{"settings that are no table", withAdapter(command, "settings = 5\n"), []string{":8: route[0].settings: must be a table, not 5"}},
		{"settings beyond JSON", withAdapter(command, "settings.a.b = [1.5, nan]\nsettings.c = -inf\n"), []string{":8: route[0].settings.a.b[1]: must be a number that JSON has, too, not NaN", ":9: route[0].settings.c: must be a number"}},
		{"an unused relay canister", gate + "[[network.canister]]\nname = \"r\"\nwasm = \"builtin:relay\"\n[[route]]\ncanister = \"r\"\nadapter = \"gate\"\n", []string{":6: network.canister[0].wasm: no [[route]] with adapter"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, test.text, test.want) })
	}
}

func TestAdapterAccepted(t *testing.T) {
	name, path := program(t)
	file := write(t, `
[[network.canister]]
name = "relay"
wasm = "builtin:relay"
[[adapter]]
name = "Gate_2-x"
command = ["`+name+`", "-u", "gate.py", "other"]
env = { GATE_LOG = "debug", _x = "" }
sha256 = "`+strings.ToUpper(fmt.Sprintf("%x", sha256.Sum256([]byte("#!/bin/sh\n"))))+`"
memory = "64MB"
start_timeout = "1m"
call_timeout = "5s"
max_calls = 7
[[adapter]]
name = "plain"
command = ["./bin/plain"]
[[route]]
canister = "relay"
adapter = "Gate_2-x"
base = "relay"
relay.pushers = ["ryjl3-tyaaa-aaaaa-aaaba-cai"]
settings.token = "token"
[[route]]
canister = "*"
adapter = "plain"
[[route]]
canister = "ryjl3-tyaaa-aaaaa-aaaba-cai"
adapter = "plain"
base = "relay" # which the adapter alone uses
`)
	dir := filepath.Dir(file)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	script, plain := filepath.Join(dir, "gate.py"), filepath.Join(dir, "bin", "plain")
	for _, f := range []string{script, plain} {
		if err := os.WriteFile(f, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // it is to be executed
			t.Fatal(err)
		}
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	gate := c.Adapters[0]
	if gate.Executable() != path || len(gate.Files) != 2 || gate.Files[1].Path != script || gate.Files[1].Size != 10 {
		t.Errorf("files = %+v", gate.Files)
	}
	if gate.Memory != 64_000_000 || gate.StartTimeout != Duration(time.Minute) || gate.MaxCalls != 7 || gate.Env["GATE_LOG"] != "debug" {
		t.Errorf("%+v", gate)
	}
	if other := c.Adapters[1]; other.Executable() != plain || len(other.Files) != 1 || other.Memory != 512<<20 || other.StartTimeout != Duration(10*time.Second) ||
		other.CallTimeout != Duration(30*time.Second) || other.MaxCalls != 256 {
		t.Errorf("defaults: %+v", other)
	}
	if r := c.Routes[0]; r.Base != "relay" || r.Builtin() != "relay" || string(r.Settings.JSON()) != `{"token":"token"}` {
		t.Errorf("%+v", r)
	}
	if r := c.Routes[1]; r.Base != "cdk" || r.Builtin() != "cdk" || string(r.Settings.JSON()) != "{}" {
		t.Errorf("%+v", r)
	}

	if r := c.Routes[2]; r.Relay == nil || r.Relay.WatchInterval != Duration(500*time.Millisecond) {
		t.Errorf("%+v", r)
	}

	// Nothing of it takes a restart, and a new version of a program is a change.
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(c.Adapters[0], next.Adapters[0]) {
		t.Error("another script is no change")
	}
	if !reflect.DeepEqual(c.Adapters[1], next.Adapters[1]) || !reflect.DeepEqual(c.Routes, next.Routes) {
		t.Error("what is the same is a change")
	}
	if keys := NeedsRestart(c, next); len(keys) > 0 {
		t.Errorf("%q need a restart", keys)
	}
}

// What an adapter reads is what the file says.
func TestSettings(t *testing.T) {
	name, _ := program(t)
	c, err := Load(write(t, withAdapter(fmt.Sprintf("command = [%q]", name), `
[route.settings]
text = "ü <&> \" \u0007"
"a key" = true
whole = 9007199254740993
least = -9223372036854775808
float = 1.5
round = 2.0
huge = 1e300
empty = []
list = [1, "two", [3.0], { four = 4 }]
instant = 1979-05-27T07:32:00.5-07:00
local = 1979-05-27T07:32:00
day = 1979-05-27
time = 07:32:00.25
inline = { b = 1, a = {} }
[[route.settings.table]]
x = 1
[[route.settings.table]]
x = 2
`)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a key":true,"day":"1979-05-27","empty":[],"float":1.5,"huge":1e+300,"inline":{"a":{},"b":1},"instant":"1979-05-27T07:32:00.5-07:00",` +
		`"least":-9223372036854775808,"list":[1,"two",[3.0],{"four":4}],"local":"1979-05-27T07:32:00","round":2.0,"table":[{"x":1},{"x":2}],` +
		`"text":"ü <&> \" \u0007","time":"07:32:00.25","whole":9007199254740993}`
	got := c.Routes[0].Settings.JSON()
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !json.Valid(got) {
		t.Error("that is no JSON")
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"512MiB": 512 << 20, "1GiB": 1 << 30, "64MB": 64_000_000, "65536KiB": 64 << 20, "1KB": 1000, "2GB": 2_000_000_000, "0MB": 0} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("%s = %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "1", "MiB", "1 MiB", "1.5GiB", "-1MiB", "1TiB", "1B", "1Mib", "9999999999999999KB", "999999999999GiB"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("%q is read as %d", text, got)
		}
	}
	for size, want := range map[Size]string{32 << 20: "32MiB", 1 << 40: "1024GiB", 64_000_000: "64MB", 1000: "1KB", 7: "7 bytes", 0: "0 bytes"} {
		if got := size.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(size), got, want)
		}
	}
}

// The documentation has a row for each key, with its default.
func TestDocumentedAdapterKeys(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## `[[adapter]]`")
	section, _, _ = strings.Cut(section, "\n## ")
	defaults := map[string]string{
		"memory":        fmt.Sprintf("`%q`", Size(defaultMemory)),
		"start_timeout": fmt.Sprintf("`%q`", Duration(defaultStart)),
		"call_timeout":  fmt.Sprintf("`%q`", Duration(defaultCallTimeout)),
		"max_calls":     fmt.Sprint(defaultMaxCalls),
	}
	fields := reflect.TypeFor[Adapter]()
	for i := range fields.NumField() {
		key := fields.Field(i).Tag.Get("toml")
		if key == "" {
			continue
		}
		if row := fmt.Sprintf("| `%s` | %s", key, defaults[key]); !strings.Contains(section, row) {
			t.Errorf("docs/configuration.md has no row %s", row)
		}
	}
	for _, bound := range []string{fmt.Sprintf("`%q`", Size(leastMemory)), fmt.Sprintf("`%q`", Size(mostMemory)), fmt.Sprint(mostMaxCalls)} {
		if !strings.Contains(section, bound) {
			t.Errorf("docs/configuration.md does not say %s", bound)
		}
	}
}
