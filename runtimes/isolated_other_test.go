//go:build !linux

package runtimes

import (
	"testing"

	"hearth/sandbox"
)

// isolated adds nothing: the process driver is linux's.
func isolated(testing.TB, map[string]func() sandbox.Driver) {}
