//go:build linux && amd64

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A /tmp is an ext4 file system of exactly the size that was asked for, on a loop
// device over a sparse file. A tmpfs would be charged to the sandbox's memory:
// writing to it ends in an OOM kill, not in ENOSPC, and the charge outlives the
// processes.
//
// Making one takes 10-40 ms and unmounting one up to 200, so they are reused: a
// sandbox gets a mount of its own of the file system, and when it is gone the
// files are deleted, which for most is nothing to do at all. One that was filled
// is thrown away instead. Nothing is mounted where the host can see it, the file
// is unlinked before anything is written to it, and the loop device clears itself
// when the last mount goes: kill -9 leaves nothing.
type tmpPool struct {
	dir    string // on disk; holds templates and, for an instant, images
	limit  int    // most idle images
	log    *slog.Logger
	noDisk error         // why disk-backed images cannot be made here; nil where they can
	making gate          // more at once only wait for each other in the kernel
	refill chan int      // sizes of which too few are idle
	stop   chan struct{} // closed by close
	filler sync.WaitGroup

	mu     sync.Mutex
	idle   []*image // the most recently used last
	closed bool
}

// image is one /tmp.
type image struct {
	sizeMB int
	dev    string   // the loop device; "" for a tmpfs, which is used once
	file   *os.File // behind the loop device
	root   *os.File // a mount of it that no sandbox sees, to clean it through
	next   int      // a detached mount for the next sandbox, or -1
	inodes uint64   // free in the empty file system
	blocks uint64
}

const (
	// tmpAhead is how many images of a size are made before they are asked for.
	tmpAhead = 4
	// An image is cleaned for reuse while it holds at most this, else dropped.
	tmpMostFiles = 2000
	tmpMostBytes = 64 << 20
)

func newTmpPool(dir string, limit int, log *slog.Logger) (*tmpPool, error) {
	// Whatever is there was left by a crash in the instant before an unlink.
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &tmpPool{
		dir: dir, limit: limit, log: log,
		making: make(gate, 1), refill: make(chan int, 1), stop: make(chan struct{}),
	}
	img, err := p.makeDisk(defaultTmpMB)
	if err != nil {
		p.noDisk = err
		log.Warn("no disk-backed /tmp: falling back to tmpfs of half the memory", "error", err)
	} else {
		p.idle = append(p.idle, img)
		p.filler.Go(p.fill)
	}
	return p, nil
}

// fill keeps tmpAhead idle images of the sizes that are asked for.
func (p *tmpPool) fill() {
	for {
		var sizeMB int
		select {
		case sizeMB = <-p.refill:
		case <-p.stop:
			return
		}
		for p.idleOf(sizeMB) < min(tmpAhead, p.limit) {
			img, err := p.makeOne(context.Background(), p.stop, sizeMB)
			if err != nil {
				break // the next get of this size says why, if it lasts
			}
			if err := p.keep(img); err != nil {
				p.log.Warn("cannot remove a /tmp", "error", err)
			}
		}
	}
}

func (p *tmpPool) idleOf(sizeMB int) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, img := range p.idle {
		if img.sizeMB == sizeMB {
			n++
		}
	}
	return n
}

// size is the size of the /tmp that a sandbox of this memory gets: what it asked
// for, unless it is a tmpfs, which is charged to that memory.
func (p *tmpPool) size(sizeMB, memoryMB int) int {
	if p.noDisk != nil {
		return min(sizeMB, max(memoryMB/2, 1))
	}
	return sizeMB
}

// get returns an image of the size, whose next is ready to be moved into place.
func (p *tmpPool) get(ctx context.Context, sizeMB int) (*image, error) {
	if p.noDisk != nil {
		return makeTmpfs(sizeMB)
	}
	defer func() {
		select {
		case p.refill <- sizeMB:
		default: // the filler is busy; a later get asks again
		}
	}()
	p.mu.Lock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		if img := p.idle[i]; img.sizeMB == sizeMB {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.mu.Unlock()
			return img, nil
		}
	}
	p.mu.Unlock()
	return p.makeOne(ctx, nil, sizeMB)
}

func (p *tmpPool) makeOne(ctx context.Context, stop <-chan struct{}, sizeMB int) (*image, error) {
	if err := p.making.enter(ctx, stop); err != nil {
		return nil, err
	}
	defer p.making.leave()
	return p.makeDisk(sizeMB)
}

// put takes back an image that no process uses any more. It may take long.
func (p *tmpPool) put(img *image) error {
	if img.dev == "" {
		return img.close()
	}
	if err := img.clean(); err != nil {
		if !errors.Is(err, errTooFull) {
			p.log.Warn("a /tmp could not be cleaned and is dropped", "error", err)
		}
		return img.close()
	}
	return p.keep(img)
}

// keep makes an image idle, in the place of another if there are too many.
func (p *tmpPool) keep(img *image) error {
	var drop *image
	p.mu.Lock()
	switch {
	case p.closed:
		drop = img
	case len(p.idle) >= p.limit:
		drop, p.idle = p.idle[0], append(p.idle[1:], img)
	default:
		p.idle = append(p.idle, img)
	}
	p.mu.Unlock()
	if drop != nil {
		return drop.close()
	}
	return nil
}

