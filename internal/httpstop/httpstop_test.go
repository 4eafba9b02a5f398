package httpstop

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second // for what should take milliseconds

// serve starts a server whose /slow answers only when its connection is cut
// off; entered tells that such a request is there.
func serve(t *testing.T) (server *http.Server, fresh *Fresh, address string, entered chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, fresh = make(chan struct{}), new(Fresh)
	server = &http.Server{ConnState: fresh.Track, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-r.Context().Done()
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return server, fresh, listener.Addr().String(), entered
}

// get returns the request's error once it has ended.
func get(t *testing.T, url string) <-chan error {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	done := make(chan error, 1)
	go func() {
		response, err := client.Get(url)
		if err == nil {
			err = response.Body.Close()
		}
		done <- err
	}()
	return done
}

// A connection on which nothing has arrived does not hold the stop up.
func TestFreshConnection(t *testing.T) {
	server, fresh, address, _ := serve(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// The server has accepted the first connection when it answers the second.
	if err := <-get(t, "http://"+address+"/"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	if err := fresh.ShutDown(ctx, server); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 3*time.Second { // http.Server waits 5 seconds for it
		t.Errorf("took %s", took)
	}
}

// What does not finish in time is cut off, and the caller is told.
func TestNotInTime(t *testing.T) {
	server, fresh, address, entered := serve(t)
	request := get(t, "http://"+address+"/slow")
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := fresh.ShutDown(ctx, server); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v, want that the time was over", err)
	}
	select {
	case err := <-request:
		if err == nil {
			t.Error("the request was answered")
		}
	case <-time.After(patience):
		t.Error("the request was not cut off")
	}
}
