//go:build !crashtest

package main

import "time"

// trap has no traps in the binary: the tests of crashes build one that has.
func trap() func(point string) { return nil }

// wallClock is the wall clock of what is stored; nil is time.Now.
func wallClock() func() time.Time { return nil }
