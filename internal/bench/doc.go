// Package bench loads a gateway of the IC WebSocket protocol with clients and
// reports what it carries. It is what `relay bench` runs. It needs nothing of the
// gateway beyond the protocol, so that any gateway can be measured.
//
//	options.go    what to do, and what of it is impossible
//	run.go        the phases: open, measure, close
//	clients.go    the clients: keys, opening at a rate, receiving
//	supply.go     messages signed before they are needed
//	content.go    what messages contain, and how an answer is known again;
//	              package candidtext encodes what users write
//	exchange.go   what is under way, and what was counted; set.go is who is missing
//	idle.go, echo.go, fanout.go, churn.go    the patterns
//	failures.go   errors by kind
//	process.go    memory and CPU of a process, as long as it is there
//	system_*.go   what systems have in ways of their own
//	report.go, table.go, progress.go         what is shown
//
// Goroutines: one for each client, besides those of its connection, one for each that sends, one
// signer, one for samples and progress. Run returns when all have ended.
package bench
