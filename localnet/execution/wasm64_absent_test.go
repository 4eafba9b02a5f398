//go:build !(wasm64 && cgo)

package execution

import (
	"context"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// Without the engine for 64-bit memories the refusal says what to do.
func TestMemory64IsRefused(t *testing.T) {
	m := newMachine(t, Options{})
	for name, module := range map[string][]byte{
		"Motoko":   moduleFile(t, "counter64"),
		"smallest": append(assemble(""), 5, 3, 1, 4, 1),
	} {
		id, err := m.CreateCanister([]candid.Principal{user})
		if err != nil {
			t.Fatal(err)
		}
		err = m.Install(context.Background(), id, ModeInstall, module, args(t, 5), user)
		if err == nil {
			t.Fatalf("%s: it was installed", name)
		}
		for _, want := range []string{"IC0505", "64-bit memory", "-tags wasm64", "CGO_ENABLED=1", "--legacy-persistence", "gcFlags('classicOP')"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nexpected something about %q", name, err, want)
			}
		}
		if info, _ := m.Info(id); len(info.ModuleHash) > 0 {
			t.Errorf("%s: there is a module afterwards", name)
		}
	}
}
