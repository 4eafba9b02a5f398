package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
)

func TestKinds(t *testing.T) {
	for want, err := range map[string]error{
		"refused with HTTP 429":                    &client.UpgradeError{Status: 429},
		"closed with code 1013":                    &client.CloseError{Code: 1013, Remote: true},
		"closed by the canister: KeepAliveTimeout": &client.CloseError{Code: 4000, Cause: &client.CanisterClosedError{Reason: candid.KeepAliveTimeout}},
		"connection lost":                          &client.CloseError{Code: 1006, Cause: fmt.Errorf("%w: EOF", client.ErrLost)},
		"not a WebSocket handshake":                &client.UpgradeError{Status: 101},
		"no address for the name":                  fmt.Errorf("dialing: %w", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}),
		"certificate not trusted":                  fmt.Errorf("dialing: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"no TLS there":                             fmt.Errorf("dialing: %w", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}),
		"TLS refused":                              fmt.Errorf("dialing: %w", tls.AlertError(40)),
		"no answer":                                fmt.Errorf("waiting: %w", errUnanswered),
		"no open message in time":                  &client.CloseError{Code: 1006, Cause: client.ErrOpenTimeout},
		"certification does not hold":              &client.CloseError{Code: 4000, Cause: fmt.Errorf("%w: leaf", client.ErrVerification)},
		"timeout":                                  fmt.Errorf("dialing: %w", context.DeadlineExceeded),
		"connection refused":                       fmt.Errorf("dialing: %w", syscall.ECONNREFUSED),
		"out of local ports here":                  os.NewSyscallError("connect", syscall.EADDRNOTAVAIL),
		"connection broken":                        errors.New("something else"),
	} {
		if got := kindOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	var f failures
	f.add(errors.New("first"))
	f.add(errors.New("second"))
	f.addKind("no answer", "lost", 5)
	list := f.list()
	if len(list) != 2 || list[0] != (Failure{"no answer", 5, "lost"}) || list[1] != (Failure{"connection broken", 2, "first"}) || f.number() != 7 {
		t.Errorf("%+v, %d", list, f.number())
	}
}
