package bridge

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// admission decides who may have a socket. It is asked once for each, so that
// one lock for all is cheap enough.
type admission struct {
	total      int
	perAddress int

	mu        sync.Mutex
	sockets   int // open or being upgraded
	bucket    *rate.Limiter
	addresses addresses
}

func newAdmission(l Limits) *admission {
	return &admission{
		total:      l.MaxConnections,
		perAddress: l.MaxConnectionsPerAddress,
		bucket:     rate.NewLimiter(rate.Limit(l.ConnectionRate), l.ConnectionBurst),
		addresses:  newAddresses(l.ConnectionRatePerAddress, l.ConnectionBurstPerAddress),
	}
}

// A place is the right to one socket. It must be given back by leave, once.
type place struct {
	admission *admission
	address   *address // nil: limits by address do not apply
}

// whenFull and whenBusy are when to come back: a place becomes free when somebody
// leaves, and a bucket that is empty has its next token soon.
const (
	whenFull = 5 * time.Second
	whenBusy = time.Second
)

// enter takes a place, or says why there is none. An address that asks too
// often is refused before it can take anything from the others' rate.
func (a *admission) enter(c caller, now time.Time) (*place, *denial) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sockets >= a.total {
		return nil, &denial{http.StatusServiceUnavailable, causeConnections, "the gateway takes no more connections now, try again later", whenFull}
	}
	p := &place{admission: a}
	if !c.own {
		p.address = a.addresses.find(c.key())
		switch {
		case p.address.sockets >= a.perAddress:
			return nil, &denial{http.StatusTooManyRequests, causeConnectionsPerAddress, "your address has as many connections as it may have, close one or try again later", whenFull}
		case !p.address.take(now):
			return nil, &denial{http.StatusTooManyRequests, causeConnectionRatePerAddress, "your address opens connections too fast, try again later", whenBusy}
		}
	}
	if !a.bucket.AllowN(now, 1) {
		return nil, &denial{http.StatusServiceUnavailable, causeConnectionRate, "too many clients connect at this moment, try again later", whenBusy}
	}
	a.sockets++
	if p.address != nil {
		a.addresses.enter(p.address)
	}
	return p, nil
}

func (p *place) leave() {
	a := p.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets--
	if p.address != nil {
		a.addresses.leave(p.address)
	}
}

// taken returns the number of sockets.
func (a *admission) taken() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sockets
}
