package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/candid"
)

// errPush wraps the relay canister's own sentence.
var errPush = errors.New("the relay canister refuses")

// A relayCanister takes pushes from the gateway, which is one of its admins.
type relayCanister struct {
	host *sdk.Host
	id   sdk.Principal
}

// broadcast sends a message to all connections, and says how many there are.
func (r *relayCanister) broadcast(ctx context.Context, message []byte) (uint64, error) {
	return r.push(ctx, "broadcast", candid.NewBuilder().Add(candid.BlobType, message))
}

// send sends a message to all connections of one client, if there are any.
func (r *relayCanister) send(ctx context.Context, client sdk.Principal, message []byte) (uint64, error) {
	clients := []candid.Principal{client}
	return r.push(ctx, "sendMany", candid.NewBuilder().Add(candid.VecOf(candid.PrincipalType), clients).Add(candid.BlobType, message))
}

func (r *relayCanister) push(ctx context.Context, method string, args *candid.Builder) (uint64, error) {
	arg, err := args.Bytes()
	if err != nil {
		return 0, err
	}
	reply, err := r.host.Call(ctx, r.id, method, arg)
	if err != nil {
		return 0, err
	}
	return pushResult(reply)
}

// pushResult reads variant { Ok : nat64; Err : text }.
func pushResult(reply []byte) (reached uint64, err error) {
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil {
		return 0, fmt.Errorf("the relay canister's answer cannot be read: %w", err)
	}
	if len(values) == 0 {
		return 0, errors.New("the relay canister's answer is empty")
	}
	if text, ok := values[0].Tag("Err"); ok {
		sentence, _ := text.Text()
		return 0, fmt.Errorf("%w: %s", errPush, sentence)
	}
	ok, _ := values[0].Tag("Ok")
	reached, isNumber := ok.Uint64()
	if !isNumber {
		return 0, errors.New("the relay canister's answer is no result of a push")
	}
	return reached, nil
}
