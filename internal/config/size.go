package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
)

// Size is a number of bytes written like "512MiB" or "64MB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{ // the largest first: String takes the first that divides
	{"GiB", 1 << 30}, {"GB", 1_000_000_000}, {"MiB", 1 << 20}, {"MB", 1_000_000}, {"KiB", 1 << 10}, {"KB", 1000},
}

const sizeForm = `a size like "512MiB", "1GiB" or "64MB" (KiB, MiB and GiB count by 1024, KB, MB and GB by 1000)`

var sizeText = regexp.MustCompile(`^([0-9]{1,15})([KMG]i?B)$`)

// String writes a Size as users do.
func (s Size) String() string {
	for _, unit := range sizeUnits {
		if n := int64(s); n != 0 && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + " bytes"
}

func parseSize(text string) (Size, bool) {
	parts := sizeText.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return 0, false
	}
	for _, unit := range sizeUnits {
		if unit.name == parts[2] && n <= math.MaxInt64/unit.bytes {
			return Size(n * unit.bytes), true
		}
	}
	return 0, false
}

func fillSize(p *problems, key string, v reflect.Value, value any) {
	if text, ok := value.(string); ok {
		if size, ok := parseSize(text); ok {
			v.SetInt(int64(size))
			return
		}
	}
	p.unreadable(key, sizeForm, value)
}

// checkSize sets the default where there is none.
func checkSize(p *problems, key string, s *Size, fallback, atLeast, atMost Size) {
	switch {
	case *s == 0 && !p.given[key]:
		*s = fallback
	case *s < atLeast:
		p.add(key, "%s is too little: at least %s", sizeOf(*s), atLeast)
	case *s > atMost:
		p.add(key, "%s is too much: at most %s", *s, atMost)
	}
}

func sizeOf(s Size) string {
	if s == 0 {
		return "nothing"
	}
	return fmt.Sprint(s)
}
