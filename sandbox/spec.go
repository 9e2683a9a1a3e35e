package sandbox

import (
	"errors"
	"fmt"
	"path"
	"slices"
)

// More errors that callers test for with errors.Is.
var (
	// ErrStarted is returned by a second Start, whatever the first came to.
	ErrStarted = errors.New("sandbox: started already")
	// ErrClosed is returned by Driver.Create after Driver.Close.
	ErrClosed = errors.New("sandbox: driver is closed")
)

// MountPoints are the targets that every sandbox is ready for: the only ones of
// Sandbox.Mount.
var MountPoints = []string{"/opt", "/var/compiled", "/var/lang", "/var/runtime", "/var/task"}

// maxID is the longest ID; it is part of names in the kernel.
const maxID = 64

// PathMapper is implemented by sandboxes without a root of their own (driver
// none): a command there sees the host's paths, so whoever writes its arguments
// and environment translates every path that Spec.Mounts or /tmp cover. Where a
// Sandbox does not implement it, targets are real inside the sandbox.
type PathMapper interface {
	// Path returns the host's path for a path inside the sandbox. A path that no
	// mount covers is returned as it is.
	Path(target string) string
}

// Path translates a path for commands in box: the identity, unless box is a
// PathMapper.
func Path(box Sandbox, target string) string {
	if m, ok := box.(PathMapper); ok {
		return m.Path(target)
	}
	return target
}

// Destroyed is the error that every method returns after Destroy: it is
// ErrDestroyed, and its text carries the cause that Destroy was given first.
func Destroyed(cause string) error { return fmt.Errorf("%w: %s", ErrDestroyed, cause) }

// Validate reports the first field of the spec that no driver can honour. What
// only some drivers cannot do is theirs to refuse.
func (s Spec) Validate() error {
	if !validID(s.ID) {
		return fmt.Errorf("sandbox: ID %q: want 1 to %d of a-z, A-Z, 0-9 and '-'", s.ID, maxID)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"MemoryMB", s.MemoryMB}, {"TmpMB", s.TmpMB}, {"MilliCPU", s.MilliCPU}, {"Pids", s.Pids}, {"Files", s.Files}} {
		if n.value < 0 {
			return fmt.Errorf("sandbox: %s is %d: want 0 or more", n.name, n.value)
		}
	}
	for _, m := range s.Mounts {
		if err := m.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (m Mount) validate() error {
	if !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target {
		return fmt.Errorf("sandbox: mount target %q: want a clean absolute path", m.Target)
	}
	if m.Source == "" {
		return fmt.Errorf("sandbox: mount %s has no source", m.Target)
	}
	return nil
}

// AddMounts returns a sandbox's mounts with those that Sandbox.Mount was given,
// or why no driver adds them. It does not change old.
func AddMounts(old, more []Mount) ([]Mount, error) {
	all := slices.Clone(old)
	for _, m := range more {
		if err := m.validate(); err != nil {
			return nil, err
		}
		if !slices.Contains(MountPoints, m.Target) {
			return nil, fmt.Errorf("sandbox: mount target %q: a mount after Create has one of %v", m.Target, MountPoints)
		}
		if slices.ContainsFunc(all, func(o Mount) bool { return o.Target == m.Target }) {
			return nil, fmt.Errorf("sandbox: mount target %q: there is a mount already", m.Target)
		}
		all = append(all, m)
	}
	return all, nil
}

// CheckMemory reports what no driver takes in SetMemory.
func CheckMemory(mb int) error {
	if mb < 1 {
		return fmt.Errorf("sandbox: memory limit of %d MB: want 1 or more", mb)
	}
	return nil
}

func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}
