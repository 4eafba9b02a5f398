package localnet

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Limits of the HTTP server. Where a replica has the same limit, it has the same value.
const (
	// maxIngressBytes bounds a call's message, envelope included.
	maxIngressBytes = 2 << 20
	// maxBodyBytes bounds any request body. A body between the two limits gets
	// the more telling text of the endpoint.
	maxBodyBytes = 5 << 20
	// maxInFlightBytes bounds the bodies of all requests that are being answered.
	// Every request counts for at least minRequestBytes, which bounds their number.
	maxInFlightBytes = 512 << 20
	minRequestBytes  = 16 << 10

	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10

	// syncCallTimeout is how long a synchronous call waits for its reply before
	// it answers 202 (interface specification, "Synchronous canister calling").
	syncCallTimeout = 10 * time.Second
	// queryTimeout bounds a query's execution in wall-clock time.
	queryTimeout = 10 * time.Second
)

const cborType = "application/cbor"

// httpError is a refusal of a request: its status and the text that its sender reads.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return strconv.Itoa(e.status) + " " + e.text }

func refusef(status int, format string, args ...any) error {
	return &httpError{status, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return refusef(http.StatusBadRequest, format, args...)
}

var (
	errOverloaded  = refusef(http.StatusTooManyRequests, "The service is overloaded.")
	errIngressFull = refusef(http.StatusServiceUnavailable, "Service is overloaded, try again later.")
	errClosing     = refusef(http.StatusServiceUnavailable, "The network is being stopped.")
)

// handler returns the HTTP interface (interface specification, "HTTPS Interface").
func (n *Network) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v2/status", n.status)
	for _, v := range []string{"v2", "v3", "v4"} {
		mux.Handle("POST /api/"+v+"/canister/{id}/call", n.endpoint(n.callEndpoint(v != "v2", false)))
	}
	mux.Handle("POST /api/v4/subnet/{id}/call", n.endpoint(n.callEndpoint(true, true)))
	for _, v := range []string{"v2", "v3"} {
		mux.Handle("POST /api/"+v+"/canister/{id}/query", n.endpoint(n.queryEndpoint(false)))
		mux.Handle("POST /api/"+v+"/canister/{id}/read_state", n.endpoint(n.readStateEndpoint(false)))
		mux.Handle("POST /api/"+v+"/subnet/{id}/read_state", n.endpoint(n.readStateEndpoint(true)))
	}
	mux.Handle("POST /api/v3/subnet/{id}/query", n.endpoint(n.queryEndpoint(true)))
	mux.HandleFunc("GET /{$}", n.welcome)
	return cors(mux)
}

// cors lets any page use the network, as a replica does.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET,POST")
			h.Set("Access-Control-Allow-Headers", "authorization,accept,content-type")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// welcome is for people who open the network's URL in a browser.
func (n *Network) welcome(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "This is an Internet Computer for development. Point an agent or a tool at this address.\n\nsubnet    %s\nroot key  %x\n",
		n.subnet, n.rootKey)
}

// answer is what an endpoint sends when it does not refuse: 200 with CBOR, or 202 with a text.
type answer struct {
	cbor     []byte
	accepted string
}

// endpoint is what all POST endpoints have in common: the bound on work in
// flight, reading and typing the body, the principal in the path, the answer.
func (n *Network) endpoint(serve func(r *http.Request, id candid.Principal, body []byte) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.life.RLock()
		defer n.life.RUnlock()
		if n.closed {
			n.refuse(w, r, errClosing)
			return
		}
		weight := int64(maxBodyBytes)
		if r.ContentLength >= 0 {
			weight = min(max(r.ContentLength, minRequestBytes), maxBodyBytes)
		}
		defer n.inFlight.Add(-weight)
		if n.inFlight.Add(weight) > maxInFlightBytes {
			n.refuse(w, r, errOverloaded)
			return
		}
		id, err := candid.ParsePrincipal(r.PathValue("id"))
		if err != nil {
			n.refuse(w, r, badRequest("Invalid URL: %v", err))
			return
		}
		body, err := readBody(w, r)
		if err != nil {
			n.refuse(w, r, err)
			return
		}
		ans, err := serve(r, id, body)
		switch {
		case err != nil:
			n.refuse(w, r, err)
		case ans.cbor == nil:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, ans.accepted)
		default:
			writeCBOR(w, ans.cbor)
		}
	})
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != cborType {
		return nil, badRequest("Unexpected content-type, expected %s.", cborType)
	}
	if r.ContentLength > maxBodyBytes {
		return nil, errBodyTooLarge(r.ContentLength)
	}
	reader := http.MaxBytesReader(w, r.Body, maxBodyBytes)
	if r.ContentLength > 0 {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(reader, body); err != nil {
			return nil, badRequest("Could not read the request body: %v", err)
		}
		return body, nil
	}
	body, err := io.ReadAll(reader)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errBodyTooLarge(maxBodyBytes + 1)
	case err != nil:
		return nil, badRequest("Could not read the request body: %v", err)
	}
	return body, nil
}

func errBodyTooLarge(size int64) error {
	return refusef(http.StatusRequestEntityTooLarge, "The request body is too large: at least %d bytes, at most %d allowed.", size, maxBodyBytes)
}

// refuse answers with an error. Anything but an httpError is a fault of ours:
// its details go to the log, not to the sender.
func (n *Network) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var he *httpError
	if !errors.As(err, &he) {
		n.log.Error("request failed", "path", r.URL.Path, "error", err)
		he = &httpError{http.StatusInternalServerError, "Internal error. The network's log says more."}
	}
	n.log.Debug("request refused", "path", r.URL.Path, "status", he.status, "text", he.text)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if he.status == http.StatusTooManyRequests || he.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(he.status)
	_, _ = io.WriteString(w, he.text)
}

func writeCBOR(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", cborType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
