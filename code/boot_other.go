//go:build !linux

package code

// bootID is not known on this system: what an earlier run unpacked is unpacked
// again.
func bootID() string { return "" }
