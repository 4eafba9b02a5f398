package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
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
	if u, err := url.Parse(o.Gateway); err != nil || u.Hostname() == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		wrong("--gateway", "needs the gateway's WebSocket address, for example ws://127.0.0.1:8080, not %q", o.Gateway)
	} else if u.User != nil {
		wrong("--gateway", "must not have a name and a password: clients do not log in")
	} else if port, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || port == 0 {
		wrong("--gateway", "the port must be from 1 to 65535, not %s", u.Port())
	}
	if id, err := candid.ParsePrincipal(o.Canister); err == nil && id == candid.ManagementCanister {
		wrong("--canister", "%s is the management canister, which takes no WebSockets", o.Canister)
	} else if err != nil {
		wrong("--canister", "needs the canister's id, for example bkyz2-fmaaa-aaaaa-qaaaq-cai (a relay prints those of its embedded network), not %q", o.Canister)
	}
	if u, err := url.Parse(o.Network); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("--network", "needs the address of the network's HTTP interface, for example http://127.0.0.1:4943 or https://icp-api.io, not %q", o.Network)
	}
	if !slices.Contains(Patterns, o.Pattern) {
		wrong("--pattern", "must be one of %s, not %q", strings.Join(Patterns, ", "), o.Pattern)
	}
	if o.Clients < 1 || o.Clients > maxClients {
		wrong("--clients", "must be from 1 to %d, not %d", maxClients, o.Clients)
	}
	if !isRate(o.Ramp) {
		wrong("--ramp", "must be 0 (as fast as possible), or from %g to %.0f, not %g", leastRate, mostRate, o.Ramp)
	}
	if !isRate(o.Rate) {
		wrong("--rate", "must be 0 (as fast as possible), or from %g to %.0f, not %g", leastRate, mostRate, o.Rate)
	} else if each := o.Rate * o.Duration.Seconds() / float64(o.Clients); o.Pattern == "send" && o.Rate > 0 && o.Duration > 0 && each < silentRun+1 {
		wrong("--rate", "%g/s for %s are %.1f messages for each of %d clients; only each %dth is answered, and tells of those before it", o.Rate, o.Duration, each, o.Clients, silentRun+1)
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

// Bounds of rates. With less than one in some minutes nothing would be measured,
// and the time until the last client comes would not fit a duration.
const leastRate, mostRate = .001, 1e7

func isRate(r float64) bool { return r == 0 || r >= leastRate && r <= mostRate }
