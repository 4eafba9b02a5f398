package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// An incarnation is one run of the process: its program, the connection to it,
// and the services for it.
type incarnation struct {
	process *Process
	program *program
	folder  string // of the sockets; removed at the end
	sockets string // the same, of go-plugin
	server  *grpc.Server
	serving chan struct{} // closed when the server has ended
	conn    *grpc.ClientConn
	plugin  contract.PluginClient
	adapter contract.AdapterClient

	ctx     context.Context // ends when nothing more is asked of the process
	lose    context.CancelFunc
	leaving chan struct{} // closed when the process should end: its Attach streams do
	tasks   sync.WaitGroup

	underway underway
	given    atomic.Int64 // calls of the relay to the process under way
	asked    atomic.Int64 // calls of the process to the host under way
	passed   atomic.Int64 // calls of the process to bases under way
	attached atomic.Int64
	refusals refusals
}

// launch starts an incarnation. It returns when the process answers.
func (p *Process) launch(ctx context.Context) (_ *incarnation, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.StartTimeout, errStartTimeout)
	defer cancel()
	file, err := findProgram(p.cfg)
	if err != nil {
		return nil, err
	}
	if err := checkSum(file, p.cfg.SHA256); err != nil {
		return nil, err
	}
	keys, err := newKeys(time.Now())
	if err != nil {
		return nil, err
	}
	i := &incarnation{process: p, serving: make(chan struct{}), leaving: make(chan struct{})}
	i.ctx, i.lose = context.WithCancel(context.Background())
	socket, err := i.serve(keys.server())
	if err != nil {
		i.lose()
		return nil, err
	}
	defer func() {
		if err != nil {
			i.end(false)
		}
	}()
	p.lines.forget()
	command := exec.Command(file, p.cfg.Command[1:]...) //nolint:gosec,noctx // the configuration names it; it is killed by end
	command.Args[0] = p.cfg.Command[0]
	command.Dir = p.cfg.Dir
	command.Env = environment(p.cfg, p.host, keys, socket)
	i.program = newProgram(command, p.cfg.Command[0], p.lines)
	address, err := i.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := i.connect(ctx, address, keys.client()); err != nil {
		return nil, err
	}
	return i, nil
}

var errStartTimeout = errors.New("start_timeout")

// serve opens the socket for the process's calls.
func (i *incarnation) serve(config *tls.Config) (socket string, err error) {
	i.folder, err = os.MkdirTemp("", "relay") // short: a socket's path has about 100 bytes
	if err != nil {
		return "", fmt.Errorf("folder for sockets: %w", err)
	}
	socket = filepath.Join(i.folder, "host")
	listener, err := net.Listen("unix", socket) //nolint:noctx // does not wait
	if err != nil {
		_ = os.RemoveAll(i.folder)
		return "", fmt.Errorf("socket for the adapter: %w (is TMPDIR a long path?)", err)
	}
	i.server = i.newServer(config)
	go func() {
		defer close(i.serving)
		_ = i.server.Serve(netutil.LimitListener(listener, maxConnections))
	}()
	return socket, nil
}

// start has go-plugin start the program and read its handshake.
func (i *incarnation) start(ctx context.Context) (net.Addr, error) {
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshakeConfig(),
		Plugins:          goplugin.PluginSet{},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     i.process.cfg.StartTimeout + time.Second, // ctx ends before
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, folder string) (runner.Runner, error) {
			i.sockets = folder
			i.program.command.Env = append(i.program.command.Env, spec.Env...)
			return i.program, nil
		},
	})
	type result struct {
		address net.Addr
		err     error
	}
	// What client starts besides ends with the program. Its own Client and Kill
	// are not used: they wait for a program that says nothing, and Kill leaves
	// goroutines behind if it has already ended.
	done := make(chan result, 1)
	go func() {
		address, err := client.Start()
		done <- result{address, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, i.startProblem(r.err)
		}
		return r.address, nil
	case <-ctx.Done():
		i.program.kill()
		<-done
		if errors.Is(context.Cause(ctx), errStartTimeout) {
			return nil, i.withLastWords(fmt.Errorf("it has printed no handshake line within start_timeout (%s)", i.process.cfg.StartTimeout))
		}
		return nil, context.Cause(ctx)
	}
}

// startProblem says in one sentence why there is no handshake.
func (i *incarnation) startProblem(err error) error {
	problem := i.program.first.why()
	switch {
	case !i.program.isStarted():
		return fmt.Errorf("command: %w", err)
	case problem == nil:
		return i.withLastWords(err)
	case errors.Is(problem, errNoLine) && i.program.hasExited(time.Second) && !i.program.wasKilled():
		return i.withLastWords(fmt.Errorf("%s before its handshake line", i.program.ending()))
	}
	return i.withLastWords(problem)
}

