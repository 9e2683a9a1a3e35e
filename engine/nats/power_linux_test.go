package nats_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestPowerLoss takes the power from a file system of its own (ext4 on a loop
// device) while a process works with its queues, and looks after the next mount
// whether all that was acknowledged is there. What was not synced is lost, in two
// ways: the kernel drops it (the shutdown that file systems offer for this), or the
// process is killed and the blocks of the device are copied as they are, without
// what the page cache holds. A disk that lies about its own cache is not tried.
func TestPowerLoss(t *testing.T) {
	if os.Getenv(privateVariable) == "" {
		if os.Getuid() != 0 {
			t.Skip("needs root: it mounts a file system")
		}
		if _, err := os.Stat("/dev/loop-control"); err != nil {
			t.Skip("needs loop devices")
		}
		if _, err := exec.LookPath("mkfs.ext4"); err != nil {
			t.Skip("needs mkfs.ext4")
		}
	}
	inPrivateMounts(t, func(t *testing.T) {
		for name, cut := range map[string]func(t *testing.T, d *loopDisk, child *exec.Cmd){
			"UnsyncedIsDropped": func(t *testing.T, d *loopDisk, child *exec.Cmd) {
				child.Process.Kill() // first, or it may see its writes fail and end by itself
				d.shutDown(t)
			},
			"BlocksAreCopied": func(t *testing.T, d *loopDisk, child *exec.Cmd) { child.Process.Kill(); d.copyBlocks(t) },
		} {
			t.Run(name, func(t *testing.T) { losePower(t, cut) })
		}
	})
}

func losePower(t *testing.T, cut func(*testing.T, *loopDisk, *exec.Cmd)) {
	lives := 2
	if long {
		lives = 40
	}
	d := newLoopDisk(t)
	known := newAcknowledged()
	for life := range lives {
		d.mount(t)
		lines := 20 + rand.IntN(400)
		known.take(live(t, filepath.Join(d.at, "data"), "queue-"+strconv.Itoa(life), func(cmd *exec.Cmd, count int) {
			if count == lines {
				cut(t, d, cmd)
			}
		}))
		d.unmount(t)
		d.mount(t) // replays the journal of the file system
		e := start(t, filepath.Join(d.at, "data"))
		known.want(t, e)
		e.stop()
		d.unmount(t)
	}
	t.Logf("%d lives, %d accepted, %d settled", lives, len(known.accepted), len(known.settled))
}

// loopDisk is a file system in a file.
type loopDisk struct {
	image  string
	copies int
	at     string // where it is mounted
}

func newLoopDisk(t *testing.T) *loopDisk {
	dir := t.TempDir()
	d := &loopDisk{image: filepath.Join(dir, "image"), at: filepath.Join(dir, "mounted")}
	check(t, os.Mkdir(d.at, 0o700))
	check(t, os.WriteFile(d.image, nil, 0o600))
	check(t, os.Truncate(d.image, 160<<20))
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	t.Cleanup(func() { syscall.Unmount(d.at, syscall.MNT_DETACH) })
	return d
}

func (d *loopDisk) mount(t *testing.T)   { run(t, "mount", "-o", "loop", d.image, d.at) }
func (d *loopDisk) unmount(t *testing.T) { run(t, "umount", d.at) }

// shutDown has the file system forget what is not on its device, and refuse
// everything from now on.
func (d *loopDisk) shutDown(t *testing.T) {
	f, err := os.Open(d.at)
	check(t, err)
	defer f.Close()
	const ioctl, withoutFlush = 0x8004587d, uint32(2) // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	flags := withoutFlush
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctl, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("shut the file system down: %v", errno)
	}
}

// copyBlocks goes on with a copy of the device as it is now.
func (d *loopDisk) copyBlocks(t *testing.T) {
	d.copies++
	path := filepath.Join(filepath.Dir(d.at), "image"+strconv.Itoa(d.copies))
	run(t, "cp", "--sparse=always", d.image, path)
	d.image = path
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}
