package ic

import (
	"testing"
	"time"
)

// A proxy on the way that says 404 for a moment does not bring the client down
// to an older version, which promises less.
func TestVersionIsKept(t *testing.T) {
	var r *replica
	missing := false
	r = newReplica(t, func(in request) reply {
		if missing && in.path == "v4/call" {
			return reply{status: 404}
		}
		return replied(r.status(in.id, map[string]string{"status": "replied", "reply": "x"}))
	})
	c := r.client(nil)
	for _, missing = range []bool{false, true, false} {
		_, err := submit(t, c)
		if !missing {
			noError(t, err)
			continue
		}
		errorContains(t, err, "HTTP status 404")
		equal(t, Retryable(err), true)
	}
	equal(t, r.paths(), "v4/call v4/call v4/call")
}

// What read_state does not know is a 404, too, and an answer.
func TestUnknownPathIsAnAnswer(t *testing.T) {
	r := newReplica(t, nil)
	known := true
	r.answer = func(request) reply {
		if known {
			return stateAnswer(r.certify(tree(testTime, nil), layoutOld))
		}
		return reply{status: 404}
	}
	c := r.client(nil)
	for _, known = range []bool{true, false} {
		_, err := c.ReadState(t.Context(), AnonymousIdentity{}, canisterA, [][][]byte{path("time")})
		equal(t, err == nil, known)
		equal(t, Retryable(err), false)
	}
	equal(t, r.paths(), "v3/read_state v3/read_state")
}

// A network that gets newer endpoints is noticed after a while.
func TestNewerVersionIsFound(t *testing.T) {
	r := newReplica(t, nil)
	upgraded, now := false, testTime
	r.answer = func(in request) reply {
		if !upgraded && in.path == "v4/call" {
			return reply{status: 404}
		}
		status := requestStatus(in.id, map[string]string{"status": "replied", "reply": "x"})
		return replied(r.certify(tree(now, status), layoutNew))
	}
	c := r.client(func(o *Options) { o.Now = func() time.Time { return now } })
	for _, step := range []struct {
		wait     time.Duration
		upgraded bool
	}{
		{0, false},
		{time.Second, false},
		{lookAgain, false}, // looks, in vain
		{time.Second, true},
		{lookAgain, true},
		{time.Second, true},
	} {
		now, upgraded = now.Add(step.wait), step.upgraded
		_, err := submit(t, c)
		noError(t, err)
	}
	equal(t, r.paths(), "v4/call v3/call v3/call v4/call v3/call v3/call v4/call v4/call")
}
