package ic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

// replica is a server of the HTTP interface whose answers a test decides.
type replica struct {
	*testNet
	tb  testing.TB
	url string

	mu       sync.Mutex
	requests []request // guarded by mu
	// answer is called with mu held.
	answer func(r request) reply
}

type request struct {
	path string // without /api and the canister: "v4/call"
	body []byte
	*candid.Envelope
	id [32]byte
}

type reply struct {
	status int // 0: 200
	body   []byte
	header http.Header
}

func newReplica(tb testing.TB, answer func(r request) reply) *replica {
	tb.Helper()
	r := &replica{testNet: newTestNet(tb), tb: tb, answer: answer}
	server := httptest.NewServer(r)
	tb.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *replica) client(change func(*Options)) *Client {
	r.tb.Helper()
	opts := Options{
		URL: r.url, Verifier: r.verifier(), Now: func() time.Time { return testTime },
		PollInterval: time.Millisecond, PollCap: 2 * time.Millisecond,
	}
	if change != nil {
		change(&opts)
	}
	c := must(NewClient(opts))(r.tb)
	r.tb.Cleanup(c.Close)
	return c
}

func (r *replica) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	in := request{body: body, path: strings.TrimPrefix(req.URL.Path, "/api/")}
	if parts := strings.Split(in.path, "/"); len(parts) == 4 {
		in.path = parts[0] + "/" + parts[3]
	}
	if req.Method == http.MethodPost {
		if in.Envelope, err = candid.DecodeEnvelope(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		in.id = in.RequestID()
	}
	r.mu.Lock()
	r.requests = append(r.requests, in)
	out := r.answer(in)
	r.mu.Unlock()
	for k, v := range out.header {
		w.Header()[k] = v
	}
	if out.status != 0 {
		w.WriteHeader(out.status)
	}
	_, _ = w.Write(out.body)
}

// paths are the endpoints that were asked so far.
func (r *replica) paths() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, in := range r.requests {
		all = append(all, in.path)
	}
	return strings.Join(all, " ")
}

// replied is the body of a synchronous answer.
func replied(certificate []byte) reply {
	b := cbor.AppendMap(cbor.AppendSelfDescribe(nil), 2)
	b = cbor.AppendText(cbor.AppendText(b, "status"), "replied")
	return reply{body: cbor.AppendBytes(cbor.AppendText(b, "certificate"), certificate)}
}

// stateAnswer is the body of an answer to read_state.
func stateAnswer(certificate []byte) reply {
	b := cbor.AppendMap(cbor.AppendSelfDescribe(nil), 1)
	return reply{body: cbor.AppendBytes(cbor.AppendText(b, "certificate"), certificate)}
}

func rejectAnswer(status string, e *RejectError) reply {
	n := 2
	if status != "" {
		n++
	}
	if e.ErrorCode != "" {
		n++
	}
	b := cbor.AppendMap(cbor.AppendSelfDescribe(nil), n)
	if status != "" {
		b = cbor.AppendText(cbor.AppendText(b, "status"), status)
	}
	return reply{body: appendReject(b, e)}
}

func (r *replica) status(id [32]byte, fields map[string]string) []byte {
	return r.certify(tree(testTime, requestStatus(id, fields)), layoutNew)
}

// submit posts a signed call the way the gateway does.
func submit(tb testing.TB, c *Client) (Outcome, error) {
	tb.Helper()
	e := signedCall(tb, must(NewEd25519Identity())(tb))
	return c.Submit(tb.Context(), canisterA, e.Encode(), e.RequestID(), nil)
}

