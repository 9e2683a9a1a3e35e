package code

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hearth/faas"
)

// AcquireMerged returns one directory with the content of several packages, later
// ones over earlier ones, made now where it is not yet; of one package it is that
// package's. The files are hard links to the packages' own, so that all instances
// share them on disk and in memory. It is kept, counted and removed like a package;
// while it is there, so are the packages.
func (s *Store) AcquireMerged(ctx context.Context, codes []faas.Code) (*Dir, error) {
	if len(codes) == 1 {
		return s.Acquire(ctx, codes[0])
	}
	digests := make([]string, len(codes))
	for i, c := range codes {
		if err := checkDigest(c.SHA256); err != nil {
			return nil, err
		}
		digests[i] = c.SHA256
	}
	return s.acquire(ctx, mergedDigest(digests), func(ctx context.Context, e *cached) (string, error) {
		return s.merge(ctx, e, codes, digests)
	})
}

// mergedDigest names what an ordered list of packages makes together. Nobody
// stores a package under it: its preimage is no zip.
func mergedDigest(digests []string) string {
	h := sha256.New()
	for _, d := range digests {
		fmt.Fprintln(h, "merged", d)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// merge makes the directory of an entry. The packages stay acquired for as long as
// the entry is there.
func (s *Store) merge(ctx context.Context, e *cached, codes []faas.Code, digests []string) (home string, err error) {
	var parts []*Dir
	defer func() {
		if err != nil {
			for _, d := range parts {
				d.Release()
			}
		}
	}()
	for _, c := range codes {
		d, err := s.Acquire(ctx, c)
		if err != nil {
			return "", err
		}
		parts = append(parts, d)
	}
	if err := s.acquireSlot(ctx); err != nil {
		return "", err
	}
	defer s.releaseSlot()
	staging, err := os.MkdirTemp(s.tmp(), e.digest+".")
	if err != nil {
		return "", err
	}
	defer s.removeAll(staging) // where it was not renamed
	content := filepath.Join(staging, contentName)
	if err := os.Mkdir(content, modeDir); err != nil {
		return "", err
	}
	for _, d := range parts {
		if err := overlay(ctx, d.path, content); err != nil {
			return "", err
		}
	}
	bytes, err := finishMerged(content)
	if err != nil {
		return "", err
	}
	if err := s.reserve(e, bytes); err != nil {
		return "", err
	}
	if err := s.writeMarker(filepath.Join(staging, markerName), e.digest, bytes, digests); err != nil {
		return "", err
	}
	if err := os.Chmod(staging, 0o711); err != nil {
		return "", err
	}
	home = filepath.Join(s.dir, filepath.Base(staging))
	if err := os.Rename(staging, home); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range parts {
		e.parts = append(e.parts, d.entry) // their uses are the entry's now
	}
	return home, nil
}

// overlay puts the content of a package over what is in the directory to, as an
// overlay file system would: directories join, all else replaces what has its name.
func overlay(ctx context.Context, from, to string) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == "." {
			return err
		}
		have, err := root.Lstat(name)
		if err == nil && (!have.IsDir() || !entry.IsDir()) {
			err = root.RemoveAll(name)
			have = nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch {
		case entry.IsDir() && have != nil:
			return nil
		case entry.IsDir():
			return root.Mkdir(name, modeDir)
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return root.Symlink(target, name)
		}
		return share(path, filepath.Join(to, name))
	})
}

// share makes a file appear under another name too: as a hard link, or where the
// file system has none, or none more, as a copy. The directories above to are
// Hearth's own and have just been made.
func share(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeFile)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	err = errors.Join(err, target.Chmod(info.Mode().Perm()), target.Close())
	return errors.Join(err, os.Chtimes(to, epoch, epoch))
}

// finishMerged sets the modes and times of directories, and returns what the tree
// takes on a disk beyond its packages.
func finishMerged(content string) (bytes int64, err error) {
	err = filepath.WalkDir(content, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			if entry.Type() == fs.ModeSymlink {
				bytes += block
			}
			return nil
		}
		bytes += block
		return errors.Join(os.Chmod(path, modeDir), os.Chtimes(path, epoch, epoch))
	})
	return bytes, err
}

// adoptMerged takes over what an earlier run merged, if all packages are there.
func (s *Store) adoptMerged(e *cached, digests []string) bool {
	for _, d := range digests {
		part := s.entries[d]
		if part == nil {
			return false
		}
		e.parts = append(e.parts, part)
	}
	for _, part := range e.parts {
		part.refs++
	}
	return true
}

// releasePartsLocked ends an entry's use of its packages, and returns those that
// nobody uses any more.
func (e *cached) releasePartsLocked(now time.Time) (unused []*cached) {
	for _, part := range e.parts {
		if part.refs--; part.refs == 0 {
			part.lastUsed = now
			unused = append(unused, part)
		}
	}
	e.parts = nil
	return unused
}

// forgottenLocked returns since when nobody wants the entry: it was forgotten, or a
// package of it.
func (s *Store) forgottenLocked(e *cached) (at time.Time, ok bool) {
	if at, ok = s.forgotten[e.digest]; ok {
		return at, ok
	}
	i := slices.IndexFunc(e.parts, func(part *cached) bool { _, ok := s.forgotten[part.digest]; return ok })
	if i < 0 {
		return at, false
	}
	return s.forgotten[e.parts[i].digest], true
}
