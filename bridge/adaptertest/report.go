package adaptertest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// T is what the suite needs of a test: a *testing.T, or a *Trial outside of
// go test.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Runner is a T that runs others: *testing.T is one, and so is *Trial.
type Runner[X any] interface {
	T
	Run(name string, f func(X)) bool
}

// A Trial runs the suite outside of go test: Run(NewTrial(...), newTarget).
type Trial struct {
	ctx      context.Context
	report   func(Result)
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// A Result is what became of one test.
type Result struct {
	Name     string
	Took     time.Duration
	Failures []string // what was wrong; none for a test that passed
}

// NewTrial makes a trial that reports each test when it has ended. When ctx
// ends, the test under way ends too, as one that failed, and no other begins.
func NewTrial(ctx context.Context, report func(Result)) *Trial {
	return &Trial{ctx: ctx, report: report}
}

// Run runs one test, as testing.T does.
func (t *Trial) Run(name string, f func(*Trial)) bool {
	if t.ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithCancel(t.ctx)
	one := &Trial{ctx: ctx, report: t.report}
	start := time.Now()
	one.run(func() { f(one) })
	took := time.Since(start)
	cancel() // before the cleanups, as testing.T does
	for one.cleanUp() {
	}
	failures := one.Failures()
	for _, text := range failures {
		t.fail(name + ": " + text)
	}
	t.report(Result{Name: name, Took: took, Failures: failures})
	return len(failures) == 0
}

// run calls f in a goroutine of its own, which Fatal ends, and waits for it.
func (t *Trial) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.fail(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		f()
	}()
	<-done
}

// cleanUp calls the cleanup that was added last, which may add others.
func (t *Trial) cleanUp() bool {
	t.mu.Lock()
	n := len(t.cleanups) - 1
	if n < 0 {
		t.mu.Unlock()
		return false
	}
	f := t.cleanups[n]
	t.cleanups = t.cleanups[:n]
	t.mu.Unlock()
	t.run(f)
	return true
}

// Failures returns what was wrong, that of the trial's tests included.
func (t *Trial) Failures() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures[:len(t.failures):len(t.failures)]
}

func (t *Trial) fail(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, text)
}

// Helper does nothing: a trial names no lines.
func (t *Trial) Helper() {}

// Context ends with the test, before its cleanups.
func (t *Trial) Context() context.Context { return t.ctx }

// Cleanup adds a function to call when the test has ended, the last first.
func (t *Trial) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// Failed reports whether something was wrong.
func (t *Trial) Failed() bool { return len(t.Failures()) > 0 }

// Error notes what is wrong.
func (t *Trial) Error(args ...any) { t.fail(fmt.Sprint(args...)) }

// Errorf notes what is wrong.
func (t *Trial) Errorf(format string, args ...any) { t.fail(fmt.Sprintf(format, args...)) }

// Fatal notes what is wrong and ends the test.
func (t *Trial) Fatal(args ...any) {
	t.Error(args...)
	runtime.Goexit()
}

// Fatalf notes what is wrong and ends the test.
func (t *Trial) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}
