package sdk

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

type opener struct{}

func (*opener) Open(context.Context, Envelope) error { return nil }

type opensWrong struct{}

func (opensWrong) Open(Envelope) error { return nil }

type closesAsBefore struct{}

func (*closesAsBefore) Close(context.Context, Principal, ClientKey) error { return nil }

type windowed struct {
	opener
	messages, bytes int
}

func (w *windowed) Window() (messages, bytes int) { return w.messages, w.bytes }

// What the relay is told about an adapter.
func TestHandles(t *testing.T) {
	all := []contract.Method{
		contract.Method_OPEN, contract.Method_MESSAGE, contract.Method_CLOSE,
		contract.Method_POLL, contract.Method_CHECK, contract.Method_WATCH,
	}
	for _, tc := range []struct {
		name    string
		adapter any
		handles []contract.Method
		window  *contract.Window
		problem string
	}{
		{name: "nothing", adapter: nil},
		{name: "works in the background", adapter: &struct{ n int }{}},
		{name: "one method", adapter: &opener{}, handles: all[:1]},
		{name: "embedded", adapter: struct{ *opener }{}, handles: all[:1]},
		{name: "the base", adapter: &Base{messages: 5, bytes: 9}, handles: all, window: &contract.Window{Messages: 5, Bytes: 9}},
		{name: "a window", adapter: &windowed{messages: 1}, handles: all[:1], window: &contract.Window{Messages: 1}},
		{name: "a window of nothing", adapter: &windowed{}, problem: "at least one message"},
		{name: "a window of less", adapter: &windowed{messages: 1, bytes: -1}, problem: "no less than 0 bytes"},
		{name: "not a pointer", adapter: opener{}, problem: "return a pointer, not sdk.opener"},
		{name: "other arguments", adapter: opensWrong{}, problem: "sdk.opensWrong.Open is func(sdk.Envelope) error, must be func(context.Context, sdk.Envelope) error"},
		{name: "an argument less", adapter: &closesAsBefore{}, problem: "*sdk.closesAsBefore.Close is"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := newStage(t, func(context.Context, *Route) (any, error) { return tc.adapter, nil })
			answer := st.started(t, &contract.StartRouteRequest{Route: 1})
			if tc.problem != "" {
				if !strings.Contains(answer.Problem, tc.problem) {
					t.Fatalf("problem = %q, want %q", answer.Problem, tc.problem)
				}
				return
			}
			if answer.Problem != "" || !slices.Equal(answer.Handles, tc.handles) {
				t.Fatalf("answer = %v, want %v", answer, tc.handles)
			}
			if got := answer.Window; (got == nil) != (tc.window == nil) || got.GetMessages() != tc.window.GetMessages() || got.GetBytes() != tc.window.GetBytes() {
				t.Fatalf("window = %v, want %v", got, tc.window)
			}
		})
	}
}
