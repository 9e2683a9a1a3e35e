//go:build linux && amd64

package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	findings := Probe(Options{StateDir: dir, DataID: "x"})
	for _, f := range findings {
		if f.Name == "" || f.Detail == "" || f.OK != (f.Fix == "") {
			t.Errorf("finding %+v", f)
		}
		if !f.OK {
			t.Errorf("%s: %s", f.Name, f.Detail)
		}
	}
	if got := Probe(Options{}); len(got) != len(findings) {
		t.Errorf("%d findings without a state directory, %d with one", len(got), len(findings))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLayouts(t *testing.T) {
	const (
		v1mem  = "30 25 0:27 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory"
		v1cpu  = "31 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
		v1pids = "32 25 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids"
		v1fz   = "33 25 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer"
		v2     = "26 25 0:24 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw"
	)
	for _, c := range []struct {
		name  string
		lines []string
		ctl2  []string
		want  string
		bad   string
	}{
		{"version 1", []string{v1mem, v1cpu, v1pids, v1fz}, nil, "version 1", ""},
		{"hybrid", []string{v2, v1mem, v1cpu, v1pids, v1fz}, nil, "hybrid: version 1 limits, version 2 freezes and kills", ""},
		{"version 2", []string{v2}, []string{"cpu", "memory", "pids"}, "version 2", ""},
		{"no memory", []string{v2}, []string{"cpu", "pids"}, "version 2", `"memory"`},
		{"no freezer", []string{v1mem, v1cpu, v1pids}, nil, "version 1", "freezer"},
		{"nothing", []string{"x", "", "1 2 3 4 /a b - proc proc rw"}, nil, "version 1", `"memory"`},
	} {
		l := layout{v1: map[string]string{}, ctl2: c.ctl2}
		for _, line := range c.lines {
			l.addMount(line)
		}
		if l.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, l, c.want)
		}
		err := l.check()
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%s: %v, want %q", c.name, err, c.bad)
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add("30 25 0:27 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory")
	f.Add("26 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw")
	f.Add(" - ")
	f.Fuzz(func(t *testing.T, line string) {
		l := layout{v1: map[string]string{}}
		l.addMount(line)
		_ = l.check()
	})
}

// A version 2 host: the same values in other files. (No test machine has the
// memory controller on version 2, so the files are plain ones.)
func TestVersion2Files(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cpu.max.burst"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &group{memory: ctl{dir, true}, cpu: ctl{dir, true}, pids: ctl{dir, true}, core: dir}
	var err error
	if g.cpuQuota, err = openControl(g.quotaPath(), unix.O_WRONLY); err != nil {
		t.Fatal(err)
	}
	defer g.cpuQuota.Close()
	if err := errors.Join(g.limitMemory(128), g.limitPids(1024)); err != nil {
		t.Fatal(err)
	}
	if err := g.setCPU(72); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"memory.max": "134217728", "memory.swap.max": "0", "memory.oom.group": "1",
		"pids.max": "1024", "cpu.max": "1440 20000", "cpu.max.burst": "1440",
	} {
		if b, _ := os.ReadFile(filepath.Join(dir, name)); string(b) != want {
			t.Errorf("%s holds %q, want %s", name, b, want)
		}
	}
}

func TestQuota(t *testing.T) {
	for _, c := range []struct{ milli, quota, period int }{
		{1000, 20_000, 20_000}, {72, 1440, 20_000}, {50, 1000, 20_000}, {36, 1000, 27_778}, {1, 1000, 1_000_000}, {6000, 120_000, 20_000},
	} {
		if q, p := quota(c.milli); q != c.quota || p != c.period {
			t.Errorf("quota(%d) = %d of %d, want %d of %d", c.milli, q, p, c.quota, c.period)
		}
	}
}