func TestSubmit(t *testing.T) {
	var r *replica
	tests := map[string]struct {
		answer    func(in request) reply
		reply     string
		accepted  bool
		want      string // error
		retryable bool
	}{
		"replied": {
			answer: func(in request) reply {
				return replied(r.status(in.id, map[string]string{"status": "replied", "reply": "the reply"}))
			},
			reply: "the reply",
		},
		"replied on the root subnet": {
			answer: func(in request) reply {
				return replied(r.certifyRoot(tree(testTime, requestStatus(in.id, map[string]string{"status": "replied", "reply": ""}))))
			},
		},
		"timeout":    {answer: func(request) reply { return reply{status: 202} }, accepted: true},
		"processing": {answer: func(in request) reply { return replied(r.status(in.id, map[string]string{"status": "processing"})) }, accepted: true},
		"rejected": {
			answer: func(in request) reply {
				return replied(r.status(in.id, map[string]string{"status": "rejected", "reject_code": "\x05", "reject_message": "trapped", "error_code": "IC0503"}))
			},
			want: "rejected with code 5 (IC0503): trapped",
		},
		"rejected before": {
			answer: func(request) reply {
				return rejectAnswer("non_replicated_rejection", &RejectError{Code: 4, Text: "not accepted", ErrorCode: "IC0516"})
			},
			want: "rejected with code 4 (IC0516): not accepted",
		},
		"rejected, version 2": {
			answer: func(request) reply { return rejectAnswer("", &RejectError{Code: 3, Text: "no canister"}) },
			want:   "rejected with code 3: no canister",
		},
		"done": {
			answer: func(in request) reply { return replied(r.status(in.id, map[string]string{"status": "done"})) },
			want:   "no longer known",
		},
		"another request": {
			answer: func(request) reply {
				return replied(r.status([32]byte{1}, map[string]string{"status": "replied", "reply": "x"}))
			},
			want: "says nothing about the request", retryable: true,
		},
		"pruned": {
			answer: func(in request) reply {
				return replied(r.certify(tree(testTime, requestStatus(in.id, map[string]string{"status": "replied"})).Prune(path("time")), layoutOld))
			},
			want: "request status: unknown", retryable: true,
		},
		"reply pruned": {
			answer: func(in request) reply {
				return replied(r.status(in.id, map[string]string{"status": "replied"}))
			},
			want: "reply: absent", retryable: true,
		},
		"another status": {
			answer: func(in request) reply { return replied(r.status(in.id, map[string]string{"status": "lost"})) },
			want:   `unknown request status "lost"`, retryable: true,
		},
		"forged": {
			answer: func(in request) reply {
				s := tree(testTime, requestStatus(in.id, map[string]string{"status": "replied", "reply": "x"}))
				return replied(EncodeCertificate(s, r.sign(r.subnet, Empty()), r.delegation(layoutNew, testTime)))
			},
			want: "BLS signature does not match", retryable: true,
		},
		"old certificate": {
			answer: func(in request) reply {
				s := tree(testTime.Add(-time.Hour), requestStatus(in.id, map[string]string{"status": "replied", "reply": "x"}))
				return replied(r.certify(s, layoutNew))
			},
			want: "not current", retryable: true,
		},
		"no CBOR":         {answer: func(request) reply { return reply{body: []byte("<html>")} }, want: "answer: ", retryable: true},
		"empty":           {answer: func(request) reply { return reply{} }, want: "answer: ", retryable: true},
		"unknown answer":  {answer: func(request) reply { return rejectAnswer("maybe", &RejectError{Code: 1}) }, want: `unknown status "maybe"`, retryable: true},
		"bad request":     {answer: func(request) reply { return reply{status: 400, body: []byte("Invalid\x1bsignature")} }, want: "HTTP status 400 Bad Request: Invalid signature"},
		"not found":       {answer: func(request) reply { return reply{status: 404} }, want: "HTTP status 404"},
		"too many":        {answer: func(request) reply { return reply{status: 429} }, want: "HTTP status 429", retryable: true},
		"unavailable":     {answer: func(request) reply { return reply{status: 503} }, want: "HTTP status 503", retryable: true},
		"redirect":        {answer: func(request) reply { return reply{status: 307, header: http.Header{"Location": {"/elsewhere"}}} }, want: "HTTP status 307", retryable: true},
		"moved":           {answer: func(request) reply { return reply{status: 301, header: http.Header{"Location": {"/elsewhere"}}} }, want: "HTTP status 301"},
		"a long answer":   {answer: func(request) reply { return reply{body: make([]byte, 5<<20)} }, want: "answer of more than 4194304 bytes", retryable: true},
		"an endless page": {answer: func(request) reply { return reply{status: 500, body: bytes.Repeat([]byte("x"), 5<<20)} }, want: "HTTP status 500", retryable: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r = newReplica(t, tt.answer)
			out, err := submit(t, r.client(nil))
			if tt.want != "" {
				errorContains(t, err, tt.want)
				equal(t, Retryable(err), tt.retryable)
				if len(err.Error()) > 1000 {
					t.Error("the error is too long to log")
				}
				return
			}
			noError(t, err)
			equal(t, string(out.Reply), tt.reply)
			equal(t, out.Accepted, tt.accepted)
		})
	}
}

