package execution

import "errors"

// Stable memory is kept in pages of stableGrain bytes that exist only once
// something was written to them, so that a canister may grow it far beyond what
// the host has. A stableRoot and all it points to never change: queries read
// the one they started with while an update builds the next.
const (
	wasmPage        = 1 << 16
	stableGrain     = 4096
	chunkPages      = 512
	maxStablePages  = 500 << 30 / wasmPage // interface specification, "Memory limits": 500 GiB
	maxStable32Size = 1 << 16              // pages that the 32-bit functions can address
)

type (
	stablePage  [stableGrain]byte
	stableChunk [chunkPages]*stablePage
)

type stableRoot struct {
	pages  uint64 // of 64 KiB
	chunks []*stableChunk
	stored uint64 // stablePages that exist
}

func (r *stableRoot) page(n uint64) *stablePage {
	if c := n / chunkPages; c < uint64(len(r.chunks)) && r.chunks[c] != nil {
		return r.chunks[c][n%chunkPages]
	}
	return nil
}

var (
	errStableBounds = errors.New("stable memory out of bounds")
	errStableFull   = errors.New("Canister cannot grow its memory usage.") //nolint:staticcheck // a replica's text
)

// stableMemory is a canister's stable memory during one message: the committed
// root and the pages written since.
type stableMemory struct {
	root  *stableRoot
	pages uint64
	dirty map[uint64]*stablePage
	fresh uint64 // pages in dirty that the root does not have
	limit uint64 // of pages that may exist
}

func newStable(root *stableRoot, limitBytes uint64) *stableMemory {
	return &stableMemory{root: root, pages: root.pages, limit: limitBytes / stableGrain}
}

// grow returns the size before, or false if there is no room.
func (s *stableMemory) grow(pages uint64) (uint64, bool) {
	if pages > maxStablePages || s.pages+pages > maxStablePages {
		return 0, false
	}
	old := s.pages
	s.pages += pages
	return old, true
}

func (s *stableMemory) inBounds(offset uint64, size int) bool {
	total := s.pages * wasmPage
	return offset <= total && uint64(size) <= total-offset // #nosec G115 -- a length
}

func (s *stableMemory) read(dst []byte, offset uint64) error {
	if !s.inBounds(offset, len(dst)) {
		return errStableBounds
	}
	for len(dst) > 0 {
		n, at := offset/stableGrain, offset%stableGrain
		p := s.dirty[n]
		if p == nil {
			p = s.root.page(n)
		}
		k := min(len(dst), int(stableGrain-at)) // #nosec G115 -- at most stableGrain
		if p == nil {
			clear(dst[:k])
		} else {
			copy(dst, p[at:int(at)+k]) // #nosec G115 -- at most stableGrain
		}
		dst, offset = dst[k:], offset+uint64(k) // #nosec G115 -- positive
	}
	return nil
}

func (s *stableMemory) write(offset uint64, src []byte) error {
	if !s.inBounds(offset, len(src)) {
		return errStableBounds
	}
	for len(src) > 0 {
		n, at := offset/stableGrain, offset%stableGrain
		p := s.dirty[n]
		if p == nil {
			p = new(stablePage)
			if old := s.root.page(n); old != nil {
				if at != 0 || len(src) < stableGrain {
					*p = *old
				}
			} else {
				s.fresh++
				if s.root.stored+s.fresh > s.limit {
					return errStableFull
				}
			}
			if s.dirty == nil {
				s.dirty = make(map[uint64]*stablePage)
			}
			s.dirty[n] = p
		}
		k := copy(p[at:], src)
		src, offset = src[k:], offset+uint64(k) // #nosec G115 -- positive
	}
	return nil
}

// commit returns the root with what was written.
func (s *stableMemory) commit() *stableRoot {
	if len(s.dirty) == 0 && s.pages == s.root.pages {
		return s.root
	}
	next := &stableRoot{pages: s.pages, chunks: append([]*stableChunk(nil), s.root.chunks...), stored: s.root.stored + s.fresh}
	copied := make(map[uint64]bool)
	for n, p := range s.dirty {
		c := n / chunkPages
		for uint64(len(next.chunks)) <= c {
			next.chunks = append(next.chunks, nil)
		}
		if !copied[c] {
			chunk := new(stableChunk)
			if old := next.chunks[c]; old != nil {
				*chunk = *old
			}
			next.chunks[c], copied[c] = chunk, true
		}
		next.chunks[c][n%chunkPages] = p
	}
	return next
}
