package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/icrelay/icrelay/client"
)

// failures counts errors by kind and keeps the first of each.
type failures struct {
	mu    sync.Mutex
	kinds map[string]*Failure
	total int
}

// A Failure is one kind of error.
type Failure struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	First string `json:"first"` // in full
}

func (f *failures) add(err error) { f.addKind(kindOf(err), err.Error(), 1) }

func (f *failures) addKind(kind, first string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds == nil {
		f.kinds = make(map[string]*Failure)
	}
	if f.kinds[kind] == nil {
		f.kinds[kind] = &Failure{Kind: kind, First: first}
	}
	f.kinds[kind].Count += n
	f.total += n
}

func (f *failures) number() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// list has the most frequent kind first.
func (f *failures) list() []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Failure, 0, len(f.kinds))
	for _, kind := range slices.Sorted(maps.Keys(f.kinds)) {
		list = append(list, *f.kinds[kind])
	}
	slices.SortStableFunc(list, func(a, b Failure) int { return b.Count - a.Count })
	return list
}

// causes are the kinds of what keeps a connection from opening, or ends it from
// this side.
var causes = []struct {
	err  error
	kind string
}{
	{client.ErrOpenTimeout, "no open message in time"},
	{errUnanswered, "no answer"},
	{context.Canceled, "still opening after the end"},
	{client.ErrVerification, "certification does not hold"},
	{client.ErrSequence, "message missing or out of order"},
	{client.ErrClientKey, "message for another client"},
	{client.ErrMalformed, "malformed frame"},
	{client.ErrService, "service message without sense"},
	{client.ErrAckTimeout, "no acknowledgement in time"},
	{client.ErrIdle, "nothing heard from the gateway"},
	{client.ErrGateway, "another gateway"},
	{client.ErrLost, "connection lost"},
	{io.EOF, "connection lost"},
	{io.ErrUnexpectedEOF, "connection lost"},
	{context.DeadlineExceeded, "timeout"},
	{syscall.ECONNREFUSED, "connection refused"},
	{syscall.ECONNRESET, "connection reset"},
	{syscall.EMFILE, "out of file descriptors here"},
	{syscall.EADDRNOTAVAIL, "out of local ports here"},
}

// kindOf sorts an error: HTTP statuses and close codes are the gateway's own words.
func kindOf(err error) string {
	var upgrade *client.UpgradeError
	var closed *client.CloseError
	var byCanister *client.CanisterClosedError
	var network net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &upgrade) && upgrade.Status == http.StatusSwitchingProtocols:
		return "not a WebSocket handshake"
	case errors.As(err, &upgrade):
		return fmt.Sprintf("refused with HTTP %d", upgrade.Status)
	case errors.As(err, &name) && !name.IsTimeout:
		return "no address for the name"
	case errors.As(err, &certificate):
		return "certificate not trusted"
	case errors.As(err, &noTLS):
		return "no TLS there"
	case errors.As(err, &alert):
		return "TLS refused"
	case errors.As(err, &byCanister):
		return "closed by the canister: " + byCanister.Reason.String()
	case errors.As(err, &closed) && closed.Remote:
		return fmt.Sprintf("closed with code %d", closed.Code)
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.kind
		}
	}
	if errors.As(err, &network) && network.Timeout() {
		return "timeout"
	}
	if strings.Contains(err.Error(), "malformed HTTP") { // net/http has no type for it
		return "no HTTP there"
	}
	return "connection broken"
}
