package echo

import (
	"crypto/sha256"
	"sync"
)

// keptSnapshots is how many versions of the state polls can go back to. While a
// certificate is made, calls go on; it covers the state of its beginning. A
// version that is kept costs the few nodes in which it differs from the next.
const keptSnapshots = 2048

// history finds recent snapshots by their certified data. The zero value is empty.
type history struct {
	mu     sync.Mutex
	ring   [keptSnapshots]*snapshot
	next   int
	byRoot map[[sha256.Size]byte]*snapshot
}

func (h *history) add(s *snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byRoot == nil {
		h.byRoot = make(map[[sha256.Size]byte]*snapshot, keptSnapshots)
	}
	if old := h.ring[h.next]; old != nil && h.byRoot[old.root] == old {
		delete(h.byRoot, old.root)
	}
	h.ring[h.next] = s
	h.next = (h.next + 1) % keptSnapshots
	h.byRoot[s.root] = s
}

// find returns the snapshot with these certified data, nil if it is not kept.
func (h *history) find(certified []byte) *snapshot {
	if len(certified) != sha256.Size {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byRoot[[sha256.Size]byte(certified)]
}
