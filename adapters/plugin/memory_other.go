//go:build !linux

package plugin

// residentMemory is not known here: there is only GOMEMLIMIT, for programs in Go.
func residentMemory(int) (bytesResident int64, known bool) { return 0, false }
