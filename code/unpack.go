package code

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// epoch is the time of every unpacked file and of every packed entry: the
// first that a zip can express. Content alone decides what a package is.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	modeDir  os.FileMode = 0o755
	modeFile os.FileMode = 0o644
	modeExec os.FileMode = 0o755
)

// writeSize is how much of a file is written at once. File systems cache a file in
// pieces as large as the writes that it was made by (ext4, XFS): the larger they
// are, the fewer page faults each process takes that runs it.
const writeSize = 512 << 10

// unpack writes a verified archive into an empty directory. Files come before
// links, so nothing is ever written through a link of the package, and no file
// is opened that was not created by the same call. Where it fails, what it
// wrote is left for the caller to remove.
func (a *archive) unpack(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	folders := a.tree.folders()
	for _, name := range folders {
		if err := root.Mkdir(name, modeDir); err != nil {
			return err
		}
	}
	f, buffered := newInflater(), bufio.NewWriterSize(nil, writeSize)
	for _, e := range a.entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.kind != kindFile {
			continue
		}
		if err := f.write(root, buffered, a, e); err != nil {
			return err
		}
	}
	for _, e := range a.entries {
		if e.kind != kindLink {
			continue
		}
		if err := root.Symlink(e.target, e.name); err != nil {
			return err
		}
	}
	return finish(root, folders)
}

// write creates one file. The mode is set after the umask had its say.
func (f *inflater) write(root *os.Root, buffered *bufio.Writer, a *archive, e *entry) (err error) {
	file, err := root.OpenFile(e.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeFile)
	if err != nil {
		if os.IsExist(err) {
			return invalidEntry(e.name, "this machine's file system cannot tell its name from another entry's")
		}
		return err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	if err := f.copyIn(file, buffered, a, e); err != nil {
		return err
	}
	mode := modeFile
	if e.exec {
		mode = modeExec
	}
	if err := file.Chmod(mode); err != nil {
		return err
	}
	return root.Chtimes(e.name, epoch, epoch)
}

// finish sets the modes and times of directories, which making their content changed.
func finish(root *os.Root, folders []string) error {
	for _, name := range append(slices.Clone(folders), ".") {
		if err := root.Chmod(name, modeDir); err != nil {
			return err
		}
		if err := root.Chtimes(name, epoch, epoch); err != nil {
			return fmt.Errorf("set the time of %q: %w", name, err)
		}
	}
	return nil
}

// folders are the directories of the tree, parents first.
func (t *tree) folders() []string {
	var names []string
	for name, n := range t.nodes {
		if n.kind == kindDir {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(a, b) })
	return names
}

// block is what an inode, a directory or the rounding of a file's size takes on a
// disk, about.
const block = 4096

// diskBytes estimates what the unpacked archive takes on a disk of such blocks.
func (a *archive) diskBytes() int64 {
	sum := int64(a.files) * block // inodes, directories, rounding
	return sum + a.bytes
}

// copyIn is copy in writes of writeSize.
func (f *inflater) copyIn(w io.Writer, buffered *bufio.Writer, a *archive, e *entry) error {
	buffered.Reset(w)
	if err := f.copy(buffered, a, e); err != nil {
		return err
	}
	return buffered.Flush()
}
