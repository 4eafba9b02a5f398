//go:build race

package faults

// The race detector makes everything several times as slow.
const (
	beside = 6
	many   = 200
)
