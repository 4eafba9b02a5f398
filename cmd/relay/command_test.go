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
	for _, args := range [][]string{{"--help"}, {"check", "--help"}, {"canister", "--help"}, {"canister", "config", "--help"}} {
		out, err := run(t, args...)
		if err != nil || !strings.Contains(out, "--config file") {
			t.Errorf("relay %s: %v\n%s", strings.Join(args, " "), err, out)
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
	if out, err := run(t, "canister", "did"); err != nil || !strings.Contains(out, "ws_get_messages") {
		t.Errorf("%v, %s", err, out)
	}
}

func TestUnknown(t *testing.T) {
	for _, args := range [][]string{{"fly"}, {"--fly"}, {"canister", "fly"}} {
		if _, err := run(t, args...); err == nil {
			t.Errorf("relay %s is accepted", strings.Join(args, " "))
		}
	}
}
