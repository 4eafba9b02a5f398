// Package faults has things go wrong around a whole gateway, one at a time, and
// looks at what its clients notice: canisters that are upgraded, stopped,
// deleted or that trap; a network that is slow, breaks, answers nonsense or is
// away; a gateway that is stopped or killed. docs/reliability.md says what each
// test shows.
//
//	world_test.go     the network and its canisters
//	gateway_test.go   a gateway of the test's own, in the process
//	recorder_test.go  what a gateway asks the network
//	talker_test.go    a client that talks all the time, and checks what it hears
//	line_test.go      toxiproxy between gateway and network
//	fakeproxy_test.go an HTTP proxy between them that answers by itself
//	process_test.go   a gateway as a process
//
// FAULTS_OUTAGE sets how long the network is away in TestOutage (5s), and
// FAULTS_KILLS how often the gateway is killed in TestKill (2).
package faults
