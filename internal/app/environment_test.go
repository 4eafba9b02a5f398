package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

// tellsVariable is a canister whose query "value" replies with the environment
// variable of this name, read at its start.
func tellsVariable(name string) []byte {
	return wasmtest.Assemble(fmt.Sprintf(`
		import ic0 msg_reply () ()
		import ic0 msg_reply_data_append (i32 i32) ()
		import ic0 env_var_value_size (i32 i32) (i32)
		import ic0 env_var_value_copy (i32 i32 i32 i32 i32) ()
		memory 1
		global $size i32 mut 0
		data 0 %[1]q
		func $init () ()
		i32.const 0
		i32.const %[2]d
		call $env_var_value_size
		global.set $size
		i32.const 0
		i32.const %[2]d
		i32.const 1000
		i32.const 0
		global.get $size
		call $env_var_value_copy
		end
		func $value () ()
		i32.const 1000
		global.get $size
		call $msg_reply_data_append
		call $msg_reply
		end
		export $init "canister_init"
		export $value "canister_query value"
	`, name, len(name)))
}

// Canisters of the embedded network find each other by their names, from their
// installation on, whatever their order in the file.
func TestCanistersKnowEachOther(t *testing.T) {
	folder := t.TempDir()
	var text strings.Builder
	text.WriteString("[gateway]\nlisten = \"127.0.0.1:0\"\n[network]\nlisten = \"127.0.0.1:0\"\n")
	asks := map[string]string{"first": "last", "alone": "alone", "last": "relay"} // name -> whose id it tells
	for _, name := range []string{"first", "alone", "last"} {
		path := filepath.Join(folder, name+".wasm")
		if err := os.WriteFile(path, tellsVariable("PUBLIC_CANISTER_ID:"+asks[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "[[network.canister]]\nname = %q\nwasm = %q\n", name, path)
	}
	text.WriteString("[[network.canister]]\nname = \"relay\"\nwasm = \"builtin:relay\"\n")
	text.WriteString("[[route]]\ncanister = \"relay\"\nadapter = \"relay\"\nrelay.feed = [{ target = \"first\", method = \"since\" }]\n")

	cfg := load(t, text.String())
	n, err := connect(t.Context(), cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	if err := n.install(t.Context(), cfg, testnet.Identity(t).Principal(), quiet()); err != nil {
		t.Fatal(err)
	}
	for name, asked := range asks {
		reply, err := n.client.Query(t.Context(), testnet.Identity(t), n.canisters[name], "value", nil)
		if want := n.canisters[asked].String(); err != nil || string(reply) != want {
			t.Errorf("%s thinks that %s is %q (%v), not %s", name, asked, reply, err, want)
		}
	}
}

// A name that no variable can hold is left out, with a line in the log.
func TestEnvironmentOfLongNames(t *testing.T) {
	long := strings.Repeat("n", 110)
	n := &network{
		names:     []string{"short", long, long[1:]},
		canisters: map[string]candid.Principal{"short": candid.Anonymous, long: candid.Anonymous, long[1:]: candid.Anonymous},
	}
	var log bytes.Buffer
	variables := n.environment(slog.New(slog.NewTextHandler(&log, nil)))
	if len(variables) != 2 || variables["PUBLIC_CANISTER_ID:short"] != "2vxsx-fae" || variables["PUBLIC_CANISTER_ID:"+long[1:]] == "" {
		t.Errorf("variables %v", variables)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, long) {
		t.Errorf("log %q", got)
	}
}
