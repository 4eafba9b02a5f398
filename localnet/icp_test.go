package localnet

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// icpTool is the unmodified command icp with a home and an identity of its own.
type icpTool struct {
	t       *testing.T
	binary  string
	dir     string // it runs in
	env     []string
	network []string // what selects the network, if that is not left to a project
}

// newICP prepares icp to be used with a network by its URL and root key.
func newICP(t *testing.T, n *Network) *icpTool {
	t.Helper()
	const name = "@icp-sdk/icp-cli-linux-x64"
	_, folder := npmPackage(t, name, "1")
	home := t.TempDir()
	icp := &icpTool{
		t: t, binary: filepath.Join(folder, "bin", "icp"), dir: t.TempDir(),
		env: []string{
			"HOME=" + home, "ICP_HOME=" + filepath.Join(home, "icp"), "PATH=" + os.Getenv("PATH"),
			"DO_NOT_TRACK=1", "NO_COLOR=1", "RUST_BACKTRACE=0",
		},
		network: []string{"--network", n.URL(), "--root-key", hex.EncodeToString(n.RootKey())},
	}
	icp.must("identity", "new", "tester", "--storage", "plaintext", "--output-seed", filepath.Join(home, "seed"))
	icp.must("identity", "default", "tester")
	return icp
}

// in returns the same tool for a subtest.
func (icp *icpTool) in(t *testing.T) *icpTool {
	same := *icp
	same.t = t
	return &same
}

// must runs the tool and returns what it prints on its standard output.
func (icp *icpTool) must(args ...string) string {
	icp.t.Helper()
	out, errors, err := icp.run(args...)
	if err != nil {
		icp.t.Fatalf("icp %s: %v\n%s%s", strings.Join(args, " "), err, out, errors)
	}
	return out
}

// fails runs the tool and checks that it fails with these words.
func (icp *icpTool) fails(want string, args ...string) {
	icp.t.Helper()
	out, errors, err := icp.run(args...)
	if err == nil || !strings.Contains(errors, want) {
		icp.t.Errorf("icp %s: %v, want an error with %q\n%s%s", strings.Join(args, " "), err, want, out, errors)
	}
}

// on runs a subcommand of "icp canister" on the network.
func (icp *icpTool) on(command string, args ...string) string {
	icp.t.Helper()
	return icp.must(icp.canister(command, args)...)
}

func (icp *icpTool) onFails(want, command string, args ...string) {
	icp.t.Helper()
	icp.fails(want, icp.canister(command, args)...)
}

func (icp *icpTool) canister(command string, args []string) []string {
	all := append([]string{"canister"}, strings.Fields(command)...)
	return append(append(all, args...), icp.network...)
}

func (icp *icpTool) run(args ...string) (out, errors string, err error) {
	ctx, cancel := context.WithTimeout(icp.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, icp.binary, args...) //nolint:gosec // the tool under test
	cmd.Dir, cmd.Env = icp.dir, icp.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return strings.TrimSpace(stdout.String()), stderr.String(), err
}

// icpStatus is what these tests read of "icp canister status --json".
type icpStatus struct {
	Status   string
	Cycles   string
	Settings struct {
		Controllers          []string
		ComputeAllocation    string `json:"compute_allocation"`
		FreezingThreshold    string `json:"freezing_threshold"`
		WasmMemoryLimit      string `json:"wasm_memory_limit"`
		LogMemoryLimit       string `json:"log_memory_limit"`
		EnvironmentVariables []struct{ Name, Value string }
	}
	ModuleHash *string `json:"module_hash"`
}

func (icp *icpTool) status(id string) icpStatus {
	icp.t.Helper()
	var s icpStatus
	if err := json.Unmarshal([]byte(icp.on("status", id, "--json")), &s); err != nil {
		icp.t.Fatal(err)
	}
	return s
}

func (s *icpStatus) cycles(t *testing.T) int64 { return icpNumber(t, s.Cycles) }

// icpNumber reads a number as the tool writes it: 1_500_000.
func icpNumber(t *testing.T, text string) int64 {
	t.Helper()
	var n int64
	if _, err := fmt.Sscan(strings.ReplaceAll(text, "_", ""), &n); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}

