package execution

import (
	"context"
	"errors"

	"github.com/icrelay/icrelay/candid"
)

// Limits bound what one canister and one message may use.
type Limits struct{}

// Machine runs canisters.
type Machine struct{}

// New returns a running machine; Close ends it.
func New(Options) *Machine { return &Machine{} }

// Close ends the machine's goroutines.
func (m *Machine) Close() error { return nil }

var errTodo = errors.New("not there yet")

// CreateCanister makes an empty canister.
func (m *Machine) CreateCanister(controllers []candid.Principal) (candid.Principal, error) {
	return "", errTodo
}

// Install installs code.
func (m *Machine) Install(ctx context.Context, id candid.Principal, mode Mode, wasm, arg []byte, sender candid.Principal) error {
	return errTodo
}

// Submit queues an ingress message.
func (m *Machine) Submit(in Ingress, done func(Result)) error { return errTodo }

// Query evaluates a query method.
func (m *Machine) Query(ctx context.Context, sender, canister candid.Principal, method string, arg []byte) Result {
	return Result{}
}

// Info tells what the state tree shows of a canister.
func (m *Machine) Info(id candid.Principal) (CanisterInfo, bool) { return CanisterInfo{}, false }

// Canisters lists the canisters in the order of their ids.
func (m *Machine) Canisters() []candid.Principal { return nil }

// Version changes whenever something that Info or Canisters reports changes.
func (m *Machine) Version() uint64 { return 0 }

// Changed returns a channel that is closed at the next change of Version.
func (m *Machine) Changed() <-chan struct{} { return nil }
