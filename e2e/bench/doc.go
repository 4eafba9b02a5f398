// Command bench measures the relay and prints, beside each figure, the most that
// this machine could do in the same run without it. `make bench` runs it.
//
// Every part is a process of its own, as in earnest: the embedded network with
// its echo canister, the gateway, the generator (`relay bench`), and for the
// ceilings a bare gorilla/websocket server, bare WebSocket clients, and a bare
// HTTP client that posts signed envelopes to the network. All share the machine,
// so figures are for comparing within one run.
//
//	main.go         which part this process is
//	settings.go     sizes, from BENCH_* variables
//	relay.go        processes of the relay
//	bareserver.go   frames, with nothing behind them
//	bareclients.go  clients of the bare server
//	bareposts.go    signed envelopes straight to the network
//	suite.go        what is measured
//	compare.go      this relay beside another gateway
//	other.go        the other gateway's process
//	results.go      figures, ceilings, targets
package main
