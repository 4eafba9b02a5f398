package testalloc

import "testing"

// counter notes failures instead of failing.
type counter struct {
	testing.TB
	failed int
}

func (c *counter) Helper()               {}
func (c *counter) Errorf(string, ...any) { c.failed++ }

var sink []byte

func TestWithin(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes, limit, want int
	}{
		"nothing": {0, 0, 0},
		"enough":  {64 << 20, 64 << 20, 0},
		"more":    {64 << 20, 32 << 20, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := &counter{TB: t}
			Within(c, name, tt.limit, func() { sink = make([]byte, tt.bytes) })
			if c.failed != tt.want {
				t.Errorf("%d failures, want %d", c.failed, tt.want)
			}
		})
	}
}
