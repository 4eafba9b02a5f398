package faults

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// A fakeProxy is an HTTP proxy between gateway and network that can answer in
// the network's place. Every other request that it answers so, it passes on
// nevertheless: what was asked for happens, and only the answer is lost.
type fakeProxy struct {
	url      string
	upstream string
	client   *http.Client

	mu    sync.Mutex
	fault fault // nil: none
	count int
	last  map[question]answer // the last good answers
	goods map[question]int    // how many there were
}

// A fault answers a request; true means that it did.
type fault func(p *fakeProxy, w http.ResponseWriter, q question, real answer) bool

type answer struct {
	status int
	header http.Header
	body   []byte
}

func newFakeProxy(t *testing.T, networkURL string) *fakeProxy {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	p := &fakeProxy{upstream: networkURL, client: &http.Client{Transport: transport}, last: make(map[question]answer), goods: make(map[question]int)}
	server := httptest.NewServer(p)
	p.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections() // of requests that are never answered
		server.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// use begins a fault; nil ends it.
func (p *fakeProxy) use(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *fakeProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	q := questionOf(r)
	p.mu.Lock()
	fault := p.fault
	p.count++
	pass := fault == nil || p.count%2 == 0
	p.mu.Unlock()
	var real answer
	if pass {
		if real, err = p.ask(r, body); err != nil {
			panic(http.ErrAbortHandler) // the network has gone
		}
	}
	if fault != nil && fault(p, w, q, real) {
		return
	}
	if !pass {
		if real, err = p.ask(r, body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	p.mu.Lock()
	p.last[q] = real
	if real.status == http.StatusOK {
		p.goods[q]++
	}
	p.mu.Unlock()
	real.write(w)
}

func (p *fakeProxy) ask(r *http.Request, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, p.upstream+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	response, err := p.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, content}, err
}

func (a answer) write(w http.ResponseWriter) {
	for key, values := range a.header {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// good is how many good answers there were to a question.
func (p *fakeProxy) good(q question) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.goods[q]
}

// earlier is the last good answer to a question, if there was one.
func (p *fakeProxy) earlier(of func(question) bool) (answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for q, a := range p.last {
		if of(q) {
			return a, true
		}
	}
	return answer{}, false
}

// says is a fault with a status and a body.
func says(status int, body string, header ...string) fault {
	return func(_ *fakeProxy, w http.ResponseWriter, _ question, _ answer) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}
