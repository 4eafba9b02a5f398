// Package testnet starts an embedded network with real canisters for tests.
package testnet

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet"
)

// A Network is an embedded network that ends with the test, and what a
// gateway needs to use it.
type Network struct {
	*localnet.Network
	Verifier *ic.Verifier
	Client   *ic.Client
	t        testing.TB
}

// Start starts a network on a port of the system's choice.
func Start(t testing.TB) *Network {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	network, err := localnet.Start(t.Context(), localnet.Options{Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &Network{Network: network, t: t}
	if n.Verifier, err = ic.NewVerifier(network.RootKey()); err != nil {
		t.Fatal(err)
	}
	n.Client = n.client(network.URL())
	return n
}

func (n *Network) client(url string) *ic.Client {
	n.t.Helper()
	client, err := ic.NewClient(ic.Options{URL: url, Verifier: n.Verifier})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(client.Close)
	return client
}

// DeadClient returns a client of an address where nothing listens.
func (n *Network) DeadClient() *ic.Client {
	n.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	_ = listener.Close()
	return n.client(url)
}

// Create makes an empty canister.
func (n *Network) Create() candid.Principal {
	n.t.Helper()
	id, err := n.CreateCanister()
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// InstallFile installs a Wasm file, named from the project's root.
func (n *Network) InstallFile(id candid.Principal, file string, arg []byte) {
	n.t.Helper()
	n.InstallCode(id, Module(n.t, file), arg)
}

// EchoFile is a canister with the CDK's interface that sends messages back.
const EchoFile = "e2e/canisters/echo/echo.wasm"

// Module reads a Wasm file, named from the project's root. ECHO_WASM names
// another file that is taken for EchoFile: the same with the official CDK.
func Module(t testing.TB, file string) []byte {
	t.Helper()
	path := filepath.Join(Root(), file)
	if other := os.Getenv("ECHO_WASM"); other != "" && file == EchoFile {
		path = other
	}
	code, err := os.ReadFile(path) //nolint:gosec // tests name their own files
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// InstallCode installs a Wasm module.
func (n *Network) InstallCode(id candid.Principal, code, arg []byte) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Install(ctx, id, code, arg); err != nil {
		n.t.Fatal(err)
	}
}

// Identity makes a new Ed25519 identity.
func Identity(t testing.TB) ic.Identity {
	t.Helper()
	identity, err := ic.NewEd25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// Root is the project's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
