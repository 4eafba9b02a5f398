package bridge

import (
	"context"
	"errors"
	"testing"
	"time"
)

// pipeline is an adapter with this window.
type pipeline struct {
	Adapter
	messages, bytes int
}

func (p pipeline) Window() (messages, bytes int) { return p.messages, p.bytes }

func TestWindowOfMessagesAndBytes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		adapter Adapter
		sizes   []int
		free    int // how many calls may start while the first has not finished
	}{
		{"no pipeline", nil, []int{1, 1}, 1},
		{"few", pipeline{messages: 3, bytes: 100}, []int{1, 1, 1, 1}, 3},
		{"large ones", pipeline{messages: 10, bytes: 100}, []int{40, 40, 20, 1}, 3},
		{"one that is too large goes alone", pipeline{messages: 10, bytes: 100}, []int{500, 1}, 1},
		{"one that is too large waits", pipeline{messages: 10, bytes: 100}, []int{1, 500}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWindow(tc.adapter)
			var finish []func()
			for _, size := range tc.sizes[:tc.free] {
				f, err := w.enter(t.Context(), size)
				if err != nil {
					t.Fatal(err)
				}
				finish = append(finish, f)
			}
			// That later ones finish opens nothing.
			for _, f := range finish[1:] {
				f()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if _, err := w.enter(ctx, tc.sizes[tc.free]); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("call %d starts before the first has finished: %v", tc.free, err)
			}
			finish[0]()
			f, err := w.enter(t.Context(), tc.sizes[tc.free])
			if err != nil {
				t.Fatal(err)
			}
			f()
		})
	}
}
