//go:build !linux || race

package rawio

import "runtime"

// Yield lets other goroutines run.
func Yield() { runtime.Gosched() }
