package bench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/config"
)

// newVerifier knows the network's root key: the one that is given, mainnet's
// own, or what a network on this machine says.
func newVerifier(ctx context.Context, o Options) (*ic.Verifier, error) {
	key, err := rootKey(ctx, o)
	if err != nil {
		return nil, err
	}
	verifier, err := ic.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("--root-key: %w", err)
	}
	return verifier, nil
}

func rootKey(ctx context.Context, o Options) ([]byte, error) {
	if o.RootKey != "" {
		key, err := hex.DecodeString(o.RootKey)
		if err != nil {
			return nil, fmt.Errorf("--root-key: must be the hexadecimal DER of the network's public key: %w", err)
		}
		return key, nil
	}
	if (&config.Network{URL: o.Network}).IsMainnet() {
		return ic.MainnetRootKey(), nil
	}
	if !isHere(o.Network) {
		return nil, errors.New("--root-key: needed for a network that is neither mainnet nor on this machine; a gateway's /info has it")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, err := ic.NewClient(ic.Options{URL: o.Network})
	if err != nil {
		return nil, fmt.Errorf("--network: %w", err)
	}
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("--network: %s does not answer as a network: %w", o.Network, err)
	}
	return status.RootKey, nil
}

// isHere reports whether a URL leads to this machine.
func isHere(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
