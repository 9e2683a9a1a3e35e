package runtimes

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"hearth/sandbox"
	processdriver "hearth/sandbox/process"
)

var isolatedCount atomic.Int64

// isolated adds the process driver, which needs root.
func isolated(t testing.TB, all map[string]func() sandbox.Driver) {
	if os.Geteuid() != 0 {
		return
	}
	all["process"] = func() sandbox.Driver {
		d, err := processdriver.New(processdriver.Options{
			StateDir: t.TempDir(), DataID: fmt.Sprintf("%s%d", dataIDPrefix(), isolatedCount.Add(1)), MaxSandboxes: 8, DeathLimit: patience,
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// dataIDPrefix begins the names of this process's drivers.
func dataIDPrefix() string { return fmt.Sprintf("rt%d-", os.Getpid()) }
