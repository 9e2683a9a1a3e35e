package code

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"hearth/faas"
)

// Pack makes a deployment package of a directory, of a single file, or of a zip
// that is ready (returned as it is). The same content gives the same bytes:
// entries are sorted, times fixed, modes reduced to the execute bit. Version
// control directories and what .hearthignore names are left out; links inside
// are kept. The result passed the checks that a server makes; errors are
// *faas.Error or those of reading the path.
func Pack(path string) ([]byte, error) { return pack(path, Limits{}.withDefaults()) }

func pack(path string, limits Limits) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() {
		ready, err := readZip(path, info, limits)
		if ready != nil || err != nil {
			return ready, err
		}
	}
	p := packer{limits: limits, path: path}
	switch {
	case info.IsDir():
		// WalkDir does not follow a link at its root.
		if p.path, err = filepath.EvalSymlinks(path); err == nil {
			err = p.directory()
		}
	case info.Mode().IsRegular():
		err = p.list(filepath.Base(path), path, info)
	default:
		err = invalid("%s is neither a file nor a directory", path)
	}
	if err != nil {
		return nil, err
	}
	packed, err := p.write()
	if err != nil {
		return nil, err
	}
	return packed, verify(packed, limits)
}

// readZip returns the bytes of a ready zip, or nil for a file of another kind.
func readZip(path string, info fs.FileInfo, limits Limits) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var sig [4]byte
	if n, _ := io.ReadFull(f, sig[:]); n < 4 || le32(sig[:], 0) != sigLocal && le32(sig[:], 0) != sigEnd {
		if filepath.Ext(path) == ".zip" {
			return nil, invalid("%s is not a zip archive", path)
		}
		return nil, nil
	}
	if info.Size() > limits.Zipped {
		return nil, tooLarge("zipped package", info.Size(), limits.Zipped)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return raw, verify(raw, limits)
}

// packer collects what goes into a package before any of it is read.
type packer struct {
	path   string // of the directory
	limits Limits
	rules  ignoreRules
	items  []packed
	bytes  int64
}

type packed struct {
	name string // in the archive
	path string // on this machine
	mode fs.FileMode
}

func (p *packer) directory() error {
	text, err := os.ReadFile(filepath.Join(p.path, ignoreName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p.rules, err = parseIgnore(string(text)); err != nil {
		return err
	}
	// WalkDir is in lexical order, which makes the archive deterministic.
	return filepath.WalkDir(p.path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == p.path {
			return err
		}
		rel, err := filepath.Rel(p.path, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if p.skips(name, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return p.list(name, path, info)
	})
}

// skips reports what is left out. A .git that is a file (a worktree's or a
// submodule's) is no more part of the package than the directory.
func (p *packer) skips(name string, d fs.DirEntry) bool {
	switch d.Name() {
	case ".git", ".hg", ".svn", ".DS_Store":
		return true
	}
	return name == ignoreName || p.rules.ignores(name, d.IsDir())
}

func (p *packer) list(name, path string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		p.bytes += info.Size()
	case mode.IsDir(), mode&fs.ModeSymlink != 0:
	default:
		return invalidEntry(name, "devices, pipes and sockets cannot be packed; name it in %s", ignoreName)
	}
	if p.bytes > p.limits.Unpacked {
		return faas.Errorf(faas.CodeTooLarge, subject,
			"the files are more than %d bytes together (reached at %q); name what is not needed in %s",
			p.limits.Unpacked, name, ignoreName)
	}
	if len(p.items) >= p.limits.Files {
		return tooManyFiles(p.limits.Files)
	}
	p.items = append(p.items, packed{name: name, path: path, mode: info.Mode()})
	return nil
}

func (p *packer) write() ([]byte, error) {
	out := &bounded{limit: p.limits.Zipped}
	w := zip.NewWriter(out)
	for _, item := range p.items {
		if err := p.add(w, item); err != nil {
			if errors.Is(err, errFull) {
				return nil, faas.Errorf(faas.CodeTooLarge, subject,
					"the zipped package is over %d bytes; name what is not needed in %s", p.limits.Zipped, ignoreName)
			}
			return nil, fmt.Errorf("pack %s: %w", item.path, err)
		}
	}
	if err := w.Close(); err != nil {
		if errors.Is(err, errFull) {
			return nil, tooLarge("zipped package", int64(out.Len()), p.limits.Zipped)
		}
		return nil, err
	}
	return out.Bytes(), nil
}

func (p *packer) add(w *zip.Writer, item packed) error {
	h := &zip.FileHeader{Name: item.name, Method: zip.Deflate}
	// The legacy fields alone: Modified would add the local time zone's view.
	h.ModifiedDate = 1<<5 | 1 // 1980-01-01
	mode := modeFile
	switch {
	case item.mode.IsDir():
		h.Name += "/"
		h.Method = zip.Store
		mode = fs.ModeDir | modeDir
	case item.mode&fs.ModeSymlink != 0:
		mode = fs.ModeSymlink | 0o777
	case item.mode&0o111 != 0:
		mode = modeExec
	}
	h.SetMode(mode)
	f, err := w.CreateHeader(h)
	if err != nil || item.mode.IsDir() {
		return err
	}
	if item.mode&fs.ModeSymlink != 0 {
		target, err := os.Readlink(item.path)
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, filepath.ToSlash(target))
		return err
	}
	source, err := os.Open(item.path)
	if err != nil {
		return err
	}
	defer source.Close()
	// One byte beyond the bound is enough to be refused by the checks after.
	_, err = io.Copy(f, io.LimitReader(source, p.limits.Unpacked+1))
	return err
}

var errFull = errors.New("code: package is over its bound")

// bounded is a buffer that refuses to grow beyond its limit.
type bounded struct {
	bytes.Buffer
	limit int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(b.Len()+len(p)) > b.limit {
		return 0, errFull
	}
	return b.Buffer.Write(p)
}
