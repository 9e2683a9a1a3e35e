//go:build linux && amd64

package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// mountable are the directories below which a sandbox may have mounts.
var mountable = []string{"/var", "/opt"}

// checkMounts refuses targets that would hide a part of the root that the
// confinement depends on.
func checkMounts(mounts []sandbox.Mount) error {
	for _, m := range mounts {
		allowed := m.Target == "/opt" || slices.ContainsFunc(mountable, func(dir string) bool {
			return strings.HasPrefix(m.Target, dir+"/")
		})
		if !allowed || path.Clean(m.Target) != m.Target {
			return fmt.Errorf("process: mount target %q: must be a clean path below /var or /opt", m.Target)
		}
		if !path.IsAbs(m.Source) {
			return fmt.Errorf("process: mount source %q: must be absolute", m.Source)
		}
	}
	return nil
}

// source is a mount whose source was opened while the host was in sight.
type source struct {
	fd     int
	target string
	dir    bool
}

// openSources opens every mount's source, parents before children.
func openSources(mounts []sandbox.Mount) (out []source, err error) {
	defer func() {
		if err != nil {
			closeSources(out)
		}
	}()
	for _, m := range mounts {
		fd, err := openTree(m.Source)
		if err != nil {
			return out, err
		}
		s := source{fd: fd, target: m.Target}
		out = append(out, s)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return out, err
		}
		out[len(out)-1].dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	}
	slices.SortStableFunc(out, func(a, b source) int { return cmp.Compare(a.target, b.target) })
	return out, nil
}

func closeSources(sources []source) {
	for _, s := range sources {
		unix.Close(s.fd)
	}
}

// attachSources mounts the sources in the calling thread's namespace, a copy of
// the template. A mount point that the template lacks is made on a small file
// system over its top directory, which is read-only afterwards.
func attachSources(sources []source) error {
	var made []string
	for _, top := range mountable {
		if !slices.ContainsFunc(sources, func(s source) bool { return lacks(s, top, sources) }) {
			continue
		}
		if err := unix.Mount("tmpfs", top, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
			return fmt.Errorf("process: mount points below %s: %w", top, err)
		}
		made = append(made, top)
		for _, p := range append(slices.Clone(sandbox.MountPoints), emptyPath) {
			if strings.HasPrefix(p, top+"/") {
				if err := os.MkdirAll(p, 0o755); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range sources {
		if err := makePoint(s); err != nil {
			return err
		}
		if err := attach(s.fd, s.target); err != nil {
			return err
		}
	}
	for _, top := range made {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(-1, top, 0, &attr); err != nil {
			return err
		}
	}
	return nil
}

// lacks reports whether the template has no mount point for s, which is below
// top, and no other mount brings one.
func lacks(s source, top string, all []source) bool {
	if !strings.HasPrefix(s.target, top+"/") || slices.Contains(sandbox.MountPoints, s.target) {
		return false
	}
	return !slices.ContainsFunc(all, func(other source) bool {
		return strings.HasPrefix(s.target, other.target+"/")
	})
}

func makePoint(s source) error {
	_, err := os.Stat(s.target)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if s.dir {
		err = os.MkdirAll(s.target, 0o755)
	} else if err = os.MkdirAll(path.Dir(s.target), 0o755); err == nil {
		err = os.WriteFile(s.target, nil, 0o644)
	}
	if err != nil {
		return fmt.Errorf("process: make mount point: %w", err)
	}
	return nil
}

// maskProc hides or locks the parts of /proc that say or do something to the
// whole machine. It runs on the host's thread in the sandbox's namespace, after
// the first process has mounted /proc.
func maskProc() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/sys", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("process: lock /proc/sys: %w", err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: roFlags | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("process: lock /proc/sys: %w", err)
	}
	if err := attach(fd, "/proc/sys"); err != nil {
		return err
	}
	for target, over := range map[string]string{
		"/proc/sysrq-trigger": "/dev/null", "/proc/kcore": "/dev/null", "/proc/keys": "/dev/null",
		"/proc/timer_list": "/dev/null", "/proc/acpi": emptyPath, "/proc/scsi": emptyPath,
	} {
		if err := unix.Mount(over, target, "", unix.MS_BIND, ""); err != nil && err != unix.ENOENT {
			return fmt.Errorf("process: mask %s: %w", target, err)
		}
	}
	return nil
}
