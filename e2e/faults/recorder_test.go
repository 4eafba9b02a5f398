package faults

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// A recorder sees every request that a gateway makes to its network.
type recorder struct {
	next http.RoundTripper

	mu    sync.Mutex
	all   []*asked
	under map[question]int // requests under way
	most  map[question]int // and the most there were of them
}

// A question is a method of a canister.
type question struct {
	canister candid.Principal
	method   string
}

// asked is one request.
type asked struct {
	question
	at     time.Time
	took   time.Duration // until the answer's headers; 0: there is none yet
	status int           // 0: no answer
}

func newRecorder(next http.RoundTripper) *recorder {
	return &recorder{next: next, under: make(map[question]int), most: make(map[question]int)}
}

// RoundTrip notes a request, from its start to the end of its answer's body.
func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	a := &asked{question: questionOf(request), at: time.Now()}
	r.mu.Lock()
	r.all = append(r.all, a)
	r.under[a.question]++
	r.most[a.question] = max(r.most[a.question], r.under[a.question])
	r.mu.Unlock()
	end := sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.under[a.question]--
	})
	response, err := r.next.RoundTrip(request)
	r.mu.Lock()
	a.took = time.Since(a.at)
	if err == nil {
		a.status = response.StatusCode
	}
	r.mu.Unlock()
	if err != nil {
		end()
		return nil, err
	}
	response.Body = &endOfBody{response.Body, end}
	return response, nil
}

type endOfBody struct {
	io.ReadCloser
	end func()
}

func (b *endOfBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// questionOf reads the envelope in a request.
func questionOf(request *http.Request) question {
	if request.GetBody == nil {
		return question{method: request.URL.Path}
	}
	body, err := request.GetBody()
	if err != nil {
		return question{}
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return question{}
	}
	e, err := candid.DecodeEnvelope(raw)
	if err != nil {
		return question{}
	}
	if e.RequestType == candid.RequestReadState {
		return question{method: "read_state"}
	}
	return question{e.Canister, e.Method}
}

// since are the requests of some kind from a time on.
func (r *recorder) since(from time.Time, of func(question) bool) (some []asked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.all {
		if !a.at.Before(from) && of(a.question) {
			some = append(some, *a)
		}
	}
	return some
}

// mostPolls is how many polls of a canister were under way at once.
func (r *recorder) mostPolls(canister candid.Principal) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most[question{canister, "ws_get_messages"}]
}

func anything(question) bool { return true }

func polls(q question) bool { return q.method == "ws_get_messages" }

// failures are those that have been answered with anything but 200.
func failures(some []asked) (n int) {
	for _, a := range some {
		if a.took > 0 && a.status != http.StatusOK {
			n++
		}
	}
	return n
}
