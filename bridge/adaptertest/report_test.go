package adaptertest

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// A trial does what testing.T does, and tells it.
func TestTrial(t *testing.T) {
	var told []Result
	trial := NewTrial(t.Context(), func(r Result) { told = append(told, r) })
	var order []string
	note := func(text string) func() { return func() { order = append(order, text) } }
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	tests := []struct {
		name string
		run  func(*Trial)
		want []string // the beginnings of its failures
	}{
		{"passes", func(*Trial) {}, nil},
		{"cleans up", func(t *Trial) {
			t.Cleanup(note("first"))
			t.Cleanup(func() {
				note("second")()
				t.Cleanup(note("added meanwhile"))
				if t.Context().Err() == nil {
					t.Error("the context goes on")
				}
			})
			t.Cleanup(func() { t.Errorf("in a %s", "cleanup") })
			note("test")()
		}, []string{"in a cleanup"}},
		{"fails twice", func(t *Trial) { t.Error("one ", 1); t.Errorf("two %d", 2) }, []string{"one 1", "two 2"}},
		{"ends at once", func(t *Trial) {
			t.Cleanup(note("after the end"))
			if !t.Failed() {
				t.Fatal("over")
			}
			t.Error("not reached")
		}, []string{"over"}},
		{"ends at once, with a format", func(t *Trial) { defer t.Error("deferred"); t.Fatalf("%s", "over") }, []string{"over", "deferred"}},
		{"panics", func(*Trial) { panic("oh") }, []string{"panic: oh\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if passed := trial.Run(test.name, test.run); passed != (test.want == nil) {
				t.Errorf("passed = %v", passed)
			}
			got := told[len(told)-1]
			if got.Name != test.name || len(got.Failures) != len(test.want) {
				t.Fatalf("%+v", got)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got.Failures[i], want) {
					t.Errorf("%q, want %q", got.Failures[i], want)
				}
			}
		})
	}
	if want := []string{"test", "second", "added meanwhile", "first", "after the end"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if got := trial.Failures(); len(got) != 7 || got[0] != "cleans up: in a cleanup" {
		t.Errorf("in all: %q", got)
	}

	ended := NewTrial(ctx, func(Result) {})
	stop()
	if ended.Run("after the end", func(*Trial) { t.Error("a test began") }) {
		t.Error("it passed")
	}
}

// The suite itself fails where its target does.
func TestSuiteOutsideOfGoTest(t *testing.T) {
	results := 0
	trial := NewTrial(t.Context(), func(r Result) {
		results++
		if len(r.Failures) != 1 || r.Failures[0] != "no canister" {
			t.Errorf("%+v", r)
		}
	})
	Run(trial, func(t *Trial) Target {
		t.Fatal("no canister")
		return Target{}
	})
	if results < 15 || !trial.Failed() {
		t.Errorf("%d results", results)
	}
}
