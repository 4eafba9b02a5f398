// Package defaults fills in what a configuration leaves out.
package defaults

// Set gives a field a value if it has none, or a negative one.
func Set[T ~int | ~int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
