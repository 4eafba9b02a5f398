package sdk

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/internal/testlog"
)

const byHand = "SDK_TEST_BY_HAND"

// startInProcess is the adapter that the test binary is as a plugin.
func startInProcess(_ context.Context, route *Route) (any, error) {
	if route.Adapter == "base" {
		return route.Base, nil
	}
	fmt.Println("printed by", route.Adapter)
	log.Print("logged")
	route.Log.Warn("of the route", "number", 7)
	return &processAdapter{route.Base}, nil
}

type processAdapter struct{ base *Base }

func (a *processAdapter) Open(ctx context.Context, env Envelope) error { return a.base.Open(ctx, env) }

// Close hangs, whatever its context says.
func (a *processAdapter) Close(context.Context, Principal, ClientKey, bool) error { select {} }

func (a *processAdapter) End() { fmt.Fprintln(os.Stderr, "ended in order") }

// Printed before main, which must not be taken for the handshake.
var _ = func() int {
	if os.Getenv(envContract) != "" {
		fmt.Println("printed before main")
	}
	return 0
}()

// A process is this test binary as a plugin, started as the relay does it.
type process struct {
	contract.PluginClient
	contract.AdapterClient
	relay  *fakeRelay
	server *grpc.Server // of the relay
	client *goplugin.Client
	cmd    *exec.Cmd
	stderr testlog.Book
	addr   net.Addr
}

func newProcess(t testing.TB) *process {
	t.Helper()
	p := &process{relay: &fakeRelay{attached: make(chan struct{})}}
	pki := newCertificates(t)
	dir, err := os.MkdirTemp("", "sdk") // short, unlike t.TempDir: sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "host.sock"))
	if err != nil {
		t.Fatal(err)
	}
	p.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(pki.config)))
	contract.RegisterHostServer(p.server, p.relay)
	contract.RegisterAdapterServer(p.server, p.relay)
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(listener) }()

	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(pki.environment(), envHost+"=unix:"+filepath.Join(dir, "host.sock"), "TMPDIR="+dir)
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: envContract, MagicCookieValue: contractName},
		Plugins:          goplugin.PluginSet{"adapter": noPlugin{}},
		Cmd:              p.cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        pki.config,
		SkipHostEnv:      true,
		Stderr:           &p.stderr,
		Logger:           hclog.NewNullLogger(),
	})
	t.Cleanup(func() {
		p.server.Stop()
		p.client.Kill()
		<-served //nolint:errcheck // it has been stopped
	})
	rpc, err := p.client.Client()
	if err != nil {
		t.Fatalf("%v; %s", err, &p.stderr)
	}
	if err := rpc.Ping(); err != nil {
		t.Fatal(err)
	}
	p.addr = p.client.ReattachConfig().Addr
	conn := rpc.(*goplugin.GRPCClient).Conn
	p.PluginClient, p.AdapterClient = contract.NewPluginClient(conn), contract.NewAdapterClient(conn)
	return p
}

// noPlugin: go-plugin starts the process, the contract does the rest.
type noPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (noPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (noPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// certificates are those of one start.
type certificates struct {
	config        *tls.Config // of the relay, both ways
	ca, cert, key string      // of the plugin
}

func newCertificates(t testing.TB) certificates {
	t.Helper()
	no := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	no(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caRaw, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	no(err)
	leaf := func(serial int64) (cert, key string) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		no(err)
		raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "relay"}, DNSNames: []string{"localhost"},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, ca, k.Public(), caKey)
		no(err)
		der, err := x509.MarshalPKCS8PrivateKey(k)
		no(err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	c := certificates{ca: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caRaw}))}
	c.cert, c.key = leaf(2)
	mine, mineKey := leaf(3)
	pair, err := tls.X509KeyPair([]byte(mine), []byte(mineKey))
	no(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.ca))
	c.config = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, ServerName: "localhost",
	}
	return c
}

func (c certificates) environment() []string {
	return []string{envCA + "=" + c.ca, envCert + "=" + c.cert, envKey + "=" + c.key}
}

