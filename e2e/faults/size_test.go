//go:build !race

package faults

const (
	// beside is how many cases run beside each other; they mostly wait.
	beside = 16
	// many is how many clients a gateway has that is stopped.
	many = 1000
	// riders is how many clients of each adapter a gateway has that is killed.
	riders = 20
)
