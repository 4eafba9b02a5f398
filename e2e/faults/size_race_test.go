//go:build race

package faults

// The race detector makes everything several times as slow.
const (
	beside = 12
	many   = 200
	riders = 5
)