// exited waits for the end of the process.
func (p *process) exited(t *testing.T, within time.Duration) {
	t.Helper()
	for end := time.Now().Add(within); !p.client.Exited(); {
		if time.Now().After(end) {
			t.Fatalf("the process goes on; %s", &p.stderr)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A real process, started by go-plugin's client: its calls, its words, its end.
func TestProcess(t *testing.T) {
	p := newProcess(t)
	p.relay.onOpen = func(_ context.Context, req *contract.OpenRequest) (*contract.Outcome, error) {
		return &contract.Outcome{Kind: contract.Outcome_REFUSED, Text: fmt.Sprintf("%d bytes for route %d", len(req.GetEnvelope().GetBytes()), req.Route)}, nil
	}
	if _, err := p.Ping(soon(t), &contract.PingRequest{}); err != nil {
		t.Fatal(err)
	}
	answer, err := p.StartRoute(soon(t), &contract.StartRouteRequest{Route: 9, Adapter: "gate", Canister: aCanister.Bytes()})
	if err != nil || answer.Problem != "" || !slices.Equal(answer.Handles, []contract.Method{contract.Method_OPEN, contract.Method_CLOSE}) {
		t.Fatalf("StartRoute = %v, %v", answer, err)
	}
	outcome, err := p.Open(soon(t), &contract.OpenRequest{Route: 9, Envelope: protoEnv()})
	if err != nil || outcome.Text != "0 bytes for route 9" {
		t.Fatalf("Open = %v, %v", outcome, err)
	}

	// Neither Ctrl-C nor a service manager ends it before the relay does.
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if err := p.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Ping(soon(t), &contract.PingRequest{}); err != nil {
			t.Fatal(err)
		}
	}

	close(p.relay.attached)
	p.exited(t, 10*time.Second)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(p.addr.String()); !os.IsNotExist(err) {
		t.Errorf("the socket stays behind: %v", err)
	}
	words := p.stderr.String()
	for _, want := range []string{
		"printed before main\n", "printed by gate\n", `"level":"INFO","msg":"logged"`,
		`"level":"WARN","msg":"of the route","canister":"` + aCanister.String() + `","number":7`, "ended in order\n",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q on standard error:\n%s", want, words)
		}
	}
}

// A handler that hangs delays the end, and does not prevent it. The relay here
// has not said goodbye: it is gone.
func TestProcessEndsWithAHandlerThatHangs(t *testing.T) {
	p := newProcess(t)
	if _, err := p.StartRoute(soon(t), &contract.StartRouteRequest{Route: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Close(ctx, &contract.CloseRequest{Route: 1, Canister: aCanister.Bytes(), Client: &contract.ClientKey{Principal: []byte{1}}})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("Close = %v", err)
	}
	p.server.Stop()
	p.exited(t, 20*time.Second)
	if words := p.stderr.String(); !strings.Contains(words, "calls have not ended") || !strings.Contains(words, "ended in order") {
		t.Error(words)
	}
}

// Who has no certificate of this start is nobody.
func TestStrangers(t *testing.T) {
	p := newProcess(t)
	stranger := newCertificates(t).config
	known := stranger.Clone()
	known.InsecureSkipVerify = true
	for name, credentials := range map[string]credentials.TransportCredentials{
		"without TLS":            insecure.NewCredentials(),
		"without a certificate":  credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
		"with another authority": credentials.NewTLS(known),
		"that is careful":        credentials.NewTLS(stranger),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := grpc.NewClient("unix:"+p.addr.String(), grpc.WithTransportCredentials(credentials))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := contract.NewPluginClient(conn).Ping(soon(t), &contract.PingRequest{}); status.Code(err) != codes.Unavailable {
				t.Fatalf("Ping = %v", err)
			}
		})
	}
}

// What a start without a relay, or with another one, says.
func TestStartProblems(t *testing.T) {
	pki := newCertificates(t)
	whole := append(pki.environment(), envContract+"=v1", envVersions+"=1", envHost+"=unix:/nowhere/host.sock", "TMPDIR="+t.TempDir())
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(whole), func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	for _, tc := range []struct {
		name string
		env  []string
		want string
	}{
		{"by hand", []string{byHand + "=1"}, "is an adapter of the relay"},
		{"another contract", append(without(envContract), envContract+"=v2"), "speaks version v1 of the contract between the relay and its adapters, and the relay speaks v2"},
		{"another version", append(without(envVersions), envVersions+"=2,3"), "speaks version 1 of the contract between the relay and its adapters, and the relay speaks 2,3"},
		{"no authority", without(envCA), "ICRELAY_TLS_CA has no certificate"},
		{"no key", without(envKey), "ICRELAY_TLS_CERT and ICRELAY_TLS_KEY"},
		{"no relay", without(envHost), "ICRELAY_HOST does not say"},
		{"a relay that is gone", whole, "the relay is not reached"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = tc.env
			var errs strings.Builder
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%v, want exit code 1", err)
			}
			if !strings.Contains(errs.String(), tc.want) {
				t.Errorf("standard error = %q, want %q", errs.String(), tc.want)
			}
			if version := tc.name == "another version"; version && !strings.HasPrefix(string(out), "1|1|unix|") {
				t.Errorf("standard output = %q, want the handshake, from which the relay knows the version", out)
			} else if tc.name == "by hand" && len(out) > 0 {
				t.Errorf("standard output = %q", out)
			}
		})
	}
}

// The handshake is one line, and nothing else is ever on standard output.
func TestHandshake(t *testing.T) {
	pki := newCertificates(t)
	dir, err := os.MkdirTemp("", "sdk")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listener, err := net.Listen("unix", filepath.Join(dir, "h"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(pki.config)))
	relay := &fakeRelay{attached: make(chan struct{})}
	contract.RegisterHostServer(server, relay)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		<-served //nolint:errcheck // it has been stopped
	}()
	cmd := exec.CommandContext(soon(t), os.Args[0])
	cmd.Env = append(pki.environment(), envContract+"=v1", envHost+"=unix:"+filepath.Join(dir, "h"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	line, err := reader.ReadString('\n')
	if want := fmt.Sprintf("1|1|unix|%s/p%d.sock|grpc|\n", dir, cmd.Process.Pid); err != nil || line != want {
		t.Errorf("handshake = %q, %v; want %q", line, err, want)
	}
	close(relay.attached)
	if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
		t.Errorf("after the handshake: %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
