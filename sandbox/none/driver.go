// Package none is the sandbox driver for systems without namespaces: a plain
// subprocess in a session of its own, for macOS, unprivileged containers and
// tests. It isolates NOTHING. The command runs as Hearth's own user, sees and
// may write the host's files, reaches the host's network whatever Spec.Egress
// says, and no limit of the Spec is enforced: not memory, CPU, processes, open
// files nor the size of /tmp. Never choose it silently.
//
// What it does keep of the contract: one process with its output pipe and its
// socket, its end, its figures, and a Destroy that kills the whole session. What
// differs from an isolating driver:
//
//   - Listen listens on the host's loopback. Ask for port 0 and use the address
//     of the listener: a fixed port is free for one sandbox only.
//   - There are no mounts: commands see host paths. Sandbox is a
//     sandbox.PathMapper that translates the targets of Spec.Mounts and /tmp, for
//     which each sandbox has a directory that Destroy removes. Mount adds to it.
//   - Freeze and Thaw return sandbox.ErrUnsupported; SetCPU and SetMemory do
//     nothing.
//   - When the process ends, what is left of its session is killed at once, not
//     at Destroy. A descendant that made a session of its own escapes, and so
//     does everything if Hearth itself is killed.
//
// It owns its child processes and their directories; it must not know what runs
// in them.
package none

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"hearth/sandbox"
)

// Options configures a Driver. The zero value works.
type Options struct {
	// Dir is where the sandboxes' /tmp directories are made; empty is the
	// system's directory for temporary files.
	Dir    string
	Logger *slog.Logger // nil discards
}

// Driver makes sandboxes that are plain subprocesses.
type Driver struct {
	dir string
	log *slog.Logger

	mu     sync.Mutex
	boxes  map[string]*Sandbox
	closed bool
}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a driver.
func New(o Options) *Driver {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Driver{dir: o.Dir, log: log, boxes: make(map[string]*Sandbox)}
}

// Name returns "none".
func (d *Driver) Name() string { return "none" }

// Create makes the sandbox's /tmp. Nothing of the spec is enforced.
func (d *Driver) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(d.dir, "hearth-none-")
	if err != nil {
		return nil, fmt.Errorf("sandbox %s: make its /tmp: %w", spec.ID, err)
	}
	box := newSandbox(d, spec, tmp)
	if err := d.add(box); err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	return box, nil
}

func (d *Driver) add(box *Sandbox) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return sandbox.ErrClosed
	}
	if _, taken := d.boxes[box.spec.ID]; taken {
		return fmt.Errorf("sandbox %s exists already", box.spec.ID)
	}
	d.boxes[box.spec.ID] = box
	return nil
}

func (d *Driver) remove(box *Sandbox) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.boxes[box.spec.ID] == box {
		delete(d.boxes, box.spec.ID)
	}
}

// Close destroys every sandbox and returns when their processes are gone.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	boxes := make([]*Sandbox, 0, len(d.boxes))
	for _, box := range d.boxes {
		boxes = append(boxes, box)
	}
	d.mu.Unlock()

	errs := make([]error, len(boxes))
	var wg sync.WaitGroup
	for i, box := range boxes {
		wg.Go(func() { errs[i] = box.Destroy("driver closed") })
	}
	wg.Wait()
	return errors.Join(errs...)
}
