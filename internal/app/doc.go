// Package app puts the relay together from its configuration: network,
// adapters, gateway, HTTP server. It is the one place where adapters are
// chosen by name. Run owns everything it starts and returns when it has ended.
package app
