//go:build linux && amd64

package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"hearth/sandbox"
)

// roFlags are the attributes of everything that a sandbox sees of the host.
const roFlags = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// Paths inside every sandbox.
const (
	// The programs of the first process and of the command's process before it is
	// the command: executable, not readable.
	firstPath   = "/.first"
	starterPath = "/.start"
	emptyPath   = "/var/empty"
)

// template is a mount namespace that holds the root of every sandbox and nothing
// else: a small read-only file system with a /dev and an /etc of its own, and
// read-only mounts of the host's programs and libraries. A sandbox's namespace is
// a copy of it, which is cheap because it is small; the host's mounts are out of
// reach because they are not in it.
type template struct {
	ns *os.File
}

// newTemplate builds the root. dir is an empty directory to build it on, in a
// namespace of its own; users are the ids that the password file names.
func newTemplate(dir string, users idRange) (*template, error) {
	t := &template{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("process: new mount namespace: %w", err)
		}
		if t.ns, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
			return err
		}
		if err := buildRoot(dir, users); err != nil {
			return fmt.Errorf("process: build the root: %w", err)
		}
		return nil
	})
	if err != nil {
		if t.ns != nil {
			t.ns.Close()
		}
		return nil, err
	}
	return t, nil
}

func (t *template) close() error { return t.ns.Close() }

func buildRoot(dir string, users idRange) error {
	// Private: what is mounted here must not show up on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make its mounts private (in a chroot, whose root is no mount, this is not possible): %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=0755,size=16m"); err != nil {
		return err
	}
	for _, d := range append([]string{"dev", "etc", "proc", "tmp", "run", emptyPath}, sandbox.MountPoints...) {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(hostTrees(dir), devices(dir), etc(dir, users)); err != nil {
		return err
	}
	for path, program := range map[string]unsafe.Pointer{firstPath: firstProcessText(), starterPath: starterText()} {
		file, err := elf(program)
		if err != nil {
			return err
		}
		if err := os.WriteFile(dir+path, file, 0o111); err != nil {
			return err
		}
	}
	// The devices are here, so no MOUNT_ATTR_NODEV; nobody inside can make one.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(-1, dir, 0, &attr); err != nil {
		return err
	}
	return enterRoot(dir)
}

// enterRoot makes dir the root of the namespace and lets go of the old one.
func enterRoot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// hostTrees mounts the host's programs and libraries. Where the host has merged
// /bin and the like into /usr, they are the same links here.
func hostTrees(dir string) error {
	for _, tree := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		info, err := os.Lstat(tree)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(tree)
			if err != nil {
				return err
			}
			if err := os.Symlink(to, dir+tree); err != nil {
				return err
			}
		default:
			if err := bindReadOnly(tree, dir+tree); err != nil {
				return err
			}
		}
	}
	return nil
}

func bindReadOnly(source, target string) error {
	fd, err := openTree(source)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return attach(fd, target)
}

// openTree takes a read-only copy of a host directory or file, with what is
// mounted below it, as a detached mount.
func openTree(source string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("process: open mount source %s: %w", source, err)
	}
	attr := unix.MountAttr{Attr_set: roFlags, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("process: make mount source %s read-only: %w", source, err)
	}
	return fd, nil
}

// attach mounts a detached mount.
func attach(fd int, target string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("process: mount on %s: %w", target, err)
	}
	return nil
}

// devices makes the few that programs need. No terminal, no shared memory.
func devices(dir string) error {
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		path := filepath.Join(dir, "dev", name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
		if err := os.Chmod(path, 0o666); err != nil { // past the umask
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dir, "dev", name)); err != nil {
			return err
		}
	}
	return nil
}

// etc writes the files that C libraries and runtimes look for. What the host has
// of its own (certificates, time zone, service names) is taken from it; its
// users, names and settings are not.
func etc(dir string, users idRange) error {
	var passwd, group bytes.Buffer
	fmt.Fprintf(&passwd, "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n")
	fmt.Fprintf(&group, "root:x:0:\nnogroup:x:65534:\n")
	for i := range users.n {
		id := users.first + i
		fmt.Fprintf(&passwd, "sandbox%d:x:%d:%d::/tmp:/bin/sh\n", i, id, id)
		fmt.Fprintf(&group, "sandbox%d:x:%d:\n", i, id)
	}
	files := map[string]string{
		"passwd":        passwd.String(),
		"group":         group.String(),
		"hosts":         "127.0.0.1 localhost sandbox sandbox.localdomain\n::1 localhost\n",
		"hostname":      hostname + "\n",
		"resolv.conf":   "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"localtime", "services", "protocols", "ld.so.cache", "mime.types", "os-release"} {
		if err := copyEtc(dir, name); err != nil {
			return err
		}
	}
	for _, tree := range []string{"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/alternatives"} {
		if info, err := os.Stat(tree); err == nil && info.IsDir() {
			if err := bindReadOnly(tree, dir+tree); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyEtc copies one small file of the host's /etc, if it is there.
func copyEtc(dir, name string) error {
	b, err := os.ReadFile("/etc/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "etc", name), b, 0o644)
}
