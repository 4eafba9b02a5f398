package wasm

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
)

// shelf keeps the modules that an engine has compiled: each once, those in use
// and a few that nobody uses.
type shelf struct {
	keep int

	mu      sync.Mutex
	modules map[[32]byte]shelved
	idle    []shelved // compiled and used by nobody, oldest first
}

// shelved is a module on a shelf.
type shelved interface {
	Module
	at() *place
	compile(ctx context.Context, binary []byte) error
	free() // what compile has made, if it has
}

// place is what a shelf knows of one module.
type place struct {
	hash [32]byte
	once sync.Once
	err  error
	refs int // guarded by shelf.mu
}

func (p *place) at() *place { return p }

func newShelf(keep int) shelf {
	if keep == 0 {
		keep = 8
	}
	return shelf{keep: keep, modules: make(map[[32]byte]shelved)}
}

// get finds a module compiled, or compiles a blank one. The caller owes a release.
func (s *shelf) get(ctx context.Context, binary []byte, blank func() shelved) (Module, error) {
	hash := sha256.Sum256(binary)
	s.mu.Lock()
	m, ok := s.modules[hash]
	if !ok {
		m = blank()
		m.at().hash = hash
		s.modules[hash] = m
	}
	p := m.at()
	p.refs++
	s.idle = slices.DeleteFunc(s.idle, func(x shelved) bool { return x == m })
	s.mu.Unlock()

	p.once.Do(func() { p.err = m.compile(ctx, binary) })
	if p.err != nil {
		s.release(m)
		return nil, p.err
	}
	return m, nil
}

func (s *shelf) release(m shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := m.at()
	p.refs--
	if p.refs > 0 {
		return
	}
	if p.err != nil {
		s.drop(m)
		return
	}
	s.idle = append(s.idle, m)
	if len(s.idle) > s.keep {
		s.drop(s.idle[0])
		s.idle = slices.Delete(s.idle, 0, 1)
	}
}

func (s *shelf) drop(m shelved) {
	delete(s.modules, m.at().hash)
	m.free()
}
