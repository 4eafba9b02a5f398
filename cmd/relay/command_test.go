package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/internal/config"
)

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(&out)
	command.SetErr(&out)
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"check", "--help"}, {"canister", "--help"}, {"canister", "wasm", "--help"}, {"canister", "config", "--help"}, {"canister", "configure", "--help"}, {"bench", "--help"}} {
		out, err := run(t, args...)
		if err != nil || !strings.Contains(out, "--config file") {
			t.Errorf("relay %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		for _, line := range strings.Split(out, "\n") {
			if len(line) > 110 {
				t.Errorf("relay %s: a line of %d characters: %s", strings.Join(args, " "), len(line), line)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	if out, err := run(t, "check", "--config", "../../config.toml"); err != nil || !strings.Contains(out, "nothing to mend") {
		t.Errorf("%v, %s", err, out)
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("[gatway]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := run(t, "check", "--config", path)
	var bad *config.Error
	if !errors.As(err, &bad) {
		t.Errorf("err = %v, want a *config.Error", err)
	}
	if _, err := run(t, "--config", path); !errors.As(err, &bad) {
		t.Errorf("err = %v, want a *config.Error", err)
	}
}

func TestCanister(t *testing.T) {
	if out, err := run(t, "canister", "wasm"); err != nil || out != string(canister.Wasm()) {
		t.Errorf("%v, %d bytes", err, len(out))
	}
	if out, err := run(t, "canister", "wasm", "--wasm32"); err != nil || out != string(canister.Wasm32()) {
		t.Errorf("%v, %d bytes", err, len(out))
	}
	if out, err := run(t, "canister", "did"); err != nil || !strings.Contains(out, "ws_get_messages") {
		t.Errorf("%v, %s", err, out)
	}
}

const twoRelays = `
[network]
url = "https://icp-api.io"
[[route]]
canister = "ryjl3-tyaaa-aaaaa-aaaba-cai"
adapter = "relay"
relay.call = [{ target = "qoctq-giaaa-aaaaa-aaaea-cai", method = "post" }]
[[route]]
canister = "rrkah-fqaaa-aaaaa-aaaaq-cai"
adapter = "relay"
relay.feed = [{ target = "qoctq-giaaa-aaaaa-aaaea-cai", method = "since" }]
`

// Flags reach what they are for.
func TestCanisterConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(twoRelays), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "canister", "config", "--config", path); err == nil || !strings.Contains(err.Error(), "--canister") {
		t.Errorf("err = %v, want the flag that chooses a route", err)
	}
	out, err := run(t, "canister", "config", "--config", path, "--canister", "rrkah-fqaaa-aaaaa-aaaaq-cai")
	if err != nil || !strings.Contains(out, `method = "since"`) {
		t.Errorf("%v, %s", err, out)
	}
	out, err = run(t, "canister", "config", "--config", path, "--canister", "rrkah-fqaaa-aaaaa-aaaaq-cai", "--format", "bin")
	if err != nil || !strings.HasPrefix(out, "DIDL") {
		t.Errorf("%v, %q", err, out)
	}
	if _, err := run(t, "canister", "config", "--config", path, "--canister", "rrkah-fqaaa-aaaaa-aaaaq-cai", "--format", "json"); err == nil || !strings.Contains(err.Error(), "candid, hex or bin") {
		t.Errorf("err = %v, want the formats", err)
	}
}

func TestCanisterConfigure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(twoRelays), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"several routes", []string{"--config", path}, "--canister"},
		{"another route", []string{"--config", path, "--canister", "qoctq-giaaa-aaaaa-aaaea-cai", "--dry-run"}, `canister = "qoctq-giaaa-aaaaa-aaaea-cai"`},
		{"the embedded network", []string{"--config", "../../config.toml"}, "embedded"},
		{"no file", []string{"--config", path + "x"}, "no configuration file"},
		{"an argument", []string{"--config", path, "rrkah-fqaaa-aaaaa-aaaaq-cai"}, "unknown command"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := run(t, append([]string{"canister", "configure"}, tc.args...)...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	for _, args := range [][]string{{"fly"}, {"--fly"}, {"canister", "fly"}} {
		if _, err := run(t, args...); err == nil {
			t.Errorf("relay %s is accepted", strings.Join(args, " "))
		}
	}
}