// TestAnswered: it is told of answers with a certificate, whatever that turns out
// to be worth, and of nothing else.
func TestAnswered(t *testing.T) {
	var r *replica
	status := func(in request) []byte {
		return r.status(in.id, map[string]string{"status": "replied", "reply": "x"})
	}
	for name, tt := range map[string]struct {
		answer func(in request) reply
		want   int
		ok     bool
	}{
		"replied":  {func(in request) reply { return replied(status(in)) }, 1, true},
		"forged":   {func(in request) reply { return replied(bytes.Replace(status(in), []byte("reply"), []byte("Reply"), 1)) }, 1, false},
		"timeout":  {func(request) reply { return reply{status: 202} }, 0, true},
		"rejected": {func(request) reply { return rejectAnswer("non_replicated_rejection", &RejectError{Code: 4}) }, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			r = newReplica(t, tt.answer)
			told := 0
			e := signedCall(t, must(NewEd25519Identity())(t))
			_, err := r.client(nil).Submit(WithAnswered(t.Context(), func() { told++ }), canisterA, e.Encode(), e.RequestID(), nil)
			if told != tt.want || (err == nil) != tt.ok {
				t.Errorf("told %d times, %v", told, err)
			}
		})
	}
	Answered(t.Context()) // where nobody wants to know
}

func TestCallVersions(t *testing.T) {
	var r *replica
	// only answers the given version and older ones.
	only := func(newest string) func(in request) reply {
		return func(in request) reply {
			switch {
			case in.path > newest:
				return reply{status: 404}
			case strings.HasPrefix(in.path, "v2"):
				return reply{status: 202}
			}
			return replied(r.status(in.id, map[string]string{"status": "replied", "reply": "x"}))
		}
	}
	for newest, want := range map[string]string{
		"v4/call": "v4/call v4/call",
		"v3/call": "v4/call v3/call v3/call",
		"v2/call": "v4/call v3/call v2/call v2/call",
		"v1/call": "v4/call v3/call v2/call v4/call v3/call v2/call", // nothing to remember
	} {
		t.Run(newest, func(t *testing.T) {
			r = newReplica(t, only(newest))
			c := r.client(nil)
			for range 2 {
				_, err := submit(t, c)
				equal(t, err == nil, newest != "v1/call")
			}
			equal(t, r.paths(), want)
		})
	}
	t.Run("an error of the server is not remembered", func(t *testing.T) {
		r = newReplica(t, func(in request) reply {
			if in.path == "v4/call" {
				return reply{status: 404}
			}
			return reply{status: 503}
		})
		c := r.client(nil)
		for range 2 {
			_, err := submit(t, c)
			equal(t, Retryable(err), true)
		}
		equal(t, r.paths(), "v4/call v3/call v4/call v3/call")
	})
}

func TestSubmitWithoutVerifier(t *testing.T) {
	r := newReplica(t, func(request) reply { return reply{status: 202} })
	c := r.client(func(o *Options) { o.Verifier = nil })
	_, err := submit(t, c)
	equal(t, errors.Is(err, ErrNoRootKey), true)
	equal(t, Retryable(err), false)
	equal(t, r.paths(), "")
	c.SetVerifier(r.verifier())
	_, err = submit(t, c)
	noError(t, err)
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 0, "soon": 0, "-1": 0, "99999999999": 0,
		testTime.Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
		testTime.Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
	} {
		r := newReplica(t, func(request) reply {
			return reply{status: 429, header: http.Header{"Retry-After": {value}}}
		})
		_, err := submit(t, r.client(nil))
		var h *HTTPError
		equal(t, errors.As(err, &h), true)
		equal(t, h.RetryAfter, want)
	}
}

