package execution

import (
	"runtime"
	"time"
)

// Limits bound what canisters and messages may use. A zero field takes the
// default that stands beside it. Instructions are those that package wasm
// counts: an upper bound of those executed. Whichever of instructions and time
// is used up first ends a message; time is what keeps the machine responsive,
// as everything but queries runs on one goroutine.
type Limits struct {
	MessageInstructions uint64        // 40e9: update, callback, timer, heartbeat
	MessageTime         time.Duration // 5 s
	QueryInstructions   uint64        // 5e9: query; a composite query with all it calls has MessageInstructions
	QueryTime           time.Duration // 5 s, with all that a composite query calls
	InstallInstructions uint64        // 300e9: each of canister_init, pre- and post-upgrade
	InstallTime         time.Duration // 30 s

	StableBytes    uint64        // 8 GiB: pages of stable memory of one canister that were ever written to
	Canisters      int           // 10,000
	IngressQueue   int           // 2,000 messages from outside wait for one canister
	IngressBytes   int           // 256 MiB wait in all
	CallQueue      int           // 500 calls of one canister to another are under way
	Callbacks      int           // 50,000 calls of one canister are under way
	CallBytes      int           // 1 GiB of arguments and replies wait in all
	Queries        int           // twice the processors, at least 4: queries run at the same time
	InitialCycles  uint64        // 100e12 cycles of a new canister
	HeartbeatEvery time.Duration // 1 s
	IdleAfter      time.Duration // 60 s until the instances of an idle canister are freed; its state stays
	LogBytes       int           // 64 KiB of what one canister prints are kept for fetch_canister_logs
}

func (l Limits) withDefaults() Limits {
	orU := func(v *uint64, d uint64) {
		if *v == 0 {
			*v = d
		}
	}
	orI := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orD := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orU(&l.MessageInstructions, 40e9)
	orD(&l.MessageTime, 5*time.Second)
	orU(&l.QueryInstructions, 5e9)
	orD(&l.QueryTime, 5*time.Second)
	orU(&l.InstallInstructions, 300e9)
	orD(&l.InstallTime, 30*time.Second)
	orU(&l.StableBytes, 8<<30)
	orI(&l.Canisters, 10_000)
	orI(&l.IngressQueue, 2_000)
	orI(&l.IngressBytes, 256<<20)
	orI(&l.CallQueue, 500)
	orI(&l.Callbacks, 50_000)
	orI(&l.CallBytes, 1<<30)
	orI(&l.Queries, max(4, 2*runtime.GOMAXPROCS(0)))
	orU(&l.InitialCycles, defaultCanister)
	orD(&l.HeartbeatEvery, time.Second)
	orD(&l.IdleAfter, time.Minute)
	orI(&l.LogBytes, 64<<10)
	return l
}
