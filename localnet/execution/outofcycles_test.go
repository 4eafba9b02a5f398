package execution

import (
	"context"
	"testing"

	"github.com/icrelay/icrelay/candid"
)

// A canister without cycles takes neither calls nor queries until it has some again.
func TestOutOfCycles(t *testing.T) {
	m := newMachine(t, Options{})
	id := provisional(t, m, candid.Fields{"amount": 1})
	if err := m.Install(context.Background(), id, ModeInstall, moduleFile(t, "counter"), args(t, 5), user); err != nil {
		t.Fatal(err)
	}
	submit(t, m, id, "get", args(t)) // takes what is left
	wantReject(t, submit(t, m, id, "get", args(t)), 2, "IC0207", "is out of cycles")
	wantReject(t, ask(t, m, id, "get", args(t)), 2, "IC0207", "frozen")
	first(t, manage(t, m, user, "provisional_top_up_canister", topUpArgs, candid.Fields{"canister_id": id, "amount": 1_000_000_000}))
	wantValue(t, submit(t, m, id, "get", args(t)), "5")
	wantValue(t, ask(t, m, id, "get", args(t)), "5")
}