// withLastWords adds the last lines of the program's log to an error.
func (i *incarnation) withLastWords(err error) error {
	i.program.kill()
	i.program.hasExited(time.Second)
	if words := i.process.lines.lastWords(); words != "" {
		return fmt.Errorf("%w; its last lines: %s", err, words)
	}
	return err
}

// The sizes on the connections. Messages of 4 MiB are what gRPC takes
// everywhere; larger windows than gRPC's own let parts of a batch follow each
// other, and keep it from measuring a socket on this machine.
const (
	maxMessage       = 4 << 20
	streamWindow     = 1 << 20
	connectionWindow = 4 << 20

	// Of the metadata of a call, in which the text of an error is, three bytes for each of its own.
	maxHeaders = 64 << 10

	// A process needs one connection, and programs with several processes one each.
	maxConnections = 64
)

// connect connects to the process and has it answer.
func (i *incarnation) connect(ctx context.Context, address net.Addr, config *tls.Config) error {
	conn, err := grpc.NewClient("passthrough:///"+serverName,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network(), address.String())
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: connectBackoff, MinConnectTimeout: connectTimeout}),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return fmt.Errorf("connection to the adapter: %w", err)
	}
	i.conn = conn
	i.plugin, i.adapter = contract.NewPluginClient(conn), contract.NewAdapterClient(conn)
	for {
		_, err := i.plugin.Ping(ctx, &contract.PingRequest{})
		if err == nil || status.Code(err) == codes.Unimplemented {
			break
		}
		select {
		case <-i.program.exited:
			return i.withLastWords(fmt.Errorf("%s right after its handshake line", i.program.ending()))
		case <-ctx.Done():
			return i.withLastWords(fmt.Errorf("it does not answer at %s within start_timeout (%s): %s (is that its socket, and does it speak TLS with ICRELAY_TLS_CERT and ICRELAY_TLS_KEY?)",
				address, i.process.cfg.StartTimeout, shorten(status.Convert(err).Message(), 300)))
		case <-time.After(20 * time.Millisecond):
		}
	}
	i.tasks.Go(i.drainStdio)
	return nil
}

// watch waits for the end of the incarnation and returns its cause: the program
// has ended, says nothing any more, or has too much memory. nil means that ctx has ended.
func (i *incarnation) watch(ctx context.Context) error {
	sick := make(chan error, 2)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	i.tasks.Go(func() { sick <- every(ctx, i.process.timing.ping, i.ping) })
	i.tasks.Go(func() { sick <- every(ctx, i.process.timing.weigh, i.weigh) })
	select {
	case <-ctx.Done():
		return nil
	case <-i.program.exited:
		return errors.New(i.program.ending())
	case err := <-sick:
		return err
	}
}

// every looks again and again, until something is wrong. nil means that ctx has ended.
func every(ctx context.Context, pause time.Duration, look func(context.Context) error) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := look(ctx); err != nil {
			return err
		}
	}
}

// ping asks for a sign of life, for as long as one may take.
func (i *incarnation) ping(ctx context.Context) error {
	timeout := i.process.timing.pingTimeout
	for begin := time.Now(); ; {
		asked, end := context.WithDeadline(ctx, begin.Add(timeout))
		_, err := i.plugin.Ping(asked, &contract.PingRequest{})
		end()
		if err == nil || status.Code(err) == codes.Unimplemented || ctx.Err() != nil {
			return nil
		}
		if time.Since(begin) >= timeout {
			return fmt.Errorf("it has not answered for %s: %s", timeout, shorten(status.Convert(err).Message(), 300))
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return nil
		}
	}
}

// weigh looks at the process's memory, where that is known.
func (i *incarnation) weigh(context.Context) error {
	if size, known := residentMemory(i.program.command.Process.Pid); known && size > i.process.cfg.Memory {
		return fmt.Errorf("it has %d MiB of memory, and may have %d (memory)", size>>20, i.process.cfg.Memory>>20)
	}
	return nil
}

// end ends whatever there is of the incarnation. A process that may finish is
// given a moment, and needs no more than another one after that.
func (i *incarnation) end(mayFinish bool) {
	i.lose()
	close(i.leaving)
	if i.program != nil && i.program.isStarted() {
		if mayFinish {
			i.program.hasExited(i.process.timing.grace)
		}
		i.program.kill()
		if !i.program.hasExited(killPatience) {
			i.process.log.Error("the adapter's process cannot be killed", "pid", i.program.ID())
		}
	}
	if i.conn != nil {
		_ = i.conn.Close()
	}
	i.tasks.Wait()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		i.server.Stop() // waits for the calls, whose contexts have ended
		<-i.serving
	}()
	select {
	case <-stopped:
	case <-time.After(killPatience):
		i.process.log.Warn("calls of the adapter go on although it has ended")
	}
	for _, folder := range []string{i.folder, i.sockets} {
		if folder != "" {
			_ = os.RemoveAll(folder)
		}
	}
}

// killPatience is for what the kernel does at once.
const killPatience = 500 * time.Millisecond
