package ic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/internal/defaults"
)

// Options configure a Client. Zero fields take their defaults.
type Options struct {
	// URL of the network's HTTP interface, such as https://icp-api.io. Required.
	URL string
	// Verifier checks replies to calls and state. It may be set later with
	// SetVerifier; until then Call, ReadState and verified queries fail with ErrNoRootKey.
	Verifier *Verifier
	// VerifyQueries makes Query check the signature of the node that answered.
	VerifyQueries bool

	DialTimeout time.Duration // default 10 s
	// Timeout bounds one HTTP request in all. Replicas hold synchronous calls for
	// about 10 s. Default 20 s.
	Timeout     time.Duration
	IdleTimeout time.Duration // how long an unused connection is kept, default 90 s
	MaxIdle     int           // connections kept for later, default 256
	MaxReply    int64         // bytes of one answer, default 4 MiB

	// MaxCertificateAge bounds the age of certificates, default 5 min.
	MaxCertificateAge time.Duration
	// PollInterval is the first pause between two looks at a request's status,
	// default 250 ms. Pauses grow by half up to PollCap, default 2 s.
	PollInterval, PollCap time.Duration

	Now       func() time.Time  // default time.Now
	Transport http.RoundTripper // default: a transport of the client's own
	// Wrap, if set, puts something around the client's own transport that sees every request.
	Wrap func(http.RoundTripper) http.RoundTripper
}

func (o *Options) setDefaults() {
	defaults.Set(&o.DialTimeout, 10*time.Second)
	defaults.Set(&o.Timeout, 20*time.Second)
	defaults.Set(&o.IdleTimeout, 90*time.Second)
	defaults.Set(&o.MaxIdle, 256)
	defaults.Set(&o.MaxReply, 4<<20)
	defaults.Set(&o.MaxCertificateAge, 5*time.Minute)
	defaults.Set(&o.PollInterval, 250*time.Millisecond)
	defaults.Set(&o.PollCap, 2*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Client talks to one network. It is safe for concurrent use; all requests share
// one pool of connections.
type Client struct {
	opts     Options
	base     string
	http     *http.Client
	own      *http.Transport // nil if the transport was given
	verifier atomic.Pointer[Verifier]
	nodes    *nodeKeys

	call, query, readState endpoint
}

// NewClient returns a client of the network at opts.URL. It connects to nothing yet.
func NewClient(opts Options) (*Client, error) {
	opts.setDefaults()
	u, err := url.Parse(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("network URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("network URL %q: expected http(s)://host[:port]", opts.URL)
	}
	c := &Client{opts: opts, base: strings.TrimRight(u.String(), "/"), nodes: newNodeKeys()}
	c.call = endpoint{name: "call", versions: []int32{4, 3, 2}}
	c.query = endpoint{name: "query", versions: []int32{3, 2}}
	c.readState = endpoint{name: "read_state", versions: []int32{3, 2}, refuses404: true}
	c.verifier.Store(opts.Verifier)
	transport := opts.Transport
	if transport == nil {
		c.own = newTransport(&opts)
		transport = c.own
		if opts.Wrap != nil {
			transport = opts.Wrap(c.own)
		}
	}
	c.http = &http.Client{
		Transport: transport,
		// A redirected request would carry its signature to a host nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close closes unused connections. Requests under way go on.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// URL is the network's URL without a slash at its end.
func (c *Client) URL() string { return c.base }

// SetVerifier sets the verifier of replies, for networks whose root key is only
// known once they run.
func (c *Client) SetVerifier(v *Verifier) { c.verifier.Store(v) }

// Verifier returns the verifier, nil if there is none yet.
func (c *Client) Verifier() *Verifier { return c.verifier.Load() }

// Status is what a network says about itself. Nothing of it is certified.
type Status struct {
	RootKey []byte // DER; only development networks send it
	Version string // "impl_version", may be empty
	Health  string // "replica_health_status", may be empty
}

// Status asks the network for its status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	body, _, err := c.do(ctx, http.MethodGet, "/api/v2/status", nil)
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	s, err := decodeStatus(body)
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	return s, nil
}

// maxErrorText bounds how much of an error page is kept.
const maxErrorText = 512

// do sends one HTTP request. Statuses other than 200 and 202 are *HTTPError.
func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, 0, errRequest{err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/cbor")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.suspect(ctx)
		return nil, 0, transportError(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to lose
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return nil, resp.StatusCode, readHTTPError(resp, c.opts.Now())
	}
	answer, err := readBody(resp, c.opts.MaxReply)
	if err != nil {
		c.suspect(ctx)
		return nil, resp.StatusCode, transportError(ctx, err)
	}
	return answer, resp.StatusCode, nil
}

// transportError prefers the context's reason to the transport's wording of it,
// so that a cancelled caller and a slow network can be told apart.
func transportError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

func readBody(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("answer of %d bytes, at most %d allowed", resp.ContentLength, limit)
	}
	var buf bytes.Buffer
	if resp.ContentLength > 0 {
		buf.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if n > limit {
		return nil, fmt.Errorf("answer of more than %d bytes", limit)
	}
	return buf.Bytes(), nil
}

func readHTTPError(resp *http.Response, now time.Time) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
	e := &HTTPError{Status: resp.StatusCode, Text: strings.Map(printable, strings.ToValidUTF8(string(text), "?"))}
	e.Text = strings.TrimSpace(e.Text)
	after := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second //nolint:gosec // 31 bits
	} else if at, err := http.ParseTime(after); err == nil && at.After(now) {
		e.RetryAfter = at.Sub(now)
	}
	return e
}

// printable keeps control characters of strangers out of logs.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}
