package localnet

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

// leaveOut ends a test for which something is missing on this machine: with a
// failure where RELAY_REQUIRE_NODE says that it must be there.
func leaveOut(t *testing.T, missing string) {
	t.Helper()
	if os.Getenv("RELAY_REQUIRE_NODE") == "1" {
		t.Fatalf("%s, and RELAY_REQUIRE_NODE demands it", missing)
	}
	t.Skipf("LEFT OUT: %s; `npm ci` and Node make this test run", missing)
}

// npmPackage finds a folder from which Node loads this major version of a
// package, and the package's own folder.
func npmPackage(t *testing.T, name, major string) (root, folder string) {
	t.Helper()
	for _, dir := range []string{os.Getenv("RELAY_NODE_ROOT"), "..", "../e2e", "testdata/js/agent3"} {
		folder := filepath.Join(dir, "node_modules", filepath.FromSlash(name))
		described, err := os.ReadFile(filepath.Join(folder, "package.json")) //nolint:gosec // the checkout's own folders
		if dir == "" || err != nil {
			continue
		}
		var about struct{ Version string }
		if err := json.Unmarshal(described, &about); err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		if !strings.HasPrefix(about.Version, major+".") {
			continue
		}
		root, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %s", name, about.Version)
		return root, filepath.Join(root, "node_modules", filepath.FromSlash(name))
	}
	leaveOut(t, name+" "+major+" is not installed")
	return "", ""
}

func readFile(t testing.TB, name string) []byte {
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

// TestJavaScriptAgents runs the unmodified JavaScript agents against the
// network, each as a dapp uses it. The scripts list what they do.
func TestJavaScriptAgents(t *testing.T) {
	secret := bytes.Repeat([]byte{0x42}, 32)
	controller, err := ic.Secp256k1IdentityFromScalar(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ library, major, script string }{
		{"@dfinity/agent", "2", "agent.mjs"},
		{"@dfinity/agent", "3", "modern.mjs"},
		{"@icp-sdk/core", "6", "modern.mjs"},
	} {
		t.Run(c.library+" "+c.major, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("node"); err != nil {
				leaveOut(t, "Node.js is not installed")
			}
			root, _ := npmPackage(t, c.library, c.major)
			n, id := startReal(t, controller.Principal())
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "testdata/js/"+c.script) //nolint:gosec // a script of this package
			cmd.Env = append(os.Environ(),
				"LOCALNET_NODE_ROOT="+root,
				"LOCALNET_LIBRARY="+c.library,
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
		})
	}
}