func (icp *icpTool) balance() int64 {
	icp.t.Helper()
	out := icp.must(append([]string{"cycles", "balance"}, icp.network...)...)
	return icpNumber(icp.t, strings.TrimSuffix(strings.TrimPrefix(out, "Balance: "), " cycles"))
}

func (icp *icpTool) wantCall(want, id, method, args string, more ...string) {
	icp.t.Helper()
	if got := icp.on("call", append([]string{id, method, args}, more...)...); got != want {
		icp.t.Errorf("%s%s = %s, want %s", method, args, got, want)
	}
}

const trillion = 1_000_000_000_000

// TestICP does with the unmodified icp what a developer does with it. The steps
// build on each other.
func TestICP(t *testing.T) {
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	icp := newICP(t, n)
	me := icp.must("identity", "principal")
	tester := absolute(t, "testdata/tester/tester.wasm")
	counter := absolute(t, "execution/testdata/counter.wasm")
	large := largeModule(t, counter)
	var id string

	step := func(name string, f func(t *testing.T, icp *icpTool)) {
		if !t.Run(name, func(t *testing.T) { f(t, icp.in(t)) }) {
			t.FailNow()
		}
	}
	step("create", func(t *testing.T, icp *icpTool) {
		before := icp.balance()
		id = icp.on("create", "--detached", "--quiet", "--cycles", "5t", "--compute-allocation", "3", "--freezing-threshold", "10d")
		s := icp.status(id)
		if s.Status != "Running" || s.ModuleHash != nil || len(s.Settings.Controllers) != 1 || s.Settings.Controllers[0] != me ||
			s.Settings.ComputeAllocation != "3" || s.Settings.FreezingThreshold != "864_000" {
			t.Errorf("status %+v", s)
		}
		if got := s.cycles(t); got != 4.5*trillion { // less the price of creating
			t.Errorf("the canister has %d cycles", got)
		}
		if spent := before - icp.balance(); spent != 5*trillion+100_000_000 {
			t.Errorf("%d cycles spent", spent)
		}
		icp.onFails("requires a fee of 500000000000", "create", "--detached", "--cycles", "1")
		icp.onFails("Insufficient cycles", "create", "--detached", "--cycles", "10000000t")
		icp.on("create", "--detached", "--subnet", n.Subnet().String(), "--controller", me, "--controller", "2vxsx-fae")
	})
	step("install with arguments, call, query", func(_ *testing.T, icp *icpTool) {
		icp.onFails("IC0537", "call", id, "inc", "()")
		icp.on("install", id, "--wasm", counter, "--args", "(41 : nat)")
		icp.wantCall("(42 : nat)", id, "inc", "()")
		icp.wantCall("(42 : nat)", id, "get", "()", "--query")
		icp.onFails("IC0514", "install", id, "--wasm", counter, "--args", "(41 : nat)", "--mode", "install")
		icp.onFails("IC0505", "install", id, "--wasm", absolute(icp.t, "icp_test.go"), "--mode", "reinstall", "--yes")
	})
	step("rejects", func(_ *testing.T, icp *icpTool) {
		icp.onFails(`error code Some("IC0503")`, "call", id, "trapAfterWrite", "()")
		icp.onFails(`reject code CanisterReject, reject message no thanks, error code Some("IC0406")`, "call", id, "rejects", "()")
		icp.onFails("IC0503", "call", id, "trapQuery", "()", "--query")
		icp.onFails("IC0536", "call", id, "missing", "()")
		icp.onFails("IC0301", "call", "rno2w-sqaaa-aaaaa-aaacq-cai", "inc", "()")
		icp.wantCall("(49 : nat)", id, "get", "()", "--query") // a trap leaves no trace, a reject is an answer
	})
	step("upgrade", func(_ *testing.T, icp *icpTool) {
		icp.on("install", id, "--wasm", counter, "--args", "(0 : nat)", "--mode", "upgrade", "--yes")
		icp.wantCall("(49 : nat)", id, "get", "()", "--query")
	})
	step("a large module in chunks, reinstall", func(t *testing.T, icp *icpTool) {
		before := icp.status(id).ModuleHash
		icp.on("install", id, "--wasm", large, "--args", "(0 : nat)", "--mode", "upgrade", "--yes")
		icp.wantCall("(49 : nat)", id, "get", "()", "--query")
		if after := icp.status(id).ModuleHash; *after == *before {
			t.Error("the module has not changed")
		}
		icp.on("install", id, "--wasm", large, "--args", "(7 : nat)", "--mode", "reinstall", "--yes")
		icp.wantCall("(7 : nat)", id, "get", "()", "--query")
	})
	step("top up", func(t *testing.T, icp *icpTool) {
		s := icp.status(id)
		before := s.cycles(t)
		icp.on("top-up", id, "--amount", "3t")
		s = icp.status(id)
		if got := s.cycles(t) - before; got < 2.99*trillion || got > 3*trillion {
			t.Errorf("%d cycles more", got)
		}
		icp.onFails("not found", "top-up", "rno2w-sqaaa-aaaaa-aaacq-cai", "--amount", "3t")
		icp.onFails("Insufficient cycles", "top-up", id, "--amount", "10000000t")
	})
	step("settings", func(t *testing.T, icp *icpTool) {
		icp.on("settings update", id, "--freezing-threshold", "20d", "--wasm-memory-limit", "2gib", "--log-memory-limit", "1mib",
			"--log-visibility", "public", "--add-environment-variable", "MODE=test")
		s := icp.status(id).Settings
		if s.FreezingThreshold != "1_728_000" || s.WasmMemoryLimit != "2_147_483_648" || s.LogMemoryLimit != "1_048_576" || s.ComputeAllocation != "3" {
			t.Errorf("settings %+v", s)
		}
		if shown := icp.on("settings show", id); !strings.Contains(shown, "MODE: test") || !strings.Contains(shown, "Log visibility: Public") {
			t.Errorf("settings:\n%s", shown)
		}
		icp.onFails("out of range", "settings update", id, "--log-memory-limit", "3mib")
	})
	step("controllers", func(t *testing.T, icp *icpTool) {
		icp.on("settings update", id, "--add-controller", "2vxsx-fae")
		if s := icp.status(id); len(s.Settings.Controllers) != 2 {
			t.Errorf("controllers %v", s.Settings.Controllers)
		}
		icp.on("stop", id, "--identity", "anonymous")
		icp.on("start", id, "--identity", "anonymous")
		icp.on("settings update", id, "--remove-controller", "2vxsx-fae")
		icp.onFails("IC0512", "stop", id, "--identity", "anonymous")
		// Who may not see the status gets what the state tree shows to everybody.
		public := icp.on("status", id, "--identity", "anonymous")
		if !strings.Contains(public, me) || !strings.Contains(public, "Module hash: 0x") || strings.Contains(public, "Cycles") {
			t.Errorf("public status:\n%s", public)
		}
		icp.onFails("was not found", "status", "rno2w-sqaaa-aaaaa-aaacq-cai")
	})
	step("logs", func(t *testing.T, icp *icpTool) {
		icp.onFails("IC0503", "call", id, "trapAfterWrite", "()")
		if logs := icp.on("logs", id, "--identity", "anonymous"); !strings.Contains(logs, "on purpose") {
			t.Errorf("logs:\n%s", logs)
		}
		if logs := icp.on("logs", id, "--since-index", "1000000"); logs != "" {
			t.Errorf("logs after the end:\n%s", logs)
		}
	})
	step("metadata", func(t *testing.T, icp *icpTool) {
		icp.on("install", id, "--wasm", tester, "--mode", "reinstall", "--yes")
		if got := icp.on("metadata", id, "candid:service"); !strings.Contains(got, "incAndTrap") {
			t.Errorf("candid:service\n%s", got)
		}
		icp.on("metadata", id, "motoko:stable-types") // private, and mine
		icp.onFails("not found", "metadata", id, "motoko:stable-types", "--identity", "anonymous")
		// With the interface the tool knows that 1 is a byte.
		icp.wantCall(`(blob "\01\02")`, id, "echo", "(vec { 1; 2 })", "--query")
	})
	step("a call signed apart, sent twice", func(t *testing.T, icp *icpTool) {
		message := filepath.Join(icp.dir, "message")
		icp.on("call", id, "inc", "()", "--sign-only", message, "--candid", absolute(t, "testdata/tester/tester.did"))
		for range 2 { // is executed once
			if got := icp.must("message", "send", message, "--yes"); got != "(1 : nat)" {
				t.Errorf("inc() = %s", got)
			}
		}
	})
	step("stop, start", func(t *testing.T, icp *icpTool) {
		icp.on("stop", id)
		if s := icp.status(id); s.Status != "Stopped" {
			t.Errorf("status %q", s.Status)
		}
		icp.onFails("IC0508", "call", id, "inc", "()")
		icp.on("start", id)
		icp.wantCall("(2 : nat)", id, "inc", "()")
	})
	step("delete", func(t *testing.T, icp *icpTool) {
		before := icp.balance()
		// The tool installs a canister of its own that sends the cycles to the ledger.
		icp.on("delete", id)
		if got := icp.balance() - before; got < 7*trillion {
			t.Errorf("%d cycles came back", got)
		}
		icp.onFails("was not found", "status", id)
	})
	step("cycles", func(t *testing.T, icp *icpTool) {
		before := icp.balance()
		icp.must(append([]string{"cycles", "transfer", "1t", "2vxsx-fae"}, icp.network...)...)
		if spent := before - icp.balance(); spent != trillion+100_000_000 {
			t.Errorf("%d cycles spent", spent)
		}
	})
	step("fetched root key, wrong root key", func(_ *testing.T, icp *icpTool) {
		id := icp.on("create", "--detached", "--quiet")
		icp.network = []string{"--network", n.URL(), "--root-key", "fetch"}
		icp.on("install", id, "--wasm", tester)
		icp.network[3] = "mainnet"
		icp.onFails("ertificate", "call", id, "inc", "()")
	})
	step("project", func(t *testing.T, icp *icpTool) {
		icp.network = nil
		for _, rootKey := range []string{hex.EncodeToString(n.RootKey()), "fetch"} { // the second time upgrades
			writeFile(t, filepath.Join(icp.dir, "icp.yaml"), fmt.Sprintf(projectManifest, counter, n.URL(), rootKey))
			icp.must("deploy", "--environment", "relay", "--yes")
		}
		if got := icp.must("canister", "call", "counter", "get", "()", "--query", "--environment", "relay"); got != "(5 : nat)" {
			t.Errorf("get() = %s", got)
		}
		icp.must("canister", "delete", "counter", "--environment", "relay")
	})
}

