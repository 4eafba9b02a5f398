package localnet

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// nodeRoot finds a folder from which Node can load the library, or ends the
// test: with a failure where RELAY_REQUIRE_NODE says that it must be there.
func nodeRoot(t *testing.T, library string) string {
	t.Helper()
	missing := "Node.js is not installed"
	if _, err := exec.LookPath("node"); err == nil {
		for _, dir := range []string{os.Getenv("RELAY_NODE_ROOT"), "..", "../e2e"} {
			if _, err := os.Stat(filepath.Join(dir, "node_modules", library)); dir != "" && err == nil {
				abs, err := filepath.Abs(dir)
				if err != nil {
					t.Fatal(err)
				}
				return abs
			}
		}
		missing = library + " is not installed"
	}
	if os.Getenv("RELAY_REQUIRE_NODE") == "1" {
		t.Fatalf("%s, and RELAY_REQUIRE_NODE demands it", missing)
	}
	t.Skipf("LEFT OUT: %s; `npm ci` and Node make this test run", missing)
	return ""
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// startReal starts a network with the tester canister, controlled by the controller.
func startReal(t testing.TB, controller candid.Principal) (*Network, candid.Principal) {
	t.Helper()
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	id, err := n.CreateCanister(controller)
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile("testdata/tester/tester.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Install(t.Context(), id, wasm, candid.EncodeEmpty()); err != nil {
		t.Fatal(err)
	}
	return n, id
}

// TestJavaScriptAgent runs the unmodified @dfinity/agent against the network.
func TestJavaScriptAgent(t *testing.T) {
	root := nodeRoot(t, "@dfinity/agent")
	secret := bytes.Repeat([]byte{0x42}, 32)
	controller, err := ic.Secp256k1IdentityFromScalar(secret)
	if err != nil {
		t.Fatal(err)
	}
	n, id := startReal(t, controller.Principal())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "testdata/js/agent.mjs")
	cmd.Env = append(os.Environ(),
		"LOCALNET_NODE_ROOT="+root,
		"LOCALNET_URL="+n.URL(),
		"LOCALNET_ROOT_KEY="+hex.EncodeToString(n.RootKey()),
		"LOCALNET_CANISTER="+id.String(),
		"LOCALNET_SECRET="+hex.EncodeToString(secret),
		"LOCALNET_WASM=testdata/tester/tester.wasm")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
