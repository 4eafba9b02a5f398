package ic

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// endpoint remembers the newest version of an endpoint that the network has.
type endpoint struct {
	name       string
	versions   []int32 // newest first
	refuses404 bool    // a 404 may be about what is asked for

	current atomic.Int32 // 0: not known
	again   atomic.Int64 // when a newer version is looked for again, in nanoseconds since 1970
}

// lookAgain is how long an older version is used before the newer ones are tried
// again: the network may be upgraded, and what said 404 may not have been the network.
const lookAgain = 10 * time.Minute

// known returns the version to use, 0 if it has to be found out.
func (e *endpoint) known(now time.Time) int32 {
	version, due := e.current.Load(), e.again.Load()
	if version == 0 || version == e.versions[0] || now.UnixNano() < due {
		return version
	}
	if !e.again.CompareAndSwap(due, now.Add(lookAgain).UnixNano()) {
		return version // somebody else looks
	}
	return 0
}

func (e *endpoint) found(version int32, now time.Time) {
	if e.current.Load() != version {
		e.again.Store(now.Add(lookAgain).UnixNano())
		e.current.Store(version)
	}
}

// post sends an envelope to the newest version of an endpoint that the network
// has. A 404 of one version leads to the next older one, which is remembered
// once it exists; the last version's 404 is an answer. A version that is known
// is not given up for a 404, which a proxy on the way may give for a moment:
// the older versions promise less.
func (c *Client) post(ctx context.Context, e *endpoint, effective candid.Principal, envelope []byte) (body []byte, status int, err error) {
	known := e.known(c.opts.Now())
	for i, version := range e.versions {
		if known != 0 && version != known {
			continue
		}
		path := "/api/v" + strconv.Itoa(int(version)) + "/canister/" + effective.String() + "/" + e.name
		body, status, err = c.do(ctx, http.MethodPost, path, envelope)
		switch missing := missingEndpoint(err); {
		case missing && known != 0 && !e.refuses404:
			err = errVanished{err}
		case missing && known == 0 && i < len(e.versions)-1:
			continue
		case !missing && answered(err):
			e.found(version, c.opts.Now())
		}
		break
	}
	return body, status, err
}

// errVanished marks a 404 of an endpoint that has answered before.
type errVanished struct{ error }

func (e errVanished) Unwrap() error { return e.error }

// missingEndpoint reports a status that servers give for paths they do not know.
func missingEndpoint(err error) bool {
	var h *HTTPError
	return errors.As(err, &h) && (h.Status == http.StatusNotFound || h.Status == http.StatusMethodNotAllowed)
}

// answered reports whether a server answered something about the request.
func answered(err error) bool {
	var h *HTTPError
	return err == nil || errors.As(err, &h) && h.Status < 500
}
