package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/bench/load"
	"hearth/bench/stage"
	"hearth/test/e2e"
)

// logBatch is how often the log store writes at most (logs, batchTime).
const logBatch = 20 * time.Millisecond

// TestWarmPathTouchesNoDisk watches the data directory of a real server, while it
// serves warm calls from a real sandbox, through the kernel: nothing is opened,
// read, written, made or removed there, but the function's log, which gets its
// lines in batches and not once for each call.
func TestWarmPathTouchesNoDisk(t *testing.T) {
	s := e2e.Start(t)
	address := strings.TrimPrefix(s.URL, "http://")
	deployed := stage.At(s.URL)
	work := t.TempDir()
	binary := must(stage.Inspect(t.Context(), e2e.Binary(t), work))(t)
	languages := must(stage.Languages(t.Context(), binary.Runtimes, ".", work))(t)
	for _, l := range languages {
		t.Run(l.Name, func(t *testing.T) {
			if err := deployed.Deploy(t.Context(), l.Name, l.Function, memoryMB); err != nil {
				t.Fatal(err)
			}
			target := deployed.Target(l.Name)
			if _, err := load.Count(t.Context(), target, 1, 100); err != nil {
				t.Fatal(err)
			}
			if err := deployed.Stocked(t.Context()); err != nil { // a cell that boots reads and writes
				t.Fatal(err)
			}
			d := watchDisk(t, s.Data)
			d.wantEvent(t)
			d.settle(t)
			began := time.Now()
			if _, err := load.Count(t.Context(), target, 1, warmCalls); err != nil {
				t.Fatalf("%v at %s", err, address)
			}
			took := time.Since(began)
			logged, others := d.split(s.Data)
			for what, n := range others {
				t.Errorf("%d warm calls: %s, %d times", warmCalls, what, n)
			}
			if most := int(2*took/logBatch) + 10; logged > most {
				t.Errorf("%d warm calls in %v: the log was written %d times, not at most %d", warmCalls, took, logged, most)
			}
			if logged == 0 {
				t.Error("the log was never written: does the watch see anything?")
			}
		})
	}
}

// diskWatch counts what happens in a directory and all below it.
type diskWatch struct {
	file *os.File
	dirs map[int32]string

	mu     sync.Mutex
	events map[string]int // "OPEN path" and so on
	last   time.Time
}

const watched = unix.IN_OPEN | unix.IN_ACCESS | unix.IN_MODIFY | unix.IN_CREATE | unix.IN_DELETE |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB

// watchDisk begins to watch; the end of the test ends it.
func watchDisk(t *testing.T, root string) *diskWatch {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	d := &diskWatch{file: os.NewFile(uintptr(fd), "inotify"), dirs: map[int32]string{}, events: map[string]int{}, last: time.Now()}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		wd, err := unix.InotifyAddWatch(fd, path, watched|unix.IN_ONLYDIR)
		d.dirs[int32(wd)] = path
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		d.read()
	}()
	t.Cleanup(func() {
		check(t, d.file.Close())
		<-read
	})
	return d
}

// read takes events as they come, so that the kernel does not put equal ones
// together, until the file is closed.
func (d *diskWatch) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := d.file.Read(buf)
		if err != nil {
			return
		}
		d.mu.Lock()
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(rest))
			mask := binary.NativeEndian.Uint32(rest[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			name := string(bytes.TrimRight(rest[unix.SizeofInotifyEvent:end], "\x00"))
			d.events[fmt.Sprintf("%s %s", nameOf(mask), filepath.Join(d.dirs[wd], name))]++
			d.last = time.Now()
			rest = rest[end:]
		}
		d.mu.Unlock()
	}
}

func nameOf(mask uint32) string {
	for name, bit := range map[string]uint32{"open": unix.IN_OPEN, "read": unix.IN_ACCESS, "write": unix.IN_MODIFY,
		"create": unix.IN_CREATE, "delete": unix.IN_DELETE, "lost events": unix.IN_Q_OVERFLOW} {
		if mask&bit != 0 {
			return name
		}
	}
	return fmt.Sprintf("event %#x", mask)
}

// wantEvent proves that the watch sees what happens.
func (d *diskWatch) wantEvent(t *testing.T) {
	t.Helper()
	probe := filepath.Join(d.root(), "probe")
	check(t, os.WriteFile(probe, []byte("x"), 0o600))
	check(t, os.Remove(probe))
	check(t, stage.Until(t.Context(), "the disk at rest", func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.events["write "+probe] > 0 && d.events["delete "+probe] > 0, nil
	}))
}

// root is the shortest path that is watched.
func (d *diskWatch) root() (root string) {
	for _, dir := range d.dirs {
		if root == "" || len(dir) < len(root) {
			root = dir
		}
	}
	return root
}

// settle waits until what the calls before have left to the background is over,
// and forgets it.
func (d *diskWatch) settle(t *testing.T) {
	t.Helper()
	check(t, stage.Until(t.Context(), "the disk at rest", func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return time.Since(d.last) > 300*time.Millisecond, nil
	}))
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.events)
}

// split tells the writes of logs from everything else.
func (d *diskWatch) split(data string) (logged int, others map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	others = map[string]int{}
	for event, n := range d.events {
		if strings.HasPrefix(event, "write "+filepath.Join(data, "logs")+"/") {
			logged += n
			continue
		}
		others[event] += n
	}
	return logged, others
}
