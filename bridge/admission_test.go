package bridge

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

func from(address string) caller { return caller{addr: netip.MustParseAddr(address)} }

// An admissionTest is an admission with a clock that stands still.
type admissionTest struct {
	*testing.T
	*admission
	now time.Time
}

func newAdmissionTest(t *testing.T, l Limits) *admissionTest {
	t.Helper()
	return &admissionTest{t, newAdmission(l.withDefaults()), time.Unix(1_700_000_000, 0)}
}

// admitted takes n places, all of which there must be.
func (a *admissionTest) admitted(c caller, n int) (places []*place) {
	a.Helper()
	for i := range n {
		p, denied := a.enter(c, a.now)
		if denied != nil {
			a.Fatalf("%s: connection %d refused: %+v", c, i+1, denied)
		}
		places = append(places, p)
	}
	return places
}

func (a *admissionTest) refused(c caller, status int, cause cause) {
	a.Helper()
	_, denied := a.enter(c, a.now)
	if denied == nil || denied.status != status || denied.cause != cause || denied.retry <= 0 || denied.text == "" {
		a.Fatalf("%s: got %+v, want %d for %s", c, denied, status, causeNames[cause])
	}
}

func TestConnectionsInAll(t *testing.T) {
	a := newAdmissionTest(t, Limits{MaxConnections: 3})
	a.admitted(caller{own: true}, 1)
	a.admitted(from("203.0.113.1"), 1)
	last := a.admitted(from("203.0.113.2"), 1)[0]
	a.refused(from("203.0.113.3"), http.StatusServiceUnavailable, causeConnections)
	a.refused(caller{own: true}, http.StatusServiceUnavailable, causeConnections)
	last.leave()
	a.admitted(from("203.0.113.3"), 1)
	a.refused(from("203.0.113.2"), http.StatusServiceUnavailable, causeConnections)
}

func TestConnectionsPerAddress(t *testing.T) {
	a := newAdmissionTest(t, Limits{MaxConnectionsPerAddress: 2})
	places := a.admitted(from("203.0.113.1"), 2)
	a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionsPerAddress)
	a.admitted(from("203.0.113.2"), 2) // another address
	a.admitted(caller{own: true}, 10)  // the machine's own
	places[0].leave()
	a.admitted(from("203.0.113.1"), 1)
	a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionsPerAddress)

	a.admitted(from("2001:db8:0:1::1"), 2)
	a.refused(from("2001:db8:0:1:ffff::"), http.StatusTooManyRequests, causeConnectionsPerAddress) // the same customer
	a.admitted(from("2001:db8:0:2::1"), 1)
	a.admitted(caller{}, 2) // nobody can tell
	a.refused(caller{}, http.StatusTooManyRequests, causeConnectionsPerAddress)
}

func TestConnectionRatePerAddress(t *testing.T) {
	a := newAdmissionTest(t, Limits{ConnectionRatePerAddress: 2, ConnectionBurstPerAddress: 5})
	for _, p := range a.admitted(from("203.0.113.1"), 5) {
		p.leave() // who leaves and comes back is counted all the same
	}
	a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionRatePerAddress)
	a.admitted(from("203.0.113.2"), 5)
	a.admitted(caller{own: true}, 20)
	a.now = a.now.Add(499 * time.Millisecond)
	a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionRatePerAddress)
	a.now = a.now.Add(time.Millisecond)
	a.admitted(from("203.0.113.1"), 1)
	a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionRatePerAddress)
	a.now = a.now.Add(time.Hour)
	a.admitted(from("203.0.113.1"), 5)
	a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionRatePerAddress)
}

func TestConnectionRateInAll(t *testing.T) {
	a := newAdmissionTest(t, Limits{ConnectionRate: 10, ConnectionBurst: 20})
	a.admitted(caller{own: true}, 10)
	a.admitted(from("203.0.113.1"), 10)
	a.refused(from("203.0.113.2"), http.StatusServiceUnavailable, causeConnectionRate)
	a.refused(caller{own: true}, http.StatusServiceUnavailable, causeConnectionRate)
	a.now = a.now.Add(100 * time.Millisecond)
	a.admitted(from("203.0.113.2"), 1)
	a.refused(from("203.0.113.2"), http.StatusServiceUnavailable, causeConnectionRate)
}

// One address that asks all the time takes nothing from what the others have.
func TestImpatientAddress(t *testing.T) {
	a := newAdmissionTest(t, Limits{ConnectionRate: 10, ConnectionBurst: 20, ConnectionRatePerAddress: 1, ConnectionBurstPerAddress: 5})
	a.admitted(from("203.0.113.1"), 5)
	for range 1000 {
		a.refused(from("203.0.113.1"), http.StatusTooManyRequests, causeConnectionRatePerAddress)
	}
	for i := range 3 {
		a.admitted(from(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String()), 5)
	}
}

// Somebody with many addresses gets no more memory than the table may have,
// while those who are connected are still counted.
func TestManyAddresses(t *testing.T) {
	a := newAdmissionTest(t, Limits{MaxConnectionsPerAddress: 1, ConnectionRate: 1 << 30, ConnectionBurst: 1 << 30})
	known := make([]*place, 10)
	for i := range known {
		known[i] = a.admitted(from(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String()), 1)[0]
	}
	for n := range uint32(5 * idleAddresses) {
		var raw [16]byte
		raw[0] = 0x20
		binary.BigEndian.PutUint32(raw[4:], n)
		a.admitted(caller{addr: netip.AddrFrom16(raw)}, 1)[0].leave()
		if size := len(a.addresses.active) + len(a.addresses.young) + len(a.addresses.older); size > len(known)+1+2*idleAddresses {
			t.Fatalf("%d addresses remembered after %d", size, n+1)
		}
	}
	for i := range known {
		a.refused(from(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String()), http.StatusTooManyRequests, causeConnectionsPerAddress)
	}
	for _, p := range known {
		p.leave()
	}
	if a.taken() != 0 || len(a.addresses.active) != 0 {
		t.Errorf("%d places taken, %d addresses active", a.taken(), len(a.addresses.active))
	}
}

// Attempts that are refused leave no more behind than those that are not.
func TestManyRefusedAddresses(t *testing.T) {
	a := newAdmissionTest(t, Limits{ConnectionRate: 1, ConnectionBurst: 1})
	a.admitted(from("203.0.113.1"), 1)
	for n := range uint32(3 * idleAddresses) {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], n)
		a.refused(caller{addr: netip.AddrFrom4(raw)}, http.StatusServiceUnavailable, causeConnectionRate)
	}
	if size := len(a.addresses.young) + len(a.addresses.older); size > 2*idleAddresses {
		t.Errorf("%d addresses remembered", size)
	}
}

func BenchmarkAdmission(b *testing.B) {
	l := DefaultLimits()
	l.ConnectionRate, l.ConnectionBurst = 1<<30, 1<<30
	a := newAdmission(l)
	b.ReportAllocs()
	for n := uint32(0); b.Loop(); n++ {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], n)
		if p, denied := a.enter(caller{addr: netip.AddrFrom4(raw)}, time.Now()); denied == nil {
			p.leave()
		}
	}
}