func (p *tmpPool) close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	close(p.stop)
	p.filler.Wait()
	var errs []error
	for _, img := range idle {
		errs = append(errs, img.close())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// template makes the empty file system of a size once, and returns its path.
func (p *tmpPool) template(sizeMB int) (string, error) {
	path := filepath.Join(p.dir, fmt.Sprintf("template-%d", sizeMB))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.ext4" // a user's PATH often lacks sbin
	}
	partial := path + ".partial"
	if err := os.WriteFile(partial, nil, 0o600); err != nil {
		return "", err
	}
	if err := os.Truncate(partial, int64(sizeMB)<<20); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, mkfs, "-q", "-F", "-m", "0", "-b", "4096",
		"-O", "^has_journal,^resize_inode", "-N", strconv.Itoa(max(16*1024, sizeMB*64)),
		"-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", partial)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("process: make an ext4 for /tmp: %w %s", err, out)
	}
	return path, os.Rename(partial, path)
}

// makeDisk makes an image. One caller at a time.
func (p *tmpPool) makeDisk(sizeMB int) (_ *image, err error) {
	template, err := p.template(sizeMB)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(p.dir, "image-")
	if err != nil {
		return nil, err
	}
	img := &image{sizeMB: sizeMB, file: file, next: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, img.close())
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	if err := copySparse(file, template); err != nil {
		return nil, fmt.Errorf("process: copy the /tmp template: %w", err)
	}
	loop, err := attachLoop(file)
	if err != nil {
		return nil, err
	}
	defer loop.Close() // the mount holds it from here on
	img.dev = loop.Name()
	if err := img.openRoot(); err != nil {
		return nil, err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(img.root.Fd()), &fs); err != nil {
		return nil, err
	}
	img.inodes, img.blocks = fs.Ffree, fs.Bfree
	img.next, err = img.mount()
	return img, err
}

// openRoot mounts the file system for the driver's own use and prepares its root.
func (img *image) openRoot() error {
	mnt, err := img.mount()
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	fd, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	img.root = os.NewFile(uintptr(fd), "/tmp of a sandbox")
	if err := unix.Unlinkat(fd, "lost+found", unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return err
	}
	return unix.Fchmod(fd, 0o1777)
}

// mount makes a detached mount of the image: the first mounts the file system,
// later ones share it.
func (img *image) mount() (int, error) {
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("process: fsopen ext4: %w", err)
	}
	defer unix.Close(fs)
	err = errors.Join(unix.FsconfigSetString(fs, "source", img.dev), unix.FsconfigSetFlag(fs, "noinit_itable"))
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return -1, fmt.Errorf("process: mount %s: %w", img.dev, err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// makeTmpfs is the fallback where there are no loop devices. It is used once.
func makeTmpfs(sizeMB int) (*image, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	err = errors.Join(
		unix.FsconfigSetString(fs, "size", strconv.Itoa(sizeMB)+"m"),
		unix.FsconfigSetString(fs, "nr_inodes", strconv.Itoa(max(16*1024, sizeMB*64))),
		unix.FsconfigSetString(fs, "mode", "1777"))
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("process: mount a tmpfs: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	return &image{sizeMB: sizeMB, next: mnt}, err
}

var errTooFull = errors.New("process: /tmp holds too much to be cleaned")

// clean deletes what a sandbox left and mounts the image for the next one. The
// content is hostile: it is deleted below the open root, following no link.
func (img *image) clean() error {
	fd := int(img.root.Fd())
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	if img.inodes-fs.Ffree > tmpMostFiles || (img.blocks-fs.Bfree)*uint64(fs.Bsize) > tmpMostBytes {
		return errTooFull
	}
	if err := img.checkGrowth(); err != nil {
		return err
	}
	if fs.Ffree != img.inodes { // else there is no file
		if err := img.empty(); err != nil {
			return err
		}
		if err := unix.Fstatfs(fd, &fs); err != nil {
			return err
		}
	}
	if fs.Ffree != img.inodes {
		return fmt.Errorf("process: /tmp is not empty after cleaning: %d inodes in use", img.inodes-fs.Ffree)
	}
	if img.next < 0 {
		var err error
		img.next, err = img.mount()
		return err
	}
	return nil
}

// empty deletes everything below the root.
func (img *image) empty() error {
	if _, err := img.root.Seek(0, io.SeekStart); err != nil {
		return err
	}
	names, err := img.root.Readdirnames(tmpMostFiles + 1)
	if err != nil && err != io.EOF {
		return err
	}
	return removeBelow(int(img.root.Fd()), names)
}

// rootSize is the size of an ext4 directory that never had many entries.
const rootSize = 4096

// checkGrowth refuses an image that deleting its files does not make small again:
// blocks of the file behind it stay taken on the host's disk, and the root
// directory keeps its length, which the next sandbox would pay for, and see.
func (img *image) checkGrowth() error {
	var file, root unix.Stat_t
	if err := errors.Join(unix.Fstat(int(img.file.Fd()), &file), unix.Fstat(int(img.root.Fd()), &root)); err != nil {
		return err
	}
	if file.Blocks*512 > tmpMostBytes || root.Size > rootSize {
		return errTooFull
	}
	return nil
}

func removeBelow(dir int, names []string) error {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range names {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// take hands over the mount for a sandbox.
func (img *image) take() int {
	fd := img.next
	img.next = -1
	return fd
}

func (img *image) close() error {
	var errs []error
	if img.next >= 0 {
		errs = append(errs, unix.Close(img.next))
	}
	for _, f := range []*os.File{img.root, img.file} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	img.next, img.root, img.file = -1, nil, nil
	return errors.Join(errs...)
}
