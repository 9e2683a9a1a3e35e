//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// takeSlotLocked returns a free slot or a new one. Where all are in use but some
// are being cleaned it waits for one of those, letting go of mu meanwhile.
func (d *Driver) takeSlotLocked(ctx context.Context) (*slot, error) {
	for {
		switch {
		case d.closed:
			return nil, sandbox.ErrClosed
		case len(d.free) > 0:
			s := d.free[len(d.free)-1]
			d.free = d.free[:len(d.free)-1]
			return s, nil
		case d.made < d.max:
			d.made++
			return &slot{uid: d.users.first + d.made}, nil
		case d.cleaning == 0:
			return nil, fmt.Errorf("%w: all %d sandboxes are in use", sandbox.ErrNoCapacity, d.max)
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
			d.mu.Lock()
		case <-ctx.Done():
			d.mu.Lock()
			return nil, ctx.Err()
		}
	}
}

// checkMemory refuses a sandbox whose limit the machine could not serve now.
func (d *Driver) checkMemory(memoryMB int) error {
	kb, err := memAvailable()
	if err != nil {
		return fmt.Errorf("process: read the free memory: %w", err)
	}
	if kb/1024 < int64(memoryMB+d.minFreeMB) {
		return fmt.Errorf("%w: %d MB of memory are available, a sandbox of %d MB needs %d",
			sandbox.ErrNoCapacity, kb/1024, memoryMB, memoryMB+d.minFreeMB)
	}
	return nil
}

// checkDisk refuses a sandbox whose /tmp could not be filled now.
func (d *Driver) checkDisk(tmpMB int) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.stateDir, &fs); err != nil {
		return fmt.Errorf("process: read the free disk space: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize >> 20; free < int64(tmpMB+d.minFreeMB) {
		return fmt.Errorf("%w: %d MB of disk are free, a /tmp of %d MB needs %d",
			sandbox.ErrNoCapacity, free, tmpMB, tmpMB+d.minFreeMB)
	}
	return nil
}

// scarce marks an error of a machine that has no room with ErrNoCapacity.
func scarce(err error) error {
	for _, e := range []unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.EDQUOT} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", sandbox.ErrNoCapacity, err)
		}
	}
	return err
}

// memAvailable is the memory that could be used without swapping, in KiB.
func memAvailable() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, errors.New("process: /proc/meminfo has no MemAvailable")
}
