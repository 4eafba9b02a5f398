package skeleton

import (
	"bytes"
	"context"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testnet"
)

// What is written builds, passes its own tests, and its configuration is one.
func TestWrite(t *testing.T) {
	root := testnet.Root()
	dir := filepath.Join(t.TempDir(), "my-adapter")
	if err := Write(dir, "my-adapter", "", root); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main.go", "main_test.go"} {
		code := read(t, dir, name)
		if pretty, err := format.Source(code); err != nil || !bytes.Equal(pretty, code) {
			t.Errorf("%s is not as gofmt has it: %v", name, err)
		}
	}

	// The sums are known here, so that the network is not needed for them.
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), read(t, root, "go.sum"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	for _, args := range [][]string{{"build"}, {"vet", "."}, {"test", "."}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "PWD="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}

	cfg, err := config.Load(filepath.Join(dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if a := cfg.Adapters[0]; a.Name != "my-adapter" || a.Executable() != filepath.Join(dir, "my-adapter") || cfg.Routes[0].Adapter != a.Name {
		t.Errorf("adapter = %+v", a)
	}
}

// The version of the kit, and the sources instead.
func TestGoMod(t *testing.T) {
	root := testnet.Root()
	odd := filepath.Join(t.TempDir(), "the (odd) folder")
	if err := os.MkdirAll(filepath.Join(odd, "adapters", "plugin", "sdk"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, version, replace, want string }{
		{"a version", "v1.2.3", "", "\nrequire github.com/icrelay/icrelay v1.2.3\n"},
		{"a version of a commit", "v0.0.0-20260101000000-abcdefabcdef", "", "\nrequire github.com/icrelay/icrelay v0.0.0-20260101000000-abcdefabcdef\n"},
		{"none", "(devel)", "", ""},
		{"sources", "(devel)", root, "\nrequire github.com/icrelay/icrelay v0.0.0\n\nreplace github.com/icrelay/icrelay => " + root + "\n"},
		{"sources and a version", "v1.2.3", root, "\nrequire github.com/icrelay/icrelay v1.2.3\n\nreplace github.com/icrelay/icrelay => " + root + "\n"},
		{"sources in an odd folder", "", odd, "\nrequire github.com/icrelay/icrelay v0.0.0\n\nreplace github.com/icrelay/icrelay => \"" + odd + "\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir() // empty folders are fine, too
			if err := Write(dir, "gate", tc.version, tc.replace); err != nil {
				t.Fatal(err)
			}
			if got, want := string(read(t, dir, "go.mod")), "module example.com/gate\n\ngo "+goVersion+"\n"+tc.want; got != want {
				t.Errorf("go.mod = %q, want %q", got, want)
			}
			if ignored := string(read(t, dir, ".gitignore")); ignored != "/gate\n/.relay/\n" {
				t.Errorf(".gitignore = %q", ignored)
			}
		})
	}
	if !slices.Contains(strings.Split(string(read(t, root, "go.mod")), "\n"), "go "+goVersion) {
		t.Errorf("goVersion is %s, and go.mod says another", goVersion)
	}
}

func TestProblems(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, dir, adapter, replace, want string }{
		{"no name", t.TempDir(), "", "", "is no name"},
		{"a path for a name", t.TempDir(), "../gate", "", "is no name"},
		{"a long name", t.TempDir(), strings.Repeat("a", 65), "", "is no name"},
		{"a name that is taken", t.TempDir(), "Relay", "", "choose another name"},
		{"a folder with something in it", full, "gate", "", "is not empty"},
		{"a file for a folder", filepath.Join(full, "notes"), "gate", "", "notes"},
		{"no sources", t.TempDir(), "gate", full, "has not the relay's sources"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := Write(tc.dir, tc.adapter, "", tc.replace); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
