package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
)

// TestMain makes this program an adapter where the relay starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("ICRELAY_ADAPTER") != "" {
		sdk.Serve(startAdapter)
		return
	}
	os.Exit(m.Run())
}

// A shy adapter takes nobody in.
type shy struct{ text string }

func (s shy) Open(context.Context, sdk.Envelope) error { return sdk.Refused("%s", s.text) }

func startAdapter(_ context.Context, route *sdk.Route) (any, error) {
	var settings struct {
		Refuse string `json:"refuse"`
	}
	if err := route.Settings(&settings); err != nil {
		return nil, err
	}
	route.Log.Info("at work", "refuse", settings.Refuse, "token", route.Canisters["token"].String())
	if settings.Refuse != "" {
		return shy{settings.Refuse}, nil
	}
	return route.Base, nil
}

func TestAdapterHelp(t *testing.T) {
	for _, args := range [][]string{{"adapter", "--help"}, {"adapter", "test", "--help"}, {"adapter", "new", "--help"}} {
		out, err := run(t, args...)
		if err != nil || !strings.Contains(out, "relay adapter") {
			t.Errorf("relay %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		for _, line := range strings.Split(out, "\n") {
			if len(line) > 110 {
				t.Errorf("relay %s: a line of %d characters: %s", strings.Join(args, " "), len(line), line)
			}
		}
	}
	if out, err := run(t, "--help"); err != nil || !strings.Contains(out, "relay adapter test") {
		t.Errorf("%v\n%s", err, out)
	}
}

// own is a configuration with this program as an adapter, of two routes.
func own(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`
[[network.canister]]
name = "echo"
wasm = "builtin:echo"
[[network.canister]]
name = "token"
wasm = "builtin:echo"
[[adapter]]
name = "own"
command = [%q]
[[route]]
canister = "echo"
adapter = "own"
[[route]]
canister = "token"
adapter = "own"
settings.refuse = "tokens do not talk"
`, os.Args[0])
}

func written(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAdapterTestRefused(t *testing.T) {
	none, one := written(t, "[[route]]\ncanister = \"*\"\nadapter = \"cdk\"\n"), written(t, own(t))
	several := written(t, strings.Replace(own(t), "[[route]]\ncanister = \"token\"\nadapter = \"own\"", fmt.Sprintf("[[adapter]]\nname = \"other\"\ncommand = [%q]\n[[route]]\ncanister = \"token\"\nadapter = \"other\"", os.Args[0]), 1))
	list := written(t, "[1]")
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "name the adapter's command"},
		{"both", []string{"--adapter", "own", "./x"}, "not both"},
		{"a canister of a command", []string{"--canister", "echo", "./x"}, "--canister chooses a route"},
		{"a base of the configuration's", []string{"--config", one, "--base", "cdk"}, "the configuration has its own"},
		{"no such base", []string{"--base", "canister", os.Args[0]}, `"canister" is no built-in adapter`},
		{"no such program", []string{"./no-such-adapter"}, "there is no file"},
		{"not in PATH", []string{"no-such-adapter"}, "in no folder of PATH"},
		{"settings that are nothing", []string{"--settings", "no-such-file", os.Args[0]}, "neither a JSON object"},
		{"settings that are broken", []string{"--settings", "{", os.Args[0]}, "no JSON object"},
		{"settings in a file that has none", []string{"--settings", list, os.Args[0]}, "no JSON object"},
		{"content", []string{"--content", "hello", os.Args[0]}, "--content must be"},
		{"no file", []string{"--config", one + "x"}, "no configuration file"},
		{"no adapter in the file", []string{"--config", none}, "no [[adapter]]"},
		{"another adapter", []string{"--config", one, "--adapter", "gate"}, `no adapter "gate", but own`},
		{"several adapters", []string{"--config", several}, "choose one with --adapter: own, other"},
		{"several routes", []string{"--config", one}, "choose one with --canister: echo, token"},
		{"another route", []string{"--config", one, "--canister", "relay"}, `no route with canister = "relay"`},
		{"no adapter at all", []string{"sh", "-c", "exit 3"}, "exit status 3"},
		{"a setting that the adapter does not know", []string{"--settings", `{"colour": "red"}`, os.Args[0]}, "does not take its route: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := run(t, append([]string{"adapter", "test"}, test.args...)...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v, want %q in it\n%s", err, test.want, out)
			}
		})
	}
}

// A whole run, of a command and of an adapter in a configuration.
func TestAdapterTest(t *testing.T) {
	settings := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(settings, []byte("{\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := written(t, own(t))
	for _, test := range []struct {
		name string
		args []string
		want []string
		err  string
	}{
		{"a command", []string{"--settings", settings, os.Args[0], "-test.v=false"}, []string{"ok    messages are accepted in order", "17 of 17 tests passed"}, ""},
		{"with its log", []string{"-v", os.Args[0]}, []string{"      | level=INFO msg=\"at work\""}, ""},
		{"one that refuses", []string{"--settings", `{"refuse": "not today"}`, os.Args[0]}, []string{
			"FAIL  messages are accepted in order", "      refused: not today", `      | level=INFO msg="at work"`, `refuse="not today"`, "ok    a message of a stranger"}, "17 tests failed"},
		{"of a configuration", []string{"--config", config, "--adapter", "own", "--canister", "echo", "--content", "44494449" + "4c0000"}, []string{"17 of 17 tests passed"}, ""},
		{"another route of it", []string{"--config", config, "--canister", "token"}, []string{"refused: tokens do not talk", "token="}, "17 tests failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := run(t, append([]string{"adapter", "test"}, test.args...)...)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("err = %v, want %q", err, test.err)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in it", want)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

func TestAdapterNew(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	out, err := run(t, "adapter", "new", "gate")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cd gate\n", "go build -o gate .", "relay adapter test ./gate\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	for _, name := range []string{"main.go", "main_test.go", "go.mod", "config.toml"} {
		if _, err := os.Stat(filepath.Join(dir, "gate", name)); err != nil {
			t.Error(err)
		}
	}
	if out, err := run(t, "adapter", "new", "gate", "--dir", "deep/er", "--replace", filepath.Join(dir, "..")); err == nil {
		t.Errorf("a folder without sources is accepted: %s", out)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"gate"}, "gate is there already"},
		{[]string{"relay"}, "choose another name"},
		{[]string{"my gate"}, "no name for an adapter"},
		{[]string{"gate", "--dir", "gate/main.go"}, "is there already"},
		{nil, "accepts 1 arg"},
	} {
		if _, err := run(t, append([]string{"adapter", "new"}, test.args...)...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("relay adapter new %s: %v, want %q", strings.Join(test.args, " "), err, test.want)
		}
	}
}
