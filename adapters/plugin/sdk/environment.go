package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What the relay tells a plugin in its environment. The first two and the
// version are go-plugin's words for it.
const (
	envContract  = "ICRELAY_ADAPTER"
	envVersions  = "PLUGIN_PROTOCOL_VERSIONS"
	envSocketDir = "PLUGIN_UNIX_SOCKET_DIR"
	envCA        = "ICRELAY_TLS_CA"
	envCert      = "ICRELAY_TLS_CERT"
	envKey       = "ICRELAY_TLS_KEY"
	envHost      = "ICRELAY_HOST"
	envLogLevel  = "ICRELAY_LOG_LEVEL"

	contractName    = "v1" // the value of envContract
	contractVersion = 1    // in the handshake
)

// An environment is what a plugin needs to find the relay, and to be found.
type environment struct {
	host      string // where the relay listens, as gRPC writes it
	socketDir string // where to listen; empty: wherever there is room
	tls       *tls.Config
}

// readEnvironment reads and checks the environment, and takes the key out of
// it: programs that the adapter starts have no use for it.
func readEnvironment() (environment, error) {
	var env environment
	switch version := os.Getenv(envContract); version {
	case contractName:
	case "":
		return env, errors.New(usage())
	default:
		return env, fmt.Errorf("%s speaks version %s of the contract between the relay and its adapters, and the relay speaks %s: build it with the kit of that relay's version",
			program(), contractName, version)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(os.Getenv(envCA))) {
		return env, fmt.Errorf("%s has no certificate", envCA)
	}
	pair, err := tls.X509KeyPair([]byte(os.Getenv(envCert)), []byte(os.Getenv(envKey)))
	if err != nil {
		return env, fmt.Errorf("%s and %s: %w", envCert, envKey, err)
	}
	// Both directions are the same: the relay has made the certificates for
	// this one start, and nobody else has any.
	env.tls = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ServerName:   "localhost",
	}
	if env.host = os.Getenv(envHost); env.host == "" {
		return env, fmt.Errorf("%s does not say where the relay listens", envHost)
	}
	if env.socketDir = os.Getenv(envSocketDir); env.socketDir == "" {
		// The relay removes its folder, also when this process is killed.
		if socket, ok := strings.CutPrefix(env.host, "unix:"); ok {
			env.socketDir = filepath.Dir(socket)
		}
	}
	for _, name := range []string{envContract, envCA, envCert, envKey} {
		_ = os.Unsetenv(name)
	}
	return env, nil
}

// otherVersions says so if the relay speaks no version that this kit does.
func otherVersions() error {
	offered := os.Getenv(envVersions)
	if offered == "" || slices.Contains(strings.Split(offered, ","), strconv.Itoa(contractVersion)) {
		return nil
	}
	return fmt.Errorf("%s speaks version %d of the contract between the relay and its adapters, and the relay speaks %s: build it with the kit of that relay's version",
		program(), contractVersion, offered)
}

func program() string {
	name := filepath.Base(os.Args[0])
	return strings.TrimSuffix(name, ".exe")
}

// usage is for somebody who starts the program by hand.
func usage() string {
	file, err := os.Executable()
	if err != nil {
		file = os.Args[0]
	}
	return fmt.Sprintf(`%[1]s is an adapter of the relay, which starts it by itself. Name it in the relay's config.toml,

    [[adapter]]
    name    = %[1]q
    command = [%[2]q]

and say adapter = %[1]q in a [[route]]. To test it: relay adapter test %[3]s`, program(), file, file)
}
