package sdktest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/adapters/plugin/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// With no options; one method only, and the rest never comes here.
func TestRun(t *testing.T) { sdktest.Run(t, startGate) }

// All that can be said besides, over an adapter that all methods come to.
func TestOptions(t *testing.T) {
	sdktest.Options{
		Base:      "relay",
		Settings:  map[string]any{"refuse": []string{"aaaaa-aa"}},
		Canisters: map[string]string{"echo": "../../../../e2e/canisters/echo/echo.wasm"},
		Content:   []byte("DIDL\x00\x01\x71\x05hello"),
	}.Run(t, func(_ context.Context, route *sdk.Route) (any, error) {
		var settings struct {
			Refuse []sdk.Principal `json:"refuse"`
		}
		if err := route.Settings(&settings); err != nil {
			return nil, err
		}
		if _, ok := route.Canisters["echo"]; !ok || route.BaseName != "relay" || len(settings.Refuse) != 1 {
			return nil, fmt.Errorf("route = %+v, settings = %+v", route, settings)
		}
		return checked{route.Base}, nil
	})
}

// checked is the base, and looks at what clients send.
type checked struct{ *sdk.Base }

func (c checked) Message(ctx context.Context, env sdk.Envelope) error {
	if string(env.Content()) != "DIDL\x00\x01\x71\x05hello" {
		return sdk.Refused("the message is %q", env.Content())
	}
	return c.Base.Message(ctx, env)
}

// liar says that it has done what it has not.
type liar struct{}

func (*liar) Open(context.Context, sdk.Envelope) error { return nil }

const insideOfTest = "SDKTEST_INSIDE"

// An adapter that breaks promises fails, and with the names of those. The test
// runs once more as a program of its own, because it has to fail.
func TestBrokenPromises(t *testing.T) {
	start := func(_ context.Context, route *sdk.Route) (any, error) {
		var settings struct{}
		return &liar{}, route.Settings(&settings)
	}
	if os.Getenv("ICRELAY_ADAPTER") != "" || os.Getenv(insideOfTest) == "liar" {
		sdktest.Run(t, start)
		return
	}
	if os.Getenv(insideOfTest) == "settings" {
		sdktest.Options{Settings: map[string]int{"speed": 5}}.Run(t, start)
		return
	}
	for inside, wants := range map[string][]string{
		"liar":     {"--- FAIL: TestBrokenPromises/an_open_brings_a_certified_open_message", "--- FAIL: TestBrokenPromises/a_second_open_of_a_key_is_refused_by_the_canister"},
		"settings": {`settings: unknown key "speed"; known are: none`},
	} {
		t.Run(inside, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBrokenPromises$")
			cmd.Env = append(os.Environ(), insideOfTest+"="+inside)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Fatalf("%v, want exit code 1", err)
			}
			for _, want := range wants {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
		})
	}
}
