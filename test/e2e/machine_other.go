//go:build !linux

package e2e

// filterTables is empty where the kernel has no nftables.
func filterTables() []string { return nil }