func TestCall(t *testing.T) {
	r := newReplica(t, nil)
	id := must(NewSecp256k1Identity())(t)
	r.answer = func(in request) reply {
		if err := VerifyEnvelope(in.Envelope, testTime); err != nil {
			return reply{status: 400, body: []byte(err.Error())}
		}
		return replied(r.status(in.id, map[string]string{"status": "replied", "reply": in.Method + string(in.Arg)}))
	}
	got, err := r.client(nil).Call(t.Context(), id, canisterA, "post", []byte("!"))
	noError(t, err)
	equal(t, string(got), "post!")
	equal(t, r.requests[0].Sender, id.Principal())
	equal(t, r.requests[0].IngressExpiry, nanos(testTime.Add(4*time.Minute)))
}

// TestCallWaits goes through the states of a call on a network that answers 202.
func TestCallWaits(t *testing.T) {
	final := map[string]struct {
		fields map[string]string
		reply  string
		want   string
	}{
		"replied":  {map[string]string{"status": "replied", "reply": "at last"}, "at last", ""},
		"rejected": {map[string]string{"status": "rejected", "reject_code": "\x04", "reject_message": "no"}, "", "call post of 22w4c-aaaaa: rejected with code 4: no"},
		"done":     {map[string]string{"status": "done"}, "", "no longer known"},
	}
	for name, tt := range final {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, nil)
			var call [32]byte
			looks := 0
			r.answer = func(in request) reply {
				switch in.path {
				case "v4/call":
					call = in.id
					return reply{status: 202}
				case "v3/read_state":
					if string(in.Paths[0][1]) != string(call[:]) || in.Sender != r.requests[0].Sender {
						return reply{status: 400}
					}
				}
				looks++
				switch looks {
				case 1: // not yet part of the state
					return stateAnswer(r.certify(tree(testTime, map[string]*HashTree{"request_status": Empty()}), layoutOld))
				case 2:
					return reply{status: 500}
				case 3: // a replica that shows less than was asked for
					return stateAnswer(r.certify(tree(testTime, requestStatus(call, nil)).Prune(path("time")), layoutOld))
				case 4:
					return stateAnswer(r.status(call, map[string]string{"status": "received"}))
				case 5:
					return stateAnswer(r.status(call, map[string]string{"status": "processing"}))
				}
				return stateAnswer(r.status(call, tt.fields))
			}
			got, err := r.client(nil).Call(t.Context(), must(NewEd25519Identity())(t), canisterA, "post", nil)
			equal(t, string(got), tt.reply)
			if tt.want == "" {
				noError(t, err)
			} else {
				errorContains(t, err, strings.ReplaceAll(tt.want, "22w4c-aaaaa", canisterA.String()))
				equal(t, Retryable(err), false)
			}
			equal(t, looks, 6)
		})
	}
}

func TestCallExpires(t *testing.T) {
	r := newReplica(t, nil)
	now := testTime
	r.answer = func(in request) reply {
		if in.path == "v4/call" {
			return reply{status: 202}
		}
		now = now.Add(time.Minute) // with mu held; the client asks one thing at a time
		return stateAnswer(r.certify(tree(now, map[string]*HashTree{"request_status": Empty()}), layoutOld))
	}
	c := r.client(func(o *Options) {
		o.Now = func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return now }
	})
	_, err := c.Call(t.Context(), must(NewEd25519Identity())(t), canisterA, "post", nil)
	equal(t, errors.Is(err, ErrExpired), true)
}

func TestCallResubmits(t *testing.T) {
	r := newReplica(t, nil)
	r.answer = func(in request) reply {
		if len(r.requests) < submitAttempts {
			return reply{status: 503, header: http.Header{"Retry-After": {"0"}}}
		}
		return replied(r.status(in.id, map[string]string{"status": "replied", "reply": "x"}))
	}
	id := must(NewEd25519Identity())(t)
	_, err := r.client(nil).Call(t.Context(), id, canisterA, "post", nil)
	noError(t, err)
	equal(t, len(r.requests), submitAttempts)
	for _, in := range r.requests {
		equalBytes(t, in.body, r.requests[0].body)
	}

	r.answer = func(request) reply { return reply{status: 503} }
	r.requests = nil
	_, err = r.client(nil).Call(t.Context(), id, canisterA, "post", nil)
	errorContains(t, err, "HTTP status 503")
	equal(t, len(r.requests), submitAttempts)

	r.answer = func(request) reply { return reply{status: 403} }
	r.requests = nil
	_, err = r.client(nil).Call(t.Context(), id, canisterA, "post", nil)
	errorContains(t, err, "HTTP status 403")
	equal(t, len(r.requests), 1)
}

