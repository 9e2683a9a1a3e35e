package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDiskThatHangs has the disk of the data directory hang, shortly and for longer
// than the engine waits for an answer of its own, while events are sent. Calls that
// wait for an answer are served meanwhile; nothing is lost, and nothing has to be
// made again: no server died.
func TestDiskThatHangs(t *testing.T) {
	disk := newDisk(t)
	w := newWorld(t, filepath.Join(disk, "data"))
	s := start(t, w.binary, w.data, "", "")
	url := s.ready(t)
	if url == "" {
		t.Fatalf("the server died\n%s", &s.log)
	}
	w.burst(t.Context(), url) // and some instances are warm
	w.call(url, bounded)
	for _, hang := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 12 * time.Second, time.Second} {
		thaw := freeze(t, disk)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			w.burst(t.Context(), url)
		}()
		over := time.After(hang) // of a disk, which has a clock of its own
		limit := bounded
		if hang > 10*time.Second { // a call does not wait for its end
			limit = hang
		}
		w.call(url, limit)
		<-over
		thaw()
		<-sent
	}
	s.stop(t)
	w.finish()
	w.check()
	if n := w.notes(); len(n.ran) != len(n.once) {
		t.Errorf("%d events ran in %d runs", len(n.ran), len(n.once))
	}
	if w.unknown > 0 {
		t.Errorf("%d events were not answered", w.unknown)
	}
}

// newDisk makes a file system of its own and returns where it is.
func newDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mounted")
	if err := firstOf(os.Mkdir(at, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"mkfs.ext4 -q -F " + image, "mount -o loop " + image + " " + at} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, 0); err != nil {
			t.Errorf("unmount: %v", err)
			_ = syscall.Unmount(at, syscall.MNT_DETACH)
		}
	})
	return at
}

// freeze has every write to a file system wait until thaw is called.
func freeze(t *testing.T, at string) (thaw func()) {
	t.Helper()
	const freezing, thawing = 0xc0045877, 0xc0045878 // FIFREEZE, FITHAW of linux/fs.h
	f, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(f.Fd()), freezing, 0); err != nil {
		t.Fatalf("freeze the disk: %v", err)
	}
	frozen := true
	thaw = func() {
		if frozen {
			frozen = false
			if err := firstOf(unix.IoctlSetInt(int(f.Fd()), thawing, 0), f.Close()); err != nil {
				t.Errorf("thaw the disk: %v", err)
			}
		}
	}
	t.Cleanup(thaw) // before it is unmounted
	return thaw
}
