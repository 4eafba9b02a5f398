// Package cdk reaches canisters that were written with the IC WebSocket CDK:
// they have ws_open, ws_message, ws_close and ws_get_messages themselves.
//
// The CDK drops a client at the first gap in its sequence numbers, and the
// Internet Computer does not keep the order of two ingress messages. So
// Message returns only when the canister has answered, and the adapter is no
// bridge.Pipeliner: the next message of that client waits for the reply.
//
// While a canister is not reached, one call tries for all that wait (gate.go).
//
// An Adapter owns no goroutines and needs no closing.
package cdk