const projectManifest = `canisters:
  - name: counter
    build:
      steps:
        - type: pre-built
          path: %s
    init_args: "(5 : nat)"
    settings:
      environment_variables:
        MODE: test
networks:
  - name: relay
    mode: connected
    url: %s
    root-key: %s
environments:
  - name: relay
    network: relay
`

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// largeModule writes a module with 2.5 MB more in a custom section: more than fits in one message.
func largeModule(t *testing.T, from string) string {
	t.Helper()
	filler := make([]byte, 2_500_000)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(filler) // never fails
	section := append([]byte("\x06filler"), filler...)
	module := append(readFile(t, from), 0)
	for size := len(section); ; size >>= 7 {
		if size < 0x80 {
			module = append(module, byte(size))
			break
		}
		module = append(module, byte(size)|0x80)
	}
	name := filepath.Join(t.TempDir(), "large.wasm")
	writeFile(t, name, string(append(module, section...)))
	return name
}

// TestFirstIDs pins the ids that the first canisters get: those of the stand-ins are left out.
func TestFirstIDs(t *testing.T) {
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	for _, want := range []string{"rwlgt-iiaaa-aaaaa-aaaaa-cai", "rrkah-fqaaa-aaaaa-aaaaq-cai", "ryjl3-tyaaa-aaaaa-aaaba-cai",
		"r7inp-6aaaa-aaaaa-aaabq-cai", "rno2w-sqaaa-aaaaa-aaacq-cai"} {
		id, err := n.CreateCanister(candid.Anonymous)
		if err != nil || id.String() != want {
			t.Errorf("%s, %v, want %s", id, err, want)
		}
	}
}
