//go:build !unix

package bench

// allowFiles has nothing to do where files have no limit of this kind.
func allowFiles(int) error { return nil }

// ownUsage is not known here.
func ownUsage() *usage { return nil }
