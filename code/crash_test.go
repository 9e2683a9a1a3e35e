package code

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const crashDir = "HEARTH_CODE_TEST_CRASH_DIR"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		churnUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// crashPackage is one of a few packages of many small files.
func crashPackage(n int) []byte {
	var entries []raw
	for i := range 25 {
		entries = append(entries, raw{name: fmt.Sprintf("d%d/f%d", i%7, i), content: strings.Repeat(fmt.Sprint(n), i)})
	}
	return rawZip(entries...)
}

// churnUntilKilled unpacks and removes packages.
func churnUntilKilled(dir string) {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: dir, Blobs: newMemory(), CacheBytes: 1 << 20, Grace: time.Nanosecond})
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		code, err := s.Ingest(ctx, crashPackage(i%5))
		if err != nil {
			panic(err)
		}
		if err := s.Prepare(ctx, code); err != nil {
			panic(err)
		}
		if err := s.Forget(ctx, code); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// TestCrash: after kill -9 at any place every directory that stands is whole,
// and nothing half-done is left.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	whole := map[string]string{}
	for n := range 5 {
		a, err := parse(crashPackage(n), Limits{}.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		content := t.TempDir()
		if err := a.unpack(t.Context(), content); err != nil {
			t.Fatal(err)
		}
		whole[listing(t, content)] = fmt.Sprint(n)
	}
	for round := range 4 {
		killAfter(t, dir, 2+2*round)
		s := reopen(t, dir, newMemory(), bootID())
		for _, e := range s.entries {
			if whole[listing(t, filepath.Join(e.home, contentName))] == "" {
				t.Fatalf("round %d: %s is not whole", round, e.home)
			}
		}
		if left, _ := os.ReadDir(s.tmp()); len(left) != 0 {
			t.Fatalf("round %d: left in tmp: %v", round, left)
		}
	}
}

// killAfter runs the churn for a number of packages and a moment, and kills it.
func killAfter(t *testing.T, dir string, packages int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range packages {
		if !lines.Scan() {
			t.Fatal("the child ended by itself")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
}
