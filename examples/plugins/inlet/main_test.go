package main

import (
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
)

func TestStartWithoutToken(t *testing.T) {
	t.Setenv("INLET_TOKEN", "")
	if _, err := start(t.Context(), &sdk.Route{Canister: "x", BaseName: "relay"}); err == nil {
		t.Fatal("no error")
	}
}

func TestStartWithoutARelayCanister(t *testing.T) {
	t.Setenv("INLET_TOKEN", "secret")
	for name, route := range map[string]*sdk.Route{"any canister": {BaseName: "relay"}, "cdk": {Canister: "x", BaseName: "cdk"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := start(t.Context(), route); err == nil {
				t.Fatal("no error")
			}
		})
	}
}
