package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testlog"
	"github.com/icrelay/icrelay/internal/testnet"
)

// TestHAProxy is the example in examples/haproxy: three gateways behind one
// address. One of them is killed while clients talk through all three. Its
// clients come back through the others, whose clients notice nothing, and when it
// runs again new clients reach it.
func TestHAProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	switch {
	case err == nil:
	case os.Getenv("RELAY_REQUIRE_HAPROXY") != "":
		t.Fatal(err)
	default:
		t.Skip("LEFT OUT: haproxy is not installed")
	}
	const clients = 30
	f := newFleet(t, haproxy)
	talkers := make([]*talker, clients)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range talkers {
		talkers[i] = &talker{fleet: f, identity: testnet.Identity(t)}
		group.Go(func() { talkers[i].talk(ctx) })
	}
	defer group.Wait()
	defer stop()

	f.eventually("all clients talk", func() bool { return f.talking(talkers, 3) == clients })
	before := f.byGateway(talkers)
	if len(before) != 3 {
		t.Fatalf("clients are spread over %d gateways: %v", len(before), before)
	}
	victim := f.principals[0]
	_ = f.gateways[0].command.Process.Kill()
	<-f.gateways[0].ended
	killed := time.Now()
	f.eventually("its clients are back", func() bool { return f.byGateway(talkers)[victim] == 0 && f.talking(talkers, 3) == clients })
	t.Logf("before %v; %s after the kill all %d clients talked again, through %v", before, time.Since(killed).Round(time.Millisecond), clients, f.byGateway(talkers))
	for _, x := range talkers {
		if lost, home := x.lost.Load(), x.first.Load(); home != nil && *home != victim && lost != 0 {
			t.Errorf("a client of another gateway was cut off %d times", lost)
		}
	}

	f.start(0)
	if f.principals[0] != victim {
		t.Errorf("it comes back as %s, was %s", f.principals[0], victim)
	}
	f.eventually("a new client reaches the gateway that was killed", func() bool {
		conn, err := f.dial(ctx, testnet.Identity(t))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		return conn.Gateway() == victim
	})
}

// fleet is a network, three gateways and HAProxy.
type fleet struct {
	*testing.T
	settings   settings
	dir        string
	network    *process
	gateways   [3]*process
	listen     [3]string
	principals [3]candid.Principal
	verifier   *ic.Verifier
	canister   candid.Principal
	url        string
}

func newFleet(t *testing.T, haproxy string) *fleet {
	f := &fleet{T: t, settings: settings{relay: relayBinary(t)}, dir: t.TempDir()}
	var err error
	f.network, err = startNetwork(f.settings, f.dir)
	f.must(err)
	t.Cleanup(f.network.stop)
	f.canister, err = candid.ParsePrincipal(f.network.said["canister"])
	f.must(err)
	network, err := ic.NewClient(ic.Options{URL: f.network.said["network"]})
	f.must(err)
	defer network.Close()
	status, err := network.Status(t.Context())
	f.must(err)
	f.verifier, err = ic.NewVerifier(status.RootKey)
	f.must(err)

	config, err := os.ReadFile(filepath.Join(testnet.Root(), "examples", "haproxy", "haproxy.cfg"))
	f.must(err)
	text := string(config)
	for i := range f.gateways {
		f.listen[i] = mustFree(t)
		f.start(i)
		text = replaceOnce(t, text, fmt.Sprintf("127.0.0.1:808%d", i+1), f.listen[i])
	}
	front := mustFree(t)
	text = replaceOnce(t, text, "127.0.0.1:8080", front)
	f.url = "ws://" + front
	file := filepath.Join(f.dir, "haproxy.cfg")
	f.must(os.WriteFile(file, []byte(text), 0o600))
	f.balance(haproxy, file)
	return f
}

// balance runs HAProxy until the test ends.
func (f *fleet) balance(haproxy, file string) {
	command := exec.Command(haproxy, "-db", "-f", file) //nolint:gosec // found on this machine
	var log testlog.Book
	command.Stdout, command.Stderr = &log, &log
	f.must(command.Start())
	f.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if f.Failed() {
			f.Logf("HAProxy said:\n%s", log.String())
		}
	})
}

// start starts a gateway where it was before, if it was.
func (f *fleet) start(i int) {
	f.Helper()
	p, err := startGateway(f.settings, f.dir, f.listen[i], i, f.network)
	f.must(err)
	f.Cleanup(p.stop)
	f.gateways[i] = p
	f.principals[i], err = candid.ParsePrincipal(p.said["gateway"])
	f.must(err)
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) eventually(what string, ok func() bool) {
	f.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("not within a minute: %s", what)
		}
	}
}

func (f *fleet) dial(ctx context.Context, identity ic.Identity) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Dial(ctx, client.Options{URL: f.url, Canister: f.canister, Identity: identity, Verifier: f.verifier, CloseTimeout: time.Second})
}

// talking counts the clients that have had so many answers since they connected last.
func (f *fleet) talking(talkers []*talker, answers int64) (n int) {
	for _, x := range talkers {
		if x.answers.Load() >= answers {
			n++
		}
	}
	return n
}

// byGateway counts clients by the gateway that they talk through.
func (f *fleet) byGateway(talkers []*talker) map[candid.Principal]int {
	count := make(map[candid.Principal]int)
	for _, x := range talkers {
		if gateway := x.gateway.Load(); gateway != nil {
			count[*gateway]++
		}
	}
	return count
}

// A talker sends, waits for its echo, and sends again. When its connection ends
// it connects anew.
type talker struct {
	fleet    *fleet
	identity ic.Identity

	first, gateway atomic.Pointer[candid.Principal] // of the first connection, and of this one
	answers        atomic.Int64                     // on this connection
	lost           atomic.Int64                     // connections
}

func (x *talker) talk(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := x.fleet.dial(ctx, x.identity)
		if err != nil {
			time.Sleep(100 * time.Millisecond) // HAProxy may know of no gateway yet
			continue
		}
		gateway := conn.Gateway()
		x.first.CompareAndSwap(nil, &gateway)
		x.gateway.Store(&gateway)
		x.echo(ctx, conn)
		x.gateway.Store(nil)
		x.answers.Store(0)
		if ctx.Err() == nil {
			x.lost.Add(1)
		}
		_ = conn.Close()
	}
}

// echo talks until the connection ends.
func (x *talker) echo(ctx context.Context, conn *client.Conn) {
	for {
		if err := conn.Send(ctx, []byte("hello")); err != nil {
			return
		}
		if _, err := conn.Receive(ctx); err != nil {
			return
		}
		x.answers.Add(1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func mustFree(t *testing.T) string {
	t.Helper()
	address, err := freeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func replaceOnce(t *testing.T, text, from, to string) string {
	t.Helper()
	if strings.Count(text, from) != 1 {
		t.Fatalf("%s is %d times in the example", from, strings.Count(text, from))
	}
	return strings.Replace(text, from, to, 1)
}
