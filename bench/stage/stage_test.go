package stage

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestSpawn(t *testing.T) {
	shell := func(script string) Command { return Command{Path: "/bin/sh", Args: []string{"-c", script}} }
	if _, err := Spawn(t.Context(), Command{Path: "/nonexistent/server"}); err == nil {
		t.Error("a server that does not exist was started")
	}
	_, err := Spawn(t.Context(), shell("echo why >&2; exit 3"))
	if err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a server that ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Spawn(ctx, shell("exec sleep 60")); !errors.Is(err, context.Canceled) {
		t.Errorf("a server that never gets ready: %v", err)
	}
	ready := shell("echo booting; echo port 7; exec sleep 60")
	ready.Ready = func(line string) bool { return strings.HasPrefix(line, "port ") }
	c, err := Spawn(t.Context(), ready)
	if err != nil {
		t.Fatal(err)
	}
	if c.Line != "port 7" {
		t.Errorf("ready at %q", c.Line)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	if n := len(TreeOf(os.Getpid()).PIDs); n > 1 {
		t.Errorf("%d processes are left", n-1)
	}
}

// No side is slower or faster for what this machine sets.
func TestSpawnEnvironment(t *testing.T) {
	t.Setenv("NODE_EXTRA_CA_CERTS", "/some/file")
	t.Setenv("GOGC", "400")
	c, err := Spawn(t.Context(), Command{Path: "/bin/sh", Args: []string{"-c", `echo "$NODE_EXTRA_CA_CERTS,$GOGC,$OWN,${PATH:+path}"; exec sleep 60`}, Env: []string{"OWN=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Line != ",,1,path" {
		t.Errorf("it has %q", c.Line)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
}

// TestClose: the last put up is the first taken down, all are tried, and the
// directory goes.
func TestClose(t *testing.T) {
	s, err := New("", "", "")
	if err != nil {
		t.Fatal(err)
	}
	order, broken := "", errors.New("broken")
	for _, name := range []string{"a", "b", "c"} {
		s.onClose(func() error {
			order += name
			if name == "b" {
				return broken
			}
			return nil
		})
	}
	if err := s.Close(); !errors.Is(err, broken) || order != "cba" {
		t.Errorf("order %s, error %v", order, err)
	}
	if _, err := os.Stat(s.Dir); err == nil {
		t.Error("the directory is left")
	}
}

func TestProcessorTicks(t *testing.T) {
	idle, all := processorTicks("cpu  10 1 5 100 4 2 1 7 50 0")
	if idle != 104 || all != 130 {
		t.Errorf("idle %d of %d", idle, all)
	}
	if idle, all := processorTicks(unknown); idle != 0 || all != 0 {
		t.Errorf("of nothing: idle %d of %d", idle, all)
	}
}

func TestParentOf(t *testing.T) {
	for stat, want := range map[string]int{
		"12 (a) S 7 12 12 0":            7,
		"12 (odd ) name (x)) R 99 1 1 ": 99,
		"12 (a) S":                      0,
		"":                              0,
	} {
		if got, ok := parentOf(stat); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v", stat, got, ok)
		}
	}
	if tree := TreeOf(os.Getpid()); len(tree.PIDs) < 1 || tree.CPU <= 0 || tree.Root <= 0 {
		t.Errorf("this process is %+v", tree)
	}
}

func TestMemoryOf(t *testing.T) {
	text := "5581f0e000-7fff (deleted) ---p 00000000 00:00 0 [rollup]\nRss:                1024 kB\nPss:                 512 kB\nPss_Dirty:            10 kB\n"
	if got := kilobytes(text, "Pss"); got != 512<<10 {
		t.Errorf("PSS %d", got)
	}
	m, err := MemoryOf([]int{os.Getpid(), 1 << 30}) // there is no process of that id
	if err != nil || m.PSS <= 0 || m.RSS < m.PSS {
		t.Errorf("this process is %+v, %v", m, err)
	}
}

func TestLimited(t *testing.T) {
	for _, text := range []string{"", "nonsense\n", "4:memory:/a\n", "3:cpu,cpuacct:/no/such/group/at/all\n"} {
		if dir, _, err := limited(text); err == nil {
			t.Errorf("%q: %s", text, dir)
		}
	}
}

func TestCheckAnswer(t *testing.T) {
	for body, good := range map[string]bool{
		`{"greeting":"hello, Ada","count":16,"sum":80}`:        true,
		`{ "sum": 80, "greeting": "hello, Ada", "count": 16 }`: true,
		`{"greeting":"hello, Ada","count":16,"sum":81}`:        false,
		`{"errorMessage":"x"}`:                                 false,
		``:                                                     false,
	} {
		if err := CheckAnswer([]byte(body)); (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestBenchLine(t *testing.T) {
	got, err := benchLine("goos: linux\npkg: x\nBenchmarkAppend/256-2   \t   31234\t     32.02 µs/op\t     31200 msg/s\t       810 p50-µs\nPASS\n")
	if err != nil || got["msg/s"] != 31200 || got["p50-µs"] != 810 {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "PASS\nok x 1s\n", "BenchmarkAppend-2 100 many ns/op\n"} {
		if got, err := benchLine(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestSmallEvent(t *testing.T) {
	if len(SmallEvent) != 256 || !json.Valid(SmallEvent) {
		t.Errorf("%d bytes: %s", len(SmallEvent), SmallEvent)
	}
}
