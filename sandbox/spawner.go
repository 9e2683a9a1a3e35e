package sandbox

import (
	"context"
	"os"
	"syscall"
)

// Spawner is implemented by sandboxes in which more processes than the command can
// be started.
type Spawner interface {
	// Spawn runs a process beside the command, before or after Start, as the same
	// user and under the same limits; Command.Socket and Mounts are not for it. Its output is the
	// caller's pipe, of which it gets a copy. It returns when the process was
	// exec'ed. The process ends with the sandbox, at the latest.
	Spawn(ctx context.Context, cmd Command, output *os.File) (Child, error)
}

// Child is a process that was spawned. Its methods are safe for concurrent use.
type Child interface {
	// Done is closed when it has ended; then Exit is how. OOM is never set.
	Done() <-chan struct{}
	Exit() Exit
	// Signal sends it a signal; one that has ended gets nothing.
	Signal(sig syscall.Signal) error
}
