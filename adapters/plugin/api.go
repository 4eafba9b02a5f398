package plugin

import (
	"log/slog"
	"time"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/defaults"
)

// Config is one [[adapter]]: a program, and what it may cost. The zero value of
// a duration or number means its default.
type Config struct {
	// Name is the adapter's, for logs, metrics and the process itself.
	Name string
	// Command is the program and its arguments. A program with a slash is a file,
	// relative to Dir; without one it is looked for in PATH.
	Command []string
	// Dir is the folder that the program runs in.
	Dir string
	// Env is added to the program's environment, of which the relay's own has
	// PATH, HOME, LANG, TMPDIR and TZ.
	Env map[string]string
	// SHA256 of the program's file; nil: not checked.
	SHA256 []byte

	Memory       int64         // bytes of resident memory of the process itself, above which it is killed. Default 512 MiB
	StartTimeout time.Duration // until it has said where it listens, and for each StartRoute. Default 10s
	CallTimeout  time.Duration // for one call of it. Default 30s
	MaxCalls     int           // calls that it may have under way; its bases it may ask once more for each call of the relay. Default 256
}

// Defaults of Config.
const (
	DefaultMemory       = 512 << 20
	DefaultStartTimeout = 10 * time.Second
	DefaultCallTimeout  = 30 * time.Second
	DefaultMaxCalls     = 256
)

func (c Config) withDefaults() Config {
	defaults.Set(&c.Memory, DefaultMemory)
	defaults.Set(&c.StartTimeout, DefaultStartTimeout)
	defaults.Set(&c.CallTimeout, DefaultCallTimeout)
	defaults.Set(&c.MaxCalls, DefaultMaxCalls)
	return c
}

// Host is what the relay does for the process.
type Host struct {
	Client   *ic.Client       // the network
	Identity ic.Identity      // the gateway's: calls of the process bear its name
	Gateway  candid.Principal // that identity's principal
	Version  string           // of the relay, for the process's log
	Log      *slog.Logger     // nil: none
}

// Route is one [[route]] that names the adapter.
type Route struct {
	Canister  candid.Principal            // the zero value: any canister
	Base      bridge.Adapter              // what the adapter builds on
	BaseName  string                      // "cdk" or "relay"
	Settings  []byte                      // [route.settings] as a JSON object; nil: {}
	Canisters map[string]candid.Principal // of the embedded network, by name
}
