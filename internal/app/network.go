package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/canister"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/localnet"
	"github.com/icrelay/icrelay/localnet/echo"
)

// A network is where the canisters are: the embedded one, or one at a URL.
type network struct {
	url       string
	rootKey   []byte // DER
	client    *ic.Client
	verifier  *ic.Verifier
	canisters map[string]candid.Principal // embedded only
	names     []string                    // of canisters, in the order of the file
	embedded  *localnet.Network           // nil for a network at a URL
}

// connect starts or reaches the network. Canisters of the embedded network
// have their ids afterwards, but no code: relay settings name ids.
func connect(ctx context.Context, cfg *config.Config, log *slog.Logger) (*network, error) {
	n := &network{url: cfg.Network.URL, canisters: make(map[string]candid.Principal)}
	if err := n.open(ctx, cfg, log); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// open fills n; after an error n still has to be closed.
func (n *network) open(ctx context.Context, cfg *config.Config, log *slog.Logger) (err error) {
	if cfg.IsEmbedded() {
		if err := n.startEmbedded(ctx, cfg, log); err != nil {
			return err
		}
	}
	if err := n.findRootKey(ctx, cfg); err != nil {
		return err
	}
	if n.verifier, err = ic.NewVerifier(n.rootKey); err != nil {
		return fmt.Errorf("network.root_key: %w", err)
	}
	if n.client, err = ic.NewClient(ic.Options{URL: n.url, Verifier: n.verifier}); err != nil {
		return fmt.Errorf("network.url: %w", err)
	}
	return nil
}

func (n *network) startEmbedded(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	var err error
	n.embedded, err = localnet.Start(ctx, localnet.Options{Listen: cfg.Network.Listen, Log: log})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("network.listen: %s is in use by another program (a local replica?); stop that one or set network.listen to another port (port 0 lets the system choose)", cfg.Network.Listen)
	}
	if err != nil {
		return fmt.Errorf("embedded network: %w", err)
	}
	n.url = n.embedded.URL()
	return n.create(ctx, cfg.Network.Canisters, log)
}

// create makes the embedded network's canisters, without code, and tells them
// each other's ids.
func (n *network) create(ctx context.Context, canisters []config.Canister, log *slog.Logger) error {
	for _, c := range canisters {
		id, err := n.embedded.CreateCanister()
		if err != nil {
			return fmt.Errorf("embedded network: canister %s: %w", c.Name, err)
		}
		n.canisters[c.Name] = id
		n.names = append(n.names, c.Name)
	}
	variables := n.environment(log)
	for _, id := range n.canisters {
		if err := n.embedded.SetEnvironment(ctx, id, variables); err != nil {
			return fmt.Errorf("embedded network: %w", err)
		}
	}
	return nil
}

// environment tells the canisters each other's ids, under the names that
// icp-cli uses on every network.
func (n *network) environment(log *slog.Logger) map[string]string {
	const maxName = 128 // bytes of a variable's name
	variables := make(map[string]string, len(n.canisters))
	for _, name := range n.names {
		variable := "PUBLIC_CANISTER_ID:" + name
		if len(variable) > maxName {
			log.Warn("this canister's name is too long for an environment variable, so other canisters are not told its id", "name", name)
			continue
		}
		variables[variable] = n.canisters[name].String()
	}
	return variables
}

// findRootKey takes the key that is known, and asks only a network on this
// machine for its own (the configuration's checks see to that).
func (n *network) findRootKey(ctx context.Context, cfg *config.Config) error {
	switch {
	case n.embedded != nil:
		n.rootKey = n.embedded.RootKey()
	case cfg.Network.RootKey != "":
		key, err := hex.DecodeString(cfg.Network.RootKey)
		if err != nil {
			return fmt.Errorf("network.root_key: %w", err)
		}
		n.rootKey = key
	case cfg.Network.IsMainnet():
		n.rootKey = ic.MainnetRootKey()
	default:
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		client, err := ic.NewClient(ic.Options{URL: n.url})
		if err != nil {
			return fmt.Errorf("network.url: %w", err)
		}
		defer client.Close()
		status, err := client.Status(ctx)
		if err != nil {
			return fmt.Errorf("network.url: %s does not answer as a network: %w", n.url, err)
		}
		n.rootKey = status.RootKey
	}
	return nil
}

// install gives the embedded canisters their code.
func (n *network) install(ctx context.Context, cfg *config.Config, gateway candid.Principal, log *slog.Logger) error {
	if n.embedded == nil {
		return nil
	}
	for i, c := range cfg.Network.Canisters {
		start := time.Now()
		if err := n.installCanister(ctx, cfg, c, gateway); err != nil {
			return fmt.Errorf("network.canister[%d]: %s cannot be installed: %w", i, c.Name, err)
		}
		log.Debug("canister installed", "name", c.Name, "id", n.canisters[c.Name].String(), "took", time.Since(start))
	}
	return nil
}

// installCanister gives one canister its code.
func (n *network) installCanister(ctx context.Context, cfg *config.Config, c config.Canister, gateway candid.Principal) error {
	id := n.canisters[c.Name]
	switch builtin, _ := c.Builtin(); builtin {
	case "relay":
		arg, err := n.relayArgument(cfg, c, gateway)
		if err != nil {
			return err
		}
		return n.embedded.Install(ctx, id, canister.Wasm32(), arg)
	case "echo":
		return n.embedded.InstallBuiltin(ctx, id, echo.New())
	}
	code, err := os.ReadFile(c.Wasm)
	if err != nil {
		return err
	}
	return n.embedded.Install(ctx, id, code, candid.EncodeEmpty())
}

// relayArgument configures a relay canister by the route that leads to it.
func (n *network) relayArgument(cfg *config.Config, c config.Canister, gateway candid.Principal) ([]byte, error) {
	for _, r := range cfg.Routes {
		if id, err := config.Principal(r.Canister, n.canisters); err != nil || id != n.canisters[c.Name] || r.Relay == nil {
			continue
		}
		settings, err := relaySettings(r.Relay, n.canisters, gateway)
		if err != nil {
			return nil, err
		}
		return settings.Argument()
	}
	return nil, fmt.Errorf(`no route with adapter = "relay" leads to %q, so the relay canister would have nothing to do`, c.Name)
}

// firstMessageDelay gives stock clients the time to fetch the root key; that of
// mainnet they have. See bridge.Options.
func (n *network) firstMessageDelay(cfg *config.Config) time.Duration {
	if n.embedded == nil && cfg.Network.IsMainnet() {
		return 0
	}
	return 500 * time.Millisecond
}

func (n *network) info() bridge.Info {
	info := bridge.Info{
		Network:   bridge.NetworkInfo{URL: n.url, RootKeyHex: hex.EncodeToString(n.rootKey)},
		Canisters: make(map[string]string, len(n.canisters)),
	}
	for name, id := range n.canisters {
		info.Canisters[name] = id.String()
	}
	return info
}

func (n *network) close() {
	if n.client != nil {
		n.client.Close()
	}
	if n.embedded != nil {
		_ = n.embedded.Close() // everything in it is gone with it
	}
}
