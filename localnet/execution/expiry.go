package execution

import "time"

// expiry is when a message from outside may no longer start (interface
// specification, "Authentication": ingress_expiry).
type expiry struct {
	at time.Time // zero: never
	id [32]byte
}

func (x expiry) passed(now uint64) bool {
	return !x.at.IsZero() && x.at.UnixNano() < int64(now) // #nosec G115 -- before 2262
}

func (x expiry) reject() *Reject {
	return reject(icIngressTimeout, "Ingress message 0x%x timed out waiting to start executing.", x.id)
}
