// Command relay is a WebSocket gateway for canisters of the Internet Computer,
// those that never heard of WebSockets included.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/icrelay/icrelay/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := newCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "relay:", err)
	var bad *config.Error
	if errors.As(err, &bad) {
		os.Exit(2)
	}
	os.Exit(1)
}
