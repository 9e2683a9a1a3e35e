//go:build !crashtest

package main

// trap has no traps in the binary: the tests of crashes build one that has.
func trap() func(point string) { return nil }
