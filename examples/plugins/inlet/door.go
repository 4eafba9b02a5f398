package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
)

const (
	maxBody        = 64 << 10
	maxConnections = 64
	pushTimeout    = 25 * time.Second
	listenAgain    = 100 * time.Millisecond
	stopTimeout    = 500 * time.Millisecond
)

// A pusher is the relay canister, or a test's stand-in.
type pusher interface {
	broadcast(ctx context.Context, message []byte) (reached uint64, err error)
	send(ctx context.Context, client sdk.Principal, message []byte) (reached uint64, err error)
}

// handler takes POST /alerts, for everybody, and POST /alerts/<principal>, for
// one client.
func handler(token string, to pusher) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /alerts", func(w http.ResponseWriter, r *http.Request) {
		push(w, r, to.broadcast)
	})
	mux.HandleFunc("POST /alerts/{client}", func(w http.ResponseWriter, r *http.Request) {
		client, err := sdk.ParsePrincipal(r.PathValue("client"))
		if err != nil {
			fail(w, http.StatusNotFound, fmt.Errorf("%q is no principal: %w", r.PathValue("client"), err))
			return
		}
		push(w, r, func(ctx context.Context, message []byte) (uint64, error) { return to.send(ctx, client, message) })
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, http.StatusUnauthorized, errors.New("the header Authorization: Bearer <INLET_TOKEN> is missing or wrong"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func push(w http.ResponseWriter, r *http.Request, to func(context.Context, []byte) (uint64, error)) {
	message, status, err := read(w, r)
	if err != nil {
		fail(w, status, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pushTimeout)
	defer cancel()
	reached, err := to(ctx, message)
	if err != nil {
		fail(w, statusOf(w, err), err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"reached": reached})
}

// read makes a message of a request's body.
func read(w http.ResponseWriter, r *http.Request) (message []byte, status int, err error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errors.New("the Content-Type must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body has more than %d bytes", maxBody)
	case err != nil:
		return nil, http.StatusBadRequest, err
	}
	var alert Alert
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&alert); err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("the body is no alert: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, http.StatusBadRequest, errors.New("the body is more than one alert")
	}
	if err := alert.check(); err != nil {
		return nil, http.StatusUnprocessableEntity, err
	}
	if message, err = alert.encode(); err != nil {
		return nil, http.StatusUnprocessableEntity, err
	}
	return message, http.StatusOK, nil
}

// statusOf says whose fault it was that nobody was reached. After 504 the
// alert may have reached clients all the same.
func statusOf(w http.ResponseWriter, err error) int {
	var rejected *sdk.RejectError
	switch {
	case errors.Is(err, errPush), errors.As(err, &rejected):
		return http.StatusBadGateway
	case errors.Is(err, sdk.ErrBusy):
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable
	}
	return http.StatusGatewayTimeout
}

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]any{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // an error means that whoever asked has gone
}

// A door is the HTTP server of one route.
type door struct {
	server *http.Server
	cancel context.CancelFunc
	done   chan struct{}
}

// listen opens the door until ctx ends. While another process or route has the
// address, it is tried again: when the configuration is read again, a changed
// route starts before the old one has ended.
func listen(ctx context.Context, address string, h http.Handler, log *slog.Logger) (*door, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &door{
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       15 * time.Second,
			WriteTimeout:      15*time.Second + pushTimeout,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		cancel: cancel,
		done:   make(chan struct{}),
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		log.Warn("the address is in use, and tried again", "listen", address)
	case err != nil:
		cancel()
		return nil, err
	}
	go func() {
		defer close(d.done)
		for listener == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(listenAgain):
				listener, _ = net.Listen("tcp", address)
			}
		}
		log.Info("takes alerts", "url", "http://"+listener.Addr().String()+"/alerts")
		err := d.server.Serve(netutil.LimitListener(listener, maxConnections))
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("the door has closed", "error", err)
		}
	}()
	return d, nil
}

// End closes the door: requests that are under way have a moment.
func (d *door) End() {
	d.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		_ = d.server.Close()
	}
	<-d.done
}