func TestCallIsCancelled(t *testing.T) {
	r := newReplica(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r.answer = func(in request) reply {
		if in.path == "v4/call" {
			return reply{status: 202}
		}
		cancel()
		return stateAnswer(r.certify(tree(testTime, map[string]*HashTree{"request_status": Empty()}), layoutOld))
	}
	_, err := r.client(nil).Call(ctx, must(NewEd25519Identity())(t), canisterA, "post", nil)
	equal(t, errors.Is(err, context.Canceled), true)
	equal(t, Retryable(err), false)
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := must(NewClient(Options{URL: server.URL}))(t)
	defer c.Close()
	_, err := c.Status(t.Context())
	errorContains(t, err, "status: ")
	equal(t, Retryable(err), true)
}

func TestSlowServer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	c := must(NewClient(Options{URL: server.URL, Timeout: 20 * time.Millisecond}))(t)
	defer c.Close()
	_, err := c.Status(t.Context())
	equal(t, errors.Is(err, context.DeadlineExceeded), true)
	equal(t, Retryable(err), true)
}

func TestStatus(t *testing.T) {
	r := newReplica(t, func(in request) reply {
		equal(t, in.path, "v2/status")
		b := cbor.AppendMap(cbor.AppendSelfDescribe(nil), 4)
		b = cbor.AppendBytes(cbor.AppendText(b, "root_key"), "key")
		b = cbor.AppendText(cbor.AppendText(b, "impl_version"), "1.2")
		b = cbor.AppendText(cbor.AppendText(b, "replica_health_status"), "healthy")
		return reply{body: append(cbor.AppendText(b, "certified_height"), 0x01)}
	})
	s, err := r.client(nil).Status(t.Context())
	noError(t, err)
	equal(t, string(s.RootKey), "key")
	equal(t, s.Version, "1.2")
	equal(t, s.Health, "healthy")
}

func TestNewClientRefuses(t *testing.T) {
	for _, u := range []string{"", "localhost:8000", "ftp://x", "http://", "http://user@x", "http://x/?a=b", "http://x/#f", "http://[::1", "://"} {
		if _, err := NewClient(Options{URL: u}); err == nil {
			t.Errorf("%q was accepted", u)
		}
	}
	c := must(NewClient(Options{URL: "https://icp-api.io/"}))(t)
	equal(t, c.URL(), "https://icp-api.io")
}

func TestRetryable(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("operation: %w", err) }
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":          {nil, false},
		"reject":           {&RejectError{Code: 2}, false},
		"400":              {&HTTPError{Status: 400}, false},
		"408":              {&HTTPError{Status: 408}, true},
		"429":              {&HTTPError{Status: 429}, true},
		"500":              {&HTTPError{Status: 500}, true},
		"connection":       {io.ErrUnexpectedEOF, true},
		"certificate":      {&CertificateError{errors.New("x")}, true},
		"cancelled":        {context.Canceled, false},
		"deadline":         {context.DeadlineExceeded, true},
		"expired":          {ErrExpired, false},
		"no key":           {ErrNoRootKey, false},
		"own mistake":      {errRequest{errors.New("cannot sign")}, false},
		"query signatures": {ErrQuerySignature, true},
	} {
		t.Run(name, func(t *testing.T) {
			equal(t, Retryable(tt.err), tt.want)
			if tt.err != nil {
				equal(t, Retryable(wrap(tt.err)), tt.want)
			}
		})
	}
	equal(t, (&RejectError{Code: 2}).Transient(), true)
	equal(t, (&RejectError{Code: 5}).Transient(), false)
	for code, stopped := range map[string]bool{"IC0508": true, "IC0509": true, "IC0503": false, "": false} {
		equal(t, (&RejectError{Code: 5, ErrorCode: code}).Stopped(), stopped)
	}
}
