package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// hangups returns the SIGHUPs that mean "read the configuration again", until
// ctx ends. The other kind, of a terminal that was closed, ends the program as
// it does every other: stop is called. With nohup it does not.
func hangups(ctx context.Context, stop func()) <-chan os.Signal {
	signals, reload := make(chan os.Signal, 1), make(chan os.Signal, 1)
	ofTerminal := !signal.Ignored(syscall.SIGHUP) && hasTerminal()
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case hup := <-signals:
				if ofTerminal && !hasTerminal() {
					stop()
					return
				}
				select {
				case reload <- hup:
				default: // one is waiting already, and reads what is there then
				}
			}
		}
	}()
	return reload
}

// hasTerminal reports whether the process has a terminal that controls it. A
// terminal that was closed is taken from its processes before they get SIGHUP.
func hasTerminal() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	_ = terminal.Close()
	return true
}
