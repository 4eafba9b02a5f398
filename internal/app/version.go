package app

import "runtime/debug"

// Version is the relay's version: that of its module, "(devel)" for one that
// was built from a checkout without.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
