package localnet

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/localnet/execution"
)

const (
	// stateAge is how old the state in a certificate may be when nothing has
	// changed: signing costs 0.2 ms, and pollers come in crowds.
	stateAge = 50 * time.Millisecond
	// dataCertificateAge is how long a query may hand out the same certificate
	// while the canister's certified data stay what they are.
	dataCertificateAge = time.Second
	// maxDataCertificates bounds the certificates that are kept for queries.
	maxDataCertificates = 4096
)

// certifier makes certificates of the machine's canisters and the calls' status.
type certifier struct {
	log      *slog.Logger
	now      func() time.Time
	key      *ic.BLSKey
	rootKey  []byte // DER
	subnet   candid.Principal
	alias    candid.Principal // the other id that the subnet is listed under
	node     *node
	machine  machine
	requests *requests
	ranges   *ic.HashTree
	height   atomic.Uint64 // states signed

	mu        sync.Mutex // guards what follows; held while signing, so that a crowd shares one signature
	last      *snapshot
	canisters labelMap
	infos     map[candid.Principal]*execution.CanisterInfo

	dataMu sync.RWMutex // guards data
	data   map[candid.Principal]dataCertificate
}

// dataCertificate is a certificate that queries of one canister hand out.
type dataCertificate struct {
	certified []byte
	time      time.Time
	encoded   []byte
}

// state returns a signed state. All that has happened before the call is in it:
// answered calls, certified data, new canisters.
func (c *certifier) state() (*snapshot, error) {
	// Versions grow. They are read before the mutex is taken, so that all who wait
	// for it while one signs are content with the next signature.
	machineVersion, requestVersion := c.machine.Version(), c.requests.view().version
	// Whatever else can be done first, such as another call, shares the signature then.
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if l := c.last; l != nil && l.machineVersion >= machineVersion && l.requestVersion >= requestVersion {
		if age := now.Sub(l.time); age >= 0 && age < stateAge {
			return l, nil
		}
	}
	// Here, too, first the version: what changes after that makes the next state differ.
	machineVersion = c.machine.Version()
	requests := c.requests.view()
	if c.last == nil || c.last.machineVersion != machineVersion {
		c.refresh()
	}
	s := &snapshot{
		time:           now,
		canisters:      c.canisters,
		requests:       requests.tree,
		ranges:         c.ranges,
		subnets:        subnetTree(c.subnet, c.alias, c.rootKey, c.node, encodeMetrics(c.canisters.size, requests.total)),
		machineVersion: machineVersion,
		requestVersion: requests.version,
	}
	signature, err := c.key.SignTree(s.top())
	if err != nil {
		return nil, fmt.Errorf("sign the state: %w", err)
	}
	s.signature = signature
	c.last = s
	c.height.Add(1)
	return s, nil
}

// refresh brings the canisters up to date. The caller holds mu.
func (c *certifier) refresh() {
	present := make(map[candid.Principal]*execution.CanisterInfo, len(c.infos))
	for _, id := range c.machine.Canisters() {
		info, ok := c.machine.Info(id)
		if !ok {
			continue // deleted meanwhile
		}
		present[id] = &info
		if old := c.infos[id]; old == nil || !sameInTree(old, &info) {
			c.canisters = c.canisters.set(id.Bytes(), canisterTree(&info))
		}
	}
	for id := range c.infos {
		if present[id] == nil {
			c.canisters = c.canisters.remove(id.Bytes())
		}
	}
	c.infos = present
}

// dataCertificate returns what ic0.data_certificate hands out in a query: a
// certificate of the time and the canister's certified data, nothing else. It is
// made again when the data change or it grows old, so that thousands of polls a
// second cost a lookup each. The machine calls it while the query runs. It
// returns the data that are in the certificate, too: they may have changed on the
// way. Nil if there is none, which the canister sees as an absent certificate.
func (c *certifier) dataCertificate(canister candid.Principal) (encoded, certified []byte) {
	info, ok := c.machine.Info(canister)
	if !ok {
		return nil, nil
	}
	now := c.now()
	c.dataMu.RLock()
	cached, ok := c.data[canister]
	c.dataMu.RUnlock()
	if age := now.Sub(cached.time); ok && bytes.Equal(cached.certified, info.CertifiedData) && age >= 0 && age < dataCertificateAge {
		return cached.encoded, cached.certified
	}
	s, err := c.state()
	if err != nil {
		c.log.Error("no certificate for a query", "canister", canister.String(), "error", err)
		return nil, nil
	}
	if tree := s.canisters.get(canister.Bytes()); tree != nil {
		certified, _ = tree.Lookup([]byte("certified_data"))
	}
	encoded = s.certificate([]path{{[]byte("canister"), canister.Bytes(), []byte("certified_data")}})
	c.dataMu.Lock()
	defer c.dataMu.Unlock()
	if len(c.data) >= maxDataCertificates {
		clear(c.data)
	}
	c.data[canister] = dataCertificate{certified, s.time, encoded}
	return encoded, certified
}
