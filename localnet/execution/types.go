package execution

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Options configure a Machine. The zero value of every field is usable.
type Options struct {
	// Log receives what canisters print and what the machine has to say. Default: discarded.
	Log *slog.Logger
	// Now is the clock that canisters see. Default: time.Now.
	Now func() time.Time
	// DataCertificate returns the certificate that a query of this canister may
	// hand out, and the certified data that it covers: those that Info reports
	// at the time of the call, or that it reports a moment later. It is called on the query's own goroutine, only
	// when a canister asks, and may call Info. Nil: no certificates.
	DataCertificate func(canister candid.Principal) (certificate, certified []byte)
	// OnExecution is told of each execution of canister code, before its effects
	// are kept, on the goroutine that made it: of updates one at a time and in
	// their order, of queries also beside each other. Nil: nobody is told.
	OnExecution func(Execution)
	// RootKey is the DER form of the network's root key, for ic0.root_key_copy. May be nil.
	RootKey []byte
	// Subnet is what ic0.subnet_self_copy answers. Default: the management canister's sibling of an all-zero key.
	Subnet candid.Principal
	// Natives are canisters written in Go that are there from the start.
	Natives map[candid.Principal]*Native
	// Limits bound what canisters may use. Zero fields take their defaults.
	Limits Limits
}

// Mode says what an installation does with the code and state already there
// (interface specification, "IC method install_code").
type Mode int

// The modes of an installation.
const (
	ModeInstall Mode = iota
	ModeReinstall
	ModeUpgrade
)

func (m Mode) String() string {
	switch m {
	case ModeInstall:
		return "install"
	case ModeReinstall:
		return "reinstall"
	case ModeUpgrade:
		return "upgrade"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// Status of a canister.
type Status int

// The states of a canister; the numbers are what ic0.canister_status returns.
const (
	StatusRunning  Status = 1
	StatusStopping Status = 2
	StatusStopped  Status = 3
)

func (s Status) String() string {
	switch s {
	case StatusRunning:
		return "running"
	case StatusStopping:
		return "stopping"
	case StatusStopped:
		return "stopped"
	}
	return fmt.Sprintf("Status(%d)", int(s))
}

// Ingress is a call message from outside.
type Ingress struct {
	ID       [32]byte // request id
	Sender   candid.Principal
	Canister candid.Principal // "" is the management canister
	Method   string
	Arg      []byte
	// Expiry is the request's ingress_expiry: past it, a message that still waits
	// is rejected instead of executed. Zero: never.
	Expiry time.Time
	// Effective is the canister that a call to the management canister is about,
	// as the URL says (interface specification, "Effective canister id"). May be "".
	Effective candid.Principal
}

// Result of a call: a reply, or a reject. Exactly one is meaningful: Reject is
// nil for a reply, whose bytes may be empty.
type Result struct {
	Reply  []byte
	Reject *Reject
}

// Reject tells why a call has no reply.
type Reject struct {
	Code      int    // interface specification, "Reject codes"
	Text      string // for people
	ErrorCode string // "IC0503" and the like, "" when the canister rejected the call itself
}

func (r *Reject) Error() string {
	if r.ErrorCode == "" {
		return r.Text
	}
	return r.ErrorCode + ": " + r.Text
}

// Section is one custom section of a module that the state tree shows
// (interface specification, "Canister metadata").
type Section struct {
	Public  bool
	Content []byte
}

// CanisterInfo is what the state tree tells of a canister.
type CanisterInfo struct {
	ID            candid.Principal
	Status        Status
	ModuleHash    []byte // nil: empty canister
	Controllers   []candid.Principal
	CertifiedData []byte
	Metadata      map[string]Section // must not be changed
}

// canisterID is the principal of the n-th canister of a local network: eight
// bytes big-endian and the two bytes that mark canister ids, as replicas form them.
func canisterID(n uint64) candid.Principal {
	b := binary.BigEndian.AppendUint64(nil, n)
	return candid.Principal(append(b, 0x01, 0x01))
}

// isCanisterID reports whether p has the form of the ids that canisterID makes.
func isCanisterID(p candid.Principal) bool {
	return len(p) == 10 && p[8:] == "\x01\x01"
}
