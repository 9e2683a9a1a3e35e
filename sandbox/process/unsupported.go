//go:build !(linux && amd64)

package process

import (
	"context"
	"fmt"
	"runtime"

	"hearth/sandbox"
)

// Driver does not exist on this system.
type Driver struct{}

// New fails: process sandboxes need Linux on amd64.
func New(Options) (*Driver, error) {
	return nil, fmt.Errorf("process: %s/%s has no process sandbox, it needs linux/amd64: %w",
		runtime.GOOS, runtime.GOARCH, sandbox.ErrUnsupported)
}

// Name returns "process".
func (*Driver) Name() string { return "process" }

// Create fails.
func (*Driver) Create(context.Context, sandbox.Spec) (sandbox.Sandbox, error) {
	return nil, sandbox.ErrUnsupported
}

// Close does nothing.
func (*Driver) Close() error { return nil }

// Probe says that this system is not supported.
func Probe(Options) []Finding {
	return []Finding{{
		Name: "system", Detail: runtime.GOOS + "/" + runtime.GOARCH + " has no process sandbox",
		Fix: "run Hearth on Linux, amd64; or use isolation none for functions that you trust",
	}}
}
