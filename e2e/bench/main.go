package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Parts of the suite that run in a process of their own, as arguments.
const (
	partServer  = "bare-server"
	partClients = "bare-clients"
	partPosts   = "bare-posts"
)

// compare, as the first argument, measures another gateway, whose command follows.
const compare = "compare"

// start runs the part that the arguments name, the suite, or a comparison.
func start(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == compare {
		settings, err := settingsFromEnvironment()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return runSuite(ctx, settings, os.Stdout)
		}
		return runComparison(ctx, settings, args[1:], os.Stdout)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case partServer:
		return serveBare(ctx, os.Stdout)
	case partClients:
		o := bareClientOptions(flags)
		return report(flags, args, func() (*bareResult, error) { return runBareClients(ctx, *o) })
	case partPosts:
		o := barePostOptions(flags)
		return report(flags, args, func() (*bareResult, error) { return runBarePosts(ctx, *o) })
	}
	return fmt.Errorf("there is no part %q", args[0])
}

// report runs a part and writes what it found as JSON.
func report(flags *flag.FlagSet, args []string, run func() (*bareResult, error)) error {
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	result, err := run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
