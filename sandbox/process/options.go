package process

import (
	"context"
	"log/slog"
	"time"

	"hearth/sandbox"
)

// Options are what a Driver is made with.
type Options struct {
	// StateDir is a directory of the driver's own, on a disk: the files behind
	// /tmp are made there. It is made where it is missing.
	StateDir string
	// DataID names the data directory that this driver serves, 1..32 of
	// [a-z0-9-]. It is in the names of the control groups, and New removes what an
	// earlier process with the same DataID left; so only one process may use it at
	// a time (the lock of the data directory sees to that).
	DataID string
	Logger *slog.Logger // nil discards
	// MaxSandboxes is the most that exist at once; 0 = 1,000.
	MaxSandboxes int
	// MinFreeMB is what the machine must still have, of memory and of disk each,
	// beyond the new sandbox's own limits, for Create to go ahead; 0 = 128.
	MinFreeMB int
	// Spares is how many sandboxes of each kind in use (size of /tmp, egress) are
	// kept built ahead, so that Create has little left to do; 0 = none. They have
	// slots of MaxSandboxes, which they give up where those are needed.
	Spares int
	// DeathLimit is how long Destroy waits for the processes of a sandbox to be gone,
	// before it returns an error and leaves them to the background; 0 = 1 s. Dying
	// takes time on the CPU, and a machine that is busy enough has none to give.
	DeathLimit time.Duration
	// Networks gives network namespaces with egress; a driver that New returned
	// closes it. Without it only sandbox.EgressNone works.
	Networks Networks
}

// Networks makes network namespaces that reach what an egress level says.
// Implemented by package network. Safe for concurrent use.
type Networks interface {
	// Acquire returns a namespace that nothing else uses.
	Acquire(ctx context.Context, egress sandbox.Egress) (Netns, error)
	// Close waits until every released namespace is gone.
	Close() error
}

// Netns is one network namespace, owned by one sandbox.
type Netns interface {
	// FD is an open descriptor of the namespace, valid until Release.
	FD() int
	// Release gives it back, to be recycled or removed in the background.
	// Exactly once, when no process is in it.
	Release()
}

// Finding is one line of what the host can and cannot do.
type Finding struct {
	Name   string
	OK     bool
	Detail string // what was found
	Fix    string // what to do about it; empty where OK
}
