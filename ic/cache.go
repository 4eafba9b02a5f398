package ic

import "sync"

// cache is a map of at most limit entries. When it is full, what has not been
// used since the last time half of it was filled is forgotten: two generations
// instead of a list, so that a hit costs two map look-ups at most.
type cache[K comparable, V any] struct {
	mu           sync.Mutex
	half         int
	young, older map[K]V // guarded by mu
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{half: limit / 2, young: make(map[K]V)}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.older[key]
	if ok {
		c.insert(key, v)
	}
	return v, ok
}

func (c *cache[K, V]) put(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(key, v)
}

// insert needs mu.
func (c *cache[K, V]) insert(key K, v V) {
	if len(c.young) >= c.half {
		c.older, c.young = c.young, make(map[K]V)
	}
	c.young[key] = v
}
