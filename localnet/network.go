package localnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/httpstop"
	"github.com/icrelay/icrelay/localnet/execution"
	"github.com/icrelay/icrelay/localnet/standin"
)

const (
	// sweepInterval is how often expired calls are forgotten.
	sweepInterval = 5 * time.Second
	// closeTimeout is how long Close lets requests finish before it cuts them off.
	closeTimeout = 5 * time.Second
)

// Options configure a Network. The zero value of every field is usable.
type Options struct {
	// Listen is the address of the HTTP interface, "host:port". Port 0 takes a
	// free one. Default: "127.0.0.1:0".
	Listen string
	// Log receives what the network and its canisters have to say. Default: discarded.
	Log *slog.Logger
	// Now is the clock of certificates and canisters. Default: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// machine is what the HTTP interface needs of the canisters' machine.
type machine interface {
	Submit(in execution.Ingress, done func(execution.Result)) error
	Query(ctx context.Context, sender, canister candid.Principal, method string, arg []byte) execution.Result
	Info(id candid.Principal) (execution.CanisterInfo, bool)
	Canisters() []candid.Principal
	Version() uint64
}

var _ machine = (*execution.Machine)(nil)

// Network is a running embedded network.
type Network struct {
	log       *slog.Logger
	now       func() time.Time
	url       string
	rootKey   []byte // DER
	subnet    candid.Principal
	node      *node
	verifier  *ic.Verifier // of canister signatures, which this network has certified itself
	canisters *execution.Machine
	machine   machine // canisters, or what a test puts in its place
	requests  *requests
	certifier *certifier

	syncTimeout time.Duration
	inFlight    atomic.Int64

	server    *http.Server
	fresh     httpstop.Fresh
	closing   chan struct{} // closed when Close begins
	closeOnce sync.Once
	closeErr  error
	wg        sync.WaitGroup

	// life is held for reading by every handler, and taken by Close when the
	// server has stopped, which so waits for the last of them.
	life   sync.RWMutex
	closed bool // guarded by life
}

// Start makes the keys and starts a network without canisters. ctx bounds the
// start only: the network runs until Close. If the address is taken, the error
// names it and wraps the system's.
func Start(ctx context.Context, opts Options) (*Network, error) {
	opts = opts.withDefaults()
	// The address first: it is what usually goes wrong, and costs nothing.
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded network: cannot listen on %s: %w", opts.Listen, err)
	}
	n, err := newNetwork(opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded network: %w", err), listener.Close())
	}
	n.url = "http://" + reachable(listener.Addr())
	n.serve(listener)
	return n, nil
}

// reachable is the address to give to agents: a listener on all interfaces is
// reached on this machine's own.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// newNetwork makes everything but the goroutines of the HTTP interface.
func newNetwork(opts Options) (*Network, error) {
	key, err := ic.GenerateBLSKey()
	if err != nil {
		return nil, fmt.Errorf("make the root key: %w", err)
	}
	node, err := newNode()
	if err != nil {
		return nil, err
	}
	rootKey := key.PublicKeyDER()
	verifier, err := ic.NewVerifier(rootKey)
	if err != nil {
		return nil, err
	}
	alias, err := candid.ParsePrincipal(mainnetRootSubnet)
	if err != nil {
		return nil, err
	}
	n := &Network{
		log:         opts.Log,
		now:         opts.Now,
		rootKey:     rootKey,
		subnet:      candid.SelfAuthenticating(rootKey),
		node:        node,
		verifier:    verifier,
		requests:    newRequests(opts.Now),
		syncTimeout: syncCallTimeout,
		closing:     make(chan struct{}),
	}
	n.certifier = &certifier{
		log:      opts.Log,
		now:      opts.Now,
		key:      key,
		rootKey:  rootKey,
		subnet:   n.subnet,
		alias:    alias,
		node:     node,
		requests: n.requests,
		ranges:   rangesTree(n.subnet),
		data:     make(map[candid.Principal]dataCertificate),
	}
	n.canisters = execution.New(execution.Options{
		Log:             opts.Log,
		Now:             opts.Now,
		DataCertificate: n.certifier.dataCertificate,
		RootKey:         rootKey,
		Subnet:          n.subnet,
		Natives:         standin.Canisters(n.subnet, alias),
	})
	n.setMachine(n.canisters)
	return n, nil
}

func (n *Network) setMachine(m machine) {
	n.machine = m
	n.certifier.machine = m
}

func (n *Network) serve(listener net.Listener) {
	n.server = &http.Server{
		Handler:           n.handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         n.fresh.Track,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.wg.Go(func() {
		if err := n.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("embedded network: the HTTP server ended", "error", err)
		}
	})
	n.wg.Go(n.janitor)
}

// janitor forgets expired calls until the network closes.
func (n *Network) janitor() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-n.closing:
			return
		case <-ticker.C:
			n.requests.sweep()
		}
	}
}

// URL is the address that agents are given, without a path.
func (n *Network) URL() string { return n.url }

// RootKey is the DER form of the key that certificates are signed with. It
// differs from start to start.
func (n *Network) RootKey() []byte { return n.rootKey }

// Subnet is the id of the one subnet.
func (n *Network) Subnet() candid.Principal { return n.subnet }

// Machine gives direct access to the canisters, past the HTTP interface.
func (n *Network) Machine() *execution.Machine { return n.canisters }

// CreateCanister makes an empty canister. Without controllers nobody but the
// process can change it.
func (n *Network) CreateCanister(controllers ...candid.Principal) (candid.Principal, error) {
	id, err := n.canisters.CreateCanister(controllers)
	if err != nil {
		return "", fmt.Errorf("create a canister: %w", err)
	}
	return id, nil
}

// SetEnvironment replaces a canister's environment variables, by name. A name
// or a value has at most 128 bytes.
func (n *Network) SetEnvironment(ctx context.Context, id candid.Principal, variables map[string]string) error {
	if err := n.canisters.SetEnvironment(ctx, id, variables); err != nil {
		return fmt.Errorf("environment variables of %s: %w", id, err)
	}
	return nil
}

// Install installs code in an empty canister and waits for its initialisation.
// The canister sees its first controller as the installer, or the anonymous
// principal if it has none.
func (n *Network) Install(ctx context.Context, id candid.Principal, wasm, arg []byte) error {
	sender := candid.Anonymous
	if info, ok := n.canisters.Info(id); ok && len(info.Controllers) > 0 {
		sender = info.Controllers[0]
	}
	if err := n.canisters.Install(ctx, id, execution.ModeInstall, wasm, arg, sender); err != nil {
		return fmt.Errorf("install %s: %w", id, err)
	}
	return nil
}

// InstallBuiltin puts a canister written in Go, such as those of the packages
// below this one, in the place of an empty canister. Nobody can stop, change or
// delete it after that.
func (n *Network) InstallBuiltin(ctx context.Context, id candid.Principal, native *execution.Native) error {
	if err := n.canisters.InstallNative(ctx, id, native); err != nil {
		return fmt.Errorf("install a builtin canister in %s: %w", id, err)
	}
	return nil
}

// Close ends the network: calls that wait are answered with 202, then the HTTP
// server and the canisters stop. It returns when every goroutine has ended, and
// may be called again.
func (n *Network) Close() error {
	n.closeOnce.Do(func() {
		close(n.closing)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		n.closeErr = n.fresh.ShutDown(ctx, n.server)
		n.life.Lock()
		n.closed = true
		n.life.Unlock()
		n.wg.Wait()
		n.closeErr = errors.Join(n.closeErr, n.canisters.Close())
	})
	return n.closeErr
}
