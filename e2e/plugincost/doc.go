// Package plugincost measures what it costs to have an adapter in a process of
// its own: docs/adapters.md, section "Cost".
//
//	PLUGIN_COST=1 go test -count 1 -v ./e2e/plugincost
package plugincost
