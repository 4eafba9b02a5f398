package relay

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/testnet"
	"github.com/icrelay/icrelay/localnet/execution"
)

// Lost says so where something is kept for the client, and is Close where nothing is: by the settings, or because the
// canister does not know the difference.
func TestLost(t *testing.T) {
	n := testnet.Start(t)
	gateway := testnet.Identity(t)
	client := candid.ClientKey{Principal: testnet.Identity(t).Principal(), Nonce: 7}
	for _, tt := range []struct {
		name    string
		resume  time.Duration
		answers map[string]string // what its methods answer
		want    []string
	}{
		{"nothing is kept", 0, map[string]string{"relay_lost": "", "ws_close": ""}, []string{"ws_close"}},
		{"something is kept", time.Minute, map[string]string{"relay_lost": "", "ws_close": ""}, []string{"relay_lost"}},
		{"the canister has lost it already", time.Minute, map[string]string{"relay_lost": "doesn't have an open connection", "ws_close": ""}, []string{"relay_lost"}},
		{"an older canister", time.Minute, map[string]string{"ws_close": ""}, []string{"ws_close"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var called []string
			methods := make(map[string]execution.NativeMethod)
			for name, text := range tt.answers {
				methods[name] = execution.NativeMethod{Run: func(*execution.NativeCall) ([]byte, *execution.Reject) {
					mu.Lock()
					defer mu.Unlock()
					called = append(called, name)
					return candid.EncodeResult(text), nil
				}}
			}
			id := n.Create()
			if err := n.InstallBuiltin(t.Context(), id, &execution.Native{Interface: "service : {}", Methods: methods}); err != nil {
				t.Fatal(err)
			}
			adapter := New(n.Client, gateway, Settings{Resume: tt.resume}, slog.New(slog.DiscardHandler))
			if err := adapter.Lost(t.Context(), id, client); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(called, tt.want) {
				t.Errorf("called %q, want %q", called, tt.want)
			}
		})
	}
}
