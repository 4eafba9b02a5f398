package defaults

import (
	"testing"
	"time"
)

func TestSet(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{-1: time.Second, 0: time.Second, 1: 1} {
		field := given
		if Set(&field, time.Second); field != want {
			t.Errorf("%d became %s", given, field)
		}
	}
}
