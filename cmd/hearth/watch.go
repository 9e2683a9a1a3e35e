package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long a directory must be left alone before what changed in it is
// deployed: editors and build tools write in bursts.
const quiet = 150 * time.Millisecond

// treeWatcher tells which of several functions had a file changed.
type treeWatcher struct {
	files *fsnotify.Watcher
	// roots are the paths of the functions as they were given, by where they are:
	// absolute and with links followed, which is how events name files.
	roots map[string]string
}

// newTreeWatcher watches what is below paths, and the paths themselves: a
// function's directory may be replaced by another, as Git and build tools do.
func newTreeWatcher(paths []string) (*treeWatcher, error) {
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("files cannot be watched: %w", err)
	}
	w := &treeWatcher{files: files, roots: map[string]string{}}
	for _, path := range paths {
		if err := w.addRoot(path); err != nil {
			return nil, errors.Join(fmt.Errorf("%s cannot be watched: %w", path, err), files.Close())
		}
	}
	return w, nil
}

func (w *treeWatcher) close() { _ = w.files.Close() }

func (w *treeWatcher) addRoot(path string) error {
	root, err := filepath.EvalSymlinks(path)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return err
	}
	w.roots[root] = path
	if err := w.files.Add(filepath.Dir(root)); err != nil {
		return err
	}
	return w.addTree(root)
}

// addTree watches a directory and those below it; what is gone again is no
// matter. Dependencies are not watched: there are thousands, and an install
// touches the function's own files.
func (w *treeWatcher) addTree(top string) error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		_, isRoot := w.roots[path]
		if name := d.Name(); !isRoot && (name == "node_modules" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if err := w.files.Add(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// watch calls changed for each function below which something was written, once
// a burst of writes is over, until ctx ends.
func (w *treeWatcher) watch(ctx context.Context, changed func(path string)) error {
	due := map[string]bool{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-w.files.Events:
			path, ours := w.owner(event.Name)
			if !ours || event.Op == fsnotify.Chmod {
				continue
			}
			if event.Has(fsnotify.Create) {
				// A directory that cannot be watched is still deployed, by this event.
				_ = w.addTree(event.Name)
			}
			due[path] = true
			timer.Reset(quiet)
		case <-w.files.Errors:
			// Events were lost: any function may have changed.
			for _, path := range w.roots {
				due[path] = true
			}
			timer.Reset(quiet)
		case <-timer.C:
			for path := range due {
				changed(path)
			}
			clear(due)
		}
	}
}

// owner returns the function that a file belongs to.
func (w *treeWatcher) owner(file string) (path string, ours bool) {
	for dir := file; ; dir = filepath.Dir(dir) {
		if path, ours = w.roots[dir]; ours || dir == filepath.Dir(dir) {
			return path, ours
		}
	}
}
