package bench

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Options say what to measure and how. The comments name the command's options.
type Options struct {
	Gateway  string // --gateway
	Canister string // --canister
	Network  string // --network
	RootKey  string // --root-key, hexadecimal DER

	Pattern  string        // --pattern
	Clients  int           // --clients
	Ramp     float64       // --ramp, opens per second; 0: as fast as possible
	Rate     float64       // --rate, messages per second; 0: as fast as possible
	InFlight int           // --in-flight
	Size     int           // --size
	Content  string        // --content
	Silent   string        // --silent, for the pattern send
	Duration time.Duration // --duration
	Settle   time.Duration // --settle

	CheckEvery  int           // --check-every
	OpenTimeout time.Duration // --open-timeout
	Seed        uint64        // --seed
	PID         int           // --pid

	Progress io.Writer // where the progress goes; nil: nowhere
	Line     bool      // whether the progress is one line that changes
}

// Defaults are the values of options that are not given.
func Defaults() Options {
	return Options{
		Network:     "http://127.0.0.1:4943",
		Pattern:     "echo",
		Clients:     100,
		Ramp:        200,
		InFlight:    1,
		Size:        100,
		Content:     "text",
		Silent:      `(variant { Nobody = "{payload}" })`,
		Duration:    10 * time.Second,
		Settle:      time.Second,
		CheckEvery:  1,
		OpenTimeout: time.Minute,
	}
}

// Patterns are the names for --pattern.
var Patterns = []string{"idle", "echo", "send", "fanout", "churn"}

// maxClients is how many clients a run may have. Ports and file descriptors end sooner.
const maxClients = 1_000_000

// check returns everything that is wrong with the options.
func (o *Options) check() error {
	var problems []error
	wrong := func(option, format string, args ...any) {
		problems = append(problems, fmt.Errorf(option+": "+format, args...))
	}
	if u, err := url.Parse(o.Gateway); err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		wrong("--gateway", "needs the gateway's WebSocket address, for example ws://127.0.0.1:8080, not %q", o.Gateway)
	}
	if _, err := candid.ParsePrincipal(o.Canister); err != nil || o.Canister == "" {
		wrong("--canister", "needs the canister's id, for example bkyz2-fmaaa-aaaaa-qaaaq-cai (a relay prints those of its embedded network), not %q", o.Canister)
	}
	if u, err := url.Parse(o.Network); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("--network", "needs the address of the network's HTTP interface, for example http://127.0.0.1:4943 or https://icp-api.io, not %q", o.Network)
	}
	if !contains(Patterns, o.Pattern) {
		wrong("--pattern", "must be one of %s, not %q", strings.Join(Patterns, ", "), o.Pattern)
	}
	if o.Clients < 1 || o.Clients > maxClients {
		wrong("--clients", "must be from 1 to %d, not %d", maxClients, o.Clients)
	}
	if !(o.Ramp >= 0) || o.Ramp > 1e7 {
		wrong("--ramp", "must be from 0 (as fast as possible) to 10000000, not %g", o.Ramp)
	}
	if !(o.Rate >= 0) || o.Rate > 1e7 {
		wrong("--rate", "must be from 0 (as fast as possible) to 10000000, not %g", o.Rate)
	}
	if o.InFlight < 1 || o.InFlight > 10_000 {
		wrong("--in-flight", "must be from 1 to 10000, not %d", o.InFlight)
	}
	if o.Size < markLength || o.Size > 1<<20 {
		wrong("--size", "must be from %d, the bytes that a message is known by, to %d, not %d", markLength, 1<<20, o.Size)
	}
	if o.Duration <= 0 {
		wrong("--duration", `must be a time such as "10s"`)
	}
	if o.Settle < 0 {
		wrong("--settle", "must not be negative")
	}
	if o.CheckEvery < 1 {
		wrong("--check-every", "must be at least 1, which verifies every message")
	}
	if o.OpenTimeout <= 0 {
		wrong("--open-timeout", `must be a time such as "1m"`)
	}
	if o.PID < 0 {
		wrong("--pid", "must be the gateway's process id")
	}
	return errors.Join(problems...)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
