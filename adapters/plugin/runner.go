package plugin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// A program is one run of the adapter's command, for go-plugin to start. It has
// a process group of its own, so that nothing of it stays behind, and reads
// what the program prints, however much that is.
type program struct {
	argv0   string
	lines   *lineLog
	command *exec.Cmd

	first *firstLine // of standard output

	stdout, stderr *os.File // the ends that are read
	pumps          sync.WaitGroup
	closing        chan struct{} // closed when the pipes have to be let go

	mu      sync.Mutex
	killed  bool
	started bool
	gone    bool

	exited chan struct{} // closed when the process has ended and its last lines were read
	err    error         // how it ended; after exited
}

var _ runner.Runner = (*program)(nil)

func newProgram(command *exec.Cmd, argv0 string, lines *lineLog) *program {
	return &program{
		argv0:   argv0,
		command: command,
		lines:   lines,
		first:   newFirstLine(),
		closing: make(chan struct{}),
		exited:  make(chan struct{}),
	}
}

// drainPatience is how long the output of a program that has ended is read on:
// somebody who has left its process group may hold the pipes open.
const drainPatience = 200 * time.Millisecond

// Start implements runner.Runner.
func (p *program) Start(context.Context) (err error) {
	outs, err := pipes(&p.stdout, &p.stderr)
	if err != nil {
		close(p.exited)
		return err
	}
	p.command.Stdin, p.command.Stdout, p.command.Stderr = nil, outs[0], outs[1]
	started := make(chan error, 1)
	go p.live(started)
	err = <-started
	for _, out := range outs {
		_ = out.Close()
	}
	return err
}

// pipes sets the ends to read and returns those to write.
func pipes(ends ...**os.File) (outs []*os.File, err error) {
	for _, end := range ends {
		r, w, err := os.Pipe()
		if err != nil {
			for i, out := range outs {
				_, _ = out.Close(), (*ends[i]).Close()
			}
			return nil, fmt.Errorf("pipe: %w", err)
		}
		*end = r
		outs = append(outs, w)
	}
	return outs, nil
}

// live starts the process and waits for its end. It keeps its thread all the
// while: the process is killed when the thread that has started it ends
// (prctl(2), PR_SET_PDEATHSIG).
func (p *program) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	err := p.begin()
	if err != nil {
		_, _ = p.stdout.Close(), p.stderr.Close()
		p.first.end(err)
		started <- err
		return
	}
	p.pumps.Go(p.readOutput)
	p.pumps.Go(func() { readLines(p.stderr, p.lines.line, p.closing) })
	started <- nil

	p.err = wait(p.command, p.bury)

	done := make(chan struct{})
	go func() {
		p.pumps.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainPatience):
	}
	close(p.closing)
	_, _ = p.stdout.Close(), p.stderr.Close()
	<-done
}

func (p *program) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("ended before it was started")
	}
	isolate(p.command)
	if err := p.command.Start(); err != nil {
		return err
	}
	p.started = true
	return nil
}

// bury kills what the process has left behind of its group. From then on its
// number may be another's.
func (p *program) bury() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	killGroup(p.command.Process)
}

// readOutput passes the first line of standard output on to go-plugin, and all
// others to the log: they are somebody's way of looking into a program.
func (p *program) readOutput() {
	defer p.first.end(errNoLine)
	isFirst := true
	readLines(p.stdout, func(line []byte, cut bool) {
		if isFirst {
			isFirst = false
			p.first.set(line)
			return
		}
		p.lines.line(line, cut)
	}, p.closing)
}

var errNoLine = errors.New("it has closed its standard output before the handshake line")

// kill ends the process group at once. It may be called at any time, and more than once.
func (p *program) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.started && !p.gone {
		killGroup(p.command.Process)
	}
}

// hasExited reports whether the process has ended, after a moment's patience.
func (p *program) hasExited(patience time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(patience):
		return false
	}
}

// wasKilled reports whether it has ended because of kill; after exited.
func (p *program) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var status *exec.ExitError
	return p.killed && errors.As(p.err, &status) && !status.Exited()
}

// ending says how the process has ended.
func (p *program) ending() string {
	if p.err == nil {
		return "it has ended with exit status 0"
	}
	return "it has ended with " + p.err.Error()
}

// Wait implements runner.Runner.
func (p *program) Wait(context.Context) error {
	<-p.exited
	return p.err
}

// Kill implements runner.Runner.
func (p *program) Kill(context.Context) error {
	p.kill()
	return nil
}

// Stdout implements runner.Runner: there is one line to read.
func (p *program) Stdout() io.ReadCloser { return p.first.reader }

// Stderr implements runner.Runner: program reads it itself.
func (p *program) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *program) Name() string { return p.argv0 }

func (p *program) isStarted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started
}

// ID implements runner.Runner.
func (p *program) ID() string {
	if !p.isStarted() {
		return ""
	}
	return strconv.Itoa(p.command.Process.Pid)
}

// Diagnose implements runner.Runner.
func (p *program) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner: both are on one machine.
func (p *program) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (p *program) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// What is read of a program's output: lines up to a length, and so many bytes a
// second. A program that prints more has to wait for its pipe.
const (
	maxLine        = 8 << 10
	bytesPerSecond = 8 << 20
)

// readLines calls line for each line of r, without its end, until r ends or
// closing is closed. A line that is too long is cut.
func readLines(r io.Reader, line func(text []byte, cut bool), closing <-chan struct{}) {
	buffer := bufio.NewReaderSize(r, maxLine)
	read, since := 0, time.Now()
	skipping := false // the rest of a line that was cut
	for {
		text, err := buffer.ReadSlice('\n')
		read += len(text)
		isFull := errors.Is(err, bufio.ErrBufferFull)
		if trimmed := bytes.TrimRight(text, "\r\n"); !skipping && (len(trimmed) > 0 || err == nil) {
			line(trimmed, isFull)
		}
		skipping = isFull
		if err != nil && !isFull {
			return
		}
		if read < bytesPerSecond/10 {
			continue
		}
		pause := 100*time.Millisecond - time.Since(since)
		if pause > 0 {
			select {
			case <-closing:
				return
			case <-time.After(pause):
			}
		}
		read, since = 0, time.Now()
	}
}
