package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
	"github.com/icrelay/icrelay/ic"
)

// A program that greets and then prints what comes, until the connection ends.
// The gateway's address, the relay canister's id and the network's root key
// are what GET /info of the gateway answers.
func Example() {
	talk := func(ctx context.Context, url, relayCanister string, rootKey []byte) error {
		canister, err := candid.ParsePrincipal(relayCanister)
		if err != nil {
			return err
		}
		identity, err := ic.NewEd25519Identity()
		if err != nil {
			return err
		}
		verifier, err := ic.NewVerifier(rootKey)
		if err != nil {
			return err
		}
		opening, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		conn, err := client.Dial(opening, client.Options{
			URL:      url,
			Canister: canister,
			Identity: identity,
			Verifier: verifier,
		})
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()

		if err := conn.Send(ctx, candid.EncodeText("hello")); err != nil {
			return err
		}
		for {
			content, err := conn.Receive(ctx)
			if err != nil {
				return err
			}
			text, err := candid.DecodeText(content)
			if err != nil {
				return err
			}
			fmt.Println(text)
		}
	}

	err := talk(context.Background(), "ws://127.0.0.1:8080/", "bkyz2-fmaaa-aaaaa-qaaaq-cai", nil)
	var closed *client.CloseError
	if errors.As(err, &closed) && closed.Reconnect() {
		log.Print("connection ended, dialing again may help: ", err)
	}
}
