package relay

import (
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Settings is what one relay canister does; it becomes the Config argument of
// canister/relay.did.
type Settings struct {
	Calls  []Target // where clients' messages go
	Feeds  []Target // ordinary queries (cursor : nat) -> (vec T) whose items go to clients
	Admins []candid.Principal

	AckInterval      time.Duration // between acknowledgements; clients must know it. 0 for the canister's default, 5m
	KeepAliveTimeout time.Duration // for the client's answer to one. 0 for the canister's default, 60s
	MaxMessages      uint64        // per poll. 0 for the canister's default, 50

	// WatchInterval is how often the feeds' queries are asked while clients
	// are connected. 0 means 500ms.
	WatchInterval time.Duration
}

// A Target is a method of a canister.
type Target struct {
	Canister candid.Principal
	Method   string
}

func (t Target) String() string { return t.Canister.String() + "." + t.Method }
