package bridge

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// idleAddresses is how many addresses without a socket are remembered, at
// least, so that leaving and coming back does not refill their bucket.
const idleAddresses = 8192

// addresses is what is known of each client address. Those with sockets are as
// many as there are sockets; of the others the last to be heard of are kept, in
// two generations instead of a list. Somebody with more addresses than that
// makes the gateway forget buckets that would be full again anyway after
// burst/rate seconds, and costs it no more memory.
type addresses struct {
	rate  rate.Limit
	burst int

	active       map[netip.Prefix]*address
	young, older map[netip.Prefix]*address
}

// An address is one client address, or one /64 of them.
type address struct {
	key     netip.Prefix
	sockets int
	bucket  *rate.Limiter // new connections
}

func newAddresses(perSecond, burst int) addresses {
	return addresses{
		rate:   rate.Limit(perSecond),
		burst:  burst,
		active: make(map[netip.Prefix]*address),
		young:  make(map[netip.Prefix]*address),
	}
}

// find returns what is known of an address, which may be nothing.
func (t *addresses) find(key netip.Prefix) *address {
	if a := t.active[key]; a != nil {
		return a
	}
	a := t.young[key]
	if a == nil {
		if a = t.older[key]; a == nil {
			a = &address{key: key, bucket: rate.NewLimiter(t.rate, t.burst)}
		}
		t.rest(a)
	}
	return a
}

// rest remembers an address without sockets, for a while.
func (t *addresses) rest(a *address) {
	if len(t.young) >= idleAddresses {
		t.older, t.young = t.young, make(map[netip.Prefix]*address)
	}
	t.young[a.key] = a
}

// enter counts a socket.
func (t *addresses) enter(a *address) {
	if a.sockets++; a.sockets == 1 {
		t.active[a.key] = a
		delete(t.young, a.key)
		delete(t.older, a.key)
	}
}

// leave counts it out.
func (t *addresses) leave(a *address) {
	if a.sockets--; a.sockets == 0 {
		delete(t.active, a.key)
		t.rest(a)
	}
}

// take is one attempt to connect. It reports whether the rate allows it.
func (a *address) take(now time.Time) bool { return a.bucket.AllowN(now, 1) }
