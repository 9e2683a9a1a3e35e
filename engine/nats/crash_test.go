package nats_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/enginetest"
	"hearth/engine/nats"
)

// childVariable makes this test binary the process that is killed: it names the
// data directory and the number of the life.
const childVariable = "HEARTH_ENGINE_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child is what this process does when it is the one that is killed.
func child(job string) error {
	kind, path, _ := strings.Cut(job, ":")
	switch kind {
	case "reopen":
		return reopen(path)
	}
	if life, ok := strings.CutPrefix(kind, "queue-"); ok {
		return queueForEver(life, path)
	}
	return writeForEver(kind, path)
}

// openPlain opens an engine in a process without a test.
func openPlain(path string, change ...func(nats.Options) nats.Options) (*nats.Engine, *datadir.Dir, error) {
	dir, err := datadir.Open(path)
	if err != nil {
		return nil, nil, err
	}
	o := nats.Options{Dir: dir}
	for _, c := range change {
		o = c(o)
	}
	e, err := nats.Open(context.Background(), o)
	return e, dir, err
}

// writeForEver writes entries and blobs from several goroutines and prints one
// line for each write after it was acknowledged.
func writeForEver(life, path string) error {
	ctx := context.Background()
	e, _, err := openPlain(path)
	if err != nil {
		return err
	}
	fmt.Println("open")
	failed := make(chan error)
	for writer := range 4 {
		go func() {
			for i := 0; ; i++ {
				if err := writeOne(ctx, e, fmt.Sprintf("%s/%d/%d", life, writer, i), i); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// writeOne writes an entry, in turn new, updated or deleted again, and now and
// then a blob. Printing is one write of the line, so lines never mix.
func writeOne(ctx context.Context, e *nats.Engine, key string, i int) error {
	rev, err := e.Meta().Create(ctx, key, []byte("new"))
	state := "new"
	if err == nil && i%3 == 1 {
		rev, err = e.Meta().Update(ctx, key, []byte("updated"), rev)
		state = "updated"
	}
	if err == nil && i%3 == 2 {
		rev, err = e.Meta().Delete(ctx, key, rev)
		state = "deleted"
	}
	if err != nil {
		return err
	}
	fmt.Printf("entry %s %s %d\n", key, state, rev)
	if i%8 != 0 {
		return nil
	}
	seed := rand.Uint64() >> 40
	content, digest := enginetest.Content(seed, int(seed%700_000))
	if err := e.Blobs().Put(ctx, digest, bytes.NewReader(content)); err != nil {
		return err
	}
	fmt.Printf("blob %s %d\n", digest, seed)
	return nil
}

// TestKill kills a process that writes, again and again on one data directory,
// at random moments: while it opens the directory, and while it writes.
// Everything that it acknowledged is there afterwards, and nothing is damaged.
func TestKill(t *testing.T) {
	lives := 5
	if long {
		lives = 100
	}
	path := t.TempDir()
	var acknowledged []string
	for life := range lives {
		if life%4 == 0 {
			acknowledged = append(acknowledged, liveFor(t, path, strconv.Itoa(life), time.Duration(rand.IntN(60))*time.Millisecond)...)
		} else {
			acknowledged = append(acknowledged, liveUntil(t, path, strconv.Itoa(life), 5+rand.IntN(100))...)
		}
		e := start(t, path)
		for _, line := range acknowledged {
			if err := wantLine(t.Context(), e, line); err != nil {
				t.Fatalf("life %d: acknowledged %q: %v", life, line, err)
			}
		}
		check(t, e.Check(t.Context()))
		e.stop()
	}
	t.Logf("%d lives, %d acknowledged writes", lives, len(acknowledged))
}

// TestKilledWhileStreamsWereMade has the store as a kill leaves it between the two
// writes of a stream's description. What is acknowledged afterwards is there at
// every later start.
func TestKilledWhileStreamsWereMade(t *testing.T) {
	path := t.TempDir()
	start(t, path).stop()
	forget := func() {
		sums, err := filepath.Glob(filepath.Join(path, "engine", "store", "jetstream", "*", "streams", "*", "meta.sum"))
		check(t, err)
		if len(sums) < 2 {
			t.Fatalf("found the checksums %v", sums)
		}
		for _, sum := range sums {
			check(t, os.Remove(sum))
		}
	}
	forget()
	e := start(t, path)
	want := fill(t, e)
	e.stop()
	for range 2 {
		if !wantWholeOrDamaged(t, path, want) {
			t.Fatal("the engine says that it is damaged")
		}
		forget()
	}
}

// liveUntil kills the child after a number of lines and returns all that it
// printed.
func liveUntil(t *testing.T, path, job string, lines int) []string {
	return live(t, path, job, func(cmd *exec.Cmd, count int) {
		if count == lines {
			cmd.Process.Kill()
		}
	})
}

// liveFor kills the child after a time, mostly before it has opened the store.
func liveFor(t *testing.T, path, job string, d time.Duration) []string {
	var once sync.Once
	return live(t, path, job, func(cmd *exec.Cmd, _ int) {
		once.Do(func() { time.AfterFunc(d, func() { cmd.Process.Kill() }) })
	})
}

func live(t *testing.T, path, job string, step func(cmd *exec.Cmd, lines int)) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+job+":"+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	step(cmd, 0)
	var lines []string
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		if line != "open\n" {
			lines = append(lines, strings.TrimSpace(line))
		}
		step(cmd, len(lines))
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the writer ended by itself: %v\n%s", err, stderr.String())
	}
	return lines
}

// wantLine returns nil where what a line acknowledged is in the store.
func wantLine(ctx context.Context, e *opened, line string) error {
	word := strings.Fields(line)
	if word[0] == "blob" {
		seed, err := strconv.ParseUint(word[2], 10, 64)
		if err != nil {
			return err
		}
		content, _ := enginetest.Content(seed, int(seed%700_000))
		return read(ctx, e.Blobs(), word[1], content)
	}
	entry, err := e.Meta().Get(ctx, word[1])
	if word[2] == "deleted" {
		if !isNotFound(err) {
			return fmt.Errorf("a deleted entry is there: %q, %v", entry.Value, err)
		}
		return nil
	}
	if err == nil && (string(entry.Value) != word[2] || strconv.FormatUint(entry.Revision, 10) != word[3]) {
		return fmt.Errorf("it is %q at revision %d", entry.Value, entry.Revision)
	}
	return err
}

// TestInterruptedUploadIsSwept breaks an upload off by death and finds that its
// chunks are gone after the next start.
func TestInterruptedUploadIsSwept(t *testing.T) {
	path := t.TempDir()
	e := start(t, path)
	content, digest := enginetest.Content(7, 2<<20)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- e.Blobs().Put(t.Context(), digest, r) }()
	_, err := w.Write(content[:1200<<10]) // two chunks are read, so the first is stored
	check(t, err)
	copied := t.TempDir() // what is on disk now is what kill -9 would leave
	check(t, os.CopyFS(copied, os.DirFS(path)))
	w.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-ended; err == nil {
		t.Error("a broken upload succeeded")
	}
	if n := chunks(t, e); n != 0 {
		t.Errorf("%d chunks after a failed Put", n)
	}
	after := start(t, copied)
	if n := chunks(t, after); n != 0 {
		t.Errorf("%d chunks after the sweep", n)
	}
	if err := read(t.Context(), after.Blobs(), digest, content); !isNotFound(err) {
		t.Errorf("Open of a half-written blob: %v", err)
	}
	check(t, after.Blobs().Put(t.Context(), digest, bytes.NewReader(content)))
	check(t, read(t.Context(), after.Blobs(), digest, content))
}

func isNotFound(err error) bool {
	return errors.Is(err, engine.ErrNotFound)
}

func chunks(t *testing.T, e *opened) uint64 {
	t.Helper()
	n, err := e.Chunks(t.Context())
	check(t, err)
	return n
}
