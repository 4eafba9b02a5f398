// Package soak runs everything at once, for a while, with everything going
// wrong that may: many clients with real signatures behind two gateways, a
// network of its own with the relay canister and a target (e2e/canisters/diary),
// connections that are closed and killed, a target that traps and is stopped, a
// gateway that crashes, and upgrades of the relay canister with clients
// connected. Afterwards what every client has sent and received is compared
// with what the target has written down.
//
//	messages_test.go  what clients say and hear
//	session_test.go   one connection: what was sent on it, what came
//	worker_test.go    one client: connects, talks, leaves, comes back
//	world_test.go     the network and its canisters
//	gateway_test.go   the gateways, as a user starts them
//	proxy_test.go     what lies between a gateway and the network, and can break
//	scenario_test.go  what happens when
//	history_test.go   what the target has written down
//	check_test.go     what must be true of all that
//
// The environment sets the size: SOAK_MESSAGES, SOAK_CLIENTS, SOAK_SEED, and
// SOAK_MINUTES to begin again, with another seed, until so much time has passed.
// The seed decides what clients do; what the scheduler does it does not decide.
package soak
