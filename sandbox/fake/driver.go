// Package fake is a sandbox driver in memory, for tests of what stands on
// sandboxes: the "process" is a Go function with a real socket pair and a real
// output pipe. It passes the contract suite, so what works on it works on the
// real drivers, but it isolates nothing and limits nothing.
//
// It owns the goroutines of the programs; it must not know who tests with it.
package fake

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"hearth/sandbox"
)

// Options configures a Driver.
type Options struct {
	// Programs are what can be started, by Args[0]. Any other is an error, as a
	// file that does not exist is.
	Programs map[string]Program
	// Program is started where Programs has no entry; may be nil.
	Program Program
	// OnCreate and OnStart, where set, may refuse: a test's way to a machine
	// without room or a broken kernel. Called from Create and Start.
	OnCreate func(sandbox.Spec) error
	OnStart  func(sandbox.Spec, sandbox.Command) error
}

// Driver makes sandboxes in memory. Safe for concurrent use.
type Driver struct {
	opts Options

	mu     sync.Mutex
	boxes  map[string]*Sandbox
	closed bool
}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a driver.
func New(o Options) *Driver {
	return &Driver{opts: o, boxes: make(map[string]*Sandbox)}
}

// Name returns "fake".
func (d *Driver) Name() string { return "fake" }

// Create makes a sandbox in which nothing runs.
func (d *Driver) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.opts.OnCreate != nil {
		if err := d.opts.OnCreate(spec); err != nil {
			return nil, err
		}
	}
	box := newSandbox(d, spec)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, sandbox.ErrClosed
	}
	if _, taken := d.boxes[spec.ID]; taken {
		return nil, fmt.Errorf("sandbox %s exists already", spec.ID)
	}
	d.boxes[spec.ID] = box
	return box, nil
}

// Sandboxes returns those that are not destroyed, in no order.
func (d *Driver) Sandboxes() []*Sandbox {
	d.mu.Lock()
	defer d.mu.Unlock()
	boxes := make([]*Sandbox, 0, len(d.boxes))
	for _, box := range d.boxes {
		boxes = append(boxes, box)
	}
	return boxes
}

func (d *Driver) remove(box *Sandbox) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.boxes[box.spec.ID] == box {
		delete(d.boxes, box.spec.ID)
	}
}

// Close destroys every sandbox.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	var errs []error
	for _, box := range d.Sandboxes() {
		errs = append(errs, box.Destroy("driver closed"))
	}
	return errors.Join(errs...)
}

func (d *Driver) program(name string) (Program, error) {
	if p, ok := d.opts.Programs[name]; ok {
		return p, nil
	}
	if d.opts.Program != nil {
		return d.opts.Program, nil
	}
	return nil, fmt.Errorf("fake: no program %s", name)
}
