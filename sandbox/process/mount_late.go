//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// Mount implements sandbox.Sandbox. The sources are opened out here, in the host's
// mounts; only what was opened is carried into the sandbox's, by a thread that
// enters them for that.
func (b *box) Mount(ctx context.Context, mounts ...sandbox.Mount) error {
	if err := ctx.Err(); err != nil {
		return errors.Join(b.dead(), err)
	}
	if err := checkMounts(mounts); err != nil {
		return errors.Join(b.dead(), err)
	}
	return b.alive(func() error {
		sources, err := b.openMounts(mounts)
		if err != nil {
			return err
		}
		defer closeSources(sources)
		return b.d.mounter.begin(b.mnt, func() error { return attachAllAt(sources) }, nil)()
	})
}

// openMounts opens the sources of mounts and takes their targets, all or none.
func (b *box) openMounts(mounts []sandbox.Mount) ([]source, error) {
	sources, err := openSources(mounts)
	if err != nil {
		return nil, err
	}
	if err := b.claimTargets(mounts); err != nil {
		closeSources(sources)
		return nil, err
	}
	return sources, nil
}

func attachAllAt(sources []source) error {
	for _, s := range sources {
		if err := attachAt(s); err != nil {
			return err
		}
	}
	return nil
}

// claimTargets takes the mounts' targets, all or none, of a sandbox whose processes run.
func (b *box) claimTargets(mounts []sandbox.Mount) error {
	if !b.runs() {
		return fmt.Errorf("process: mount into %s: its process has ended", b.id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all, err := sandbox.AddMounts(b.mounts, mounts)
	if err == nil {
		b.mounts = all
	}
	return err
}

// attachAt mounts a source on one of sandbox.MountPoints. They lie in the
// template's own read-only root, which no user of a sandbox can change; that no
// link is followed keeps it so, should that ever be otherwise.
func attachAt(s source) error {
	point, err := unix.Openat2(unix.AT_FDCWD, s.target, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return fmt.Errorf("process: mount point %s: %w", s.target, err)
	}
	defer unix.Close(point)
	err = unix.MoveMount(s.fd, "", point, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("process: mount on %s: %w", s.target, err)
	}
	return nil
}

// SetMemory implements sandbox.Sandbox.
func (b *box) SetMemory(mb int) error {
	return b.alive(func() error {
		if err := sandbox.CheckMemory(mb); err != nil {
			return err
		}
		b.mu.Lock()
		more := mb - b.memoryMB
		b.mu.Unlock()
		if more > 0 {
			if err := b.d.checkMemory(more); err != nil {
				return err
			}
		}
		if err := b.slot.group.limitMemory(mb); err != nil {
			return fmt.Errorf("process: set the memory limit of %s to %d MB: %w", b.id, mb, err)
		}
		b.mu.Lock()
		b.memoryMB = mb
		b.mu.Unlock()
		return nil
	})
}
