package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startOther starts a gateway that is not this relay, in a folder of the run, and
// waits until it accepts connections.
func startOther(ctx context.Context, dir string, command []string, network *process) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("{address}", address, "{network}", network.said["network"])
	args := make([]string, 0, len(command)-1)
	for _, arg := range command[1:] {
		args = append(args, fill.Replace(arg))
	}
	p := &process{
		command: exec.Command(path, args...), //nolint:gosec // what the caller asked for
		said:    map[string]string{"websocket": "ws://" + address},
		ended:   make(chan struct{}),
	}
	p.command.Dir, p.command.Stdout, p.command.Stderr = dir, &p.log, &p.log
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	for deadline := time.Now().Add(patience); ; {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			_ = conn.Close()
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s has ended: %s", filepath.Base(path), p.log.String())
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen on %s: %s", filepath.Base(path), address, p.log.String())
		}
	}
}

// freeAddress is one that nothing listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := listener.Addr().String()
	return address, listener.Close()
}
