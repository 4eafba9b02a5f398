package bridge

import (
	"fmt"
	"net/http"

	"github.com/icrelay/icrelay/internal/origin"
)

// origins are the pages that may connect. Without patterns all may, because a
// session is authenticated by the signatures in its frames and never by a cookie.
type origins struct {
	patterns []origin.Pattern
	required bool // also of clients that are no browsers
}

func newOrigins(allowed []string, required bool) (origins, error) {
	o := origins{required: required}
	for _, text := range allowed {
		p, err := origin.Parse(text)
		if err != nil {
			return o, fmt.Errorf("allowed origin %q: %w", text, err)
		}
		o.patterns = append(o.patterns, p)
	}
	return o, nil
}

// allow reports whether a request's page may connect. Browsers always send one
// Origin; other clients need none.
func (o origins) allow(r *http.Request) bool {
	switch values := r.Header.Values("Origin"); {
	case len(values) == 0:
		return !o.required
	case len(o.patterns) == 0:
		return true
	case len(values) > 1:
		return false
	default:
		for _, p := range o.patterns {
			if p.Match(values[0]) {
				return true
			}
		}
		return false
	}
}
