package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"hearth/bench/load"
)

// Runc starts the bare server of a language in containers of runc, a new one each
// time: the least that a platform on containers takes for a cold start. The root is
// the host's trees, bound read-only; there is no image, no layer and no network to
// make, which such platforms have on top.
type Runc struct {
	Way    string // how containers are made here, of those that were tried
	binary string
	bundle string
	state  string
	flags  []string
	n      int
}

// runcWays are tried in turn, the one with most of a platform's container first.
var runcWays = []struct {
	name   string
	limits bool // a control group with limits
	flags  []string
}{
	{"with memory and CPU limits", true, nil},
	{"without limits", false, nil},
	{"without limits and pivot_root", false, []string{"--no-pivot"}},
}

// A part of the OCI runtime specification.
type (
	ociMount struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options,omitempty"`
	}
	ociNamespace struct {
		Type string `json:"type"`
	}
)

// Runc prepares a bundle and tries it.
func (s *Stage) Runc(ctx context.Context, l *Language) (*Runc, error) {
	r, err := s.bundle()
	if err != nil {
		return nil, err
	}
	source, err := filepath.Abs(s.Source)
	if err != nil {
		return nil, err
	}
	for _, way := range runcWays {
		config, e := json.Marshal(ociConfig([]string{l.Bare[0], "/bench/peers/node/server.mjs"}, source, way.limits))
		if e == nil {
			e = os.WriteFile(filepath.Join(r.bundle, "config.json"), config, 0o644)
		}
		if e != nil {
			return nil, e
		}
		r.Way, r.flags = way.name, way.flags
		if _, e = r.Once(ctx); e == nil {
			return r, nil
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", way.name, e))
	}
	return nil, err
}

// bundle makes the directory of a container: its root is a skeleton.
func (s *Stage) bundle() (*Runc, error) {
	binary, err := exec.LookPath("runc")
	if err != nil {
		if binary = "/usr/sbin/runc"; !exists(binary) {
			return nil, errors.New("runc is not installed: 'apt-get install runc'")
		}
	}
	r := &Runc{binary: binary, bundle: filepath.Join(s.Dir, "bundle"), state: filepath.Join(s.Dir, "runc")}
	for _, dir := range []string{"usr", "proc", "dev", "etc", "tmp", "bench"} {
		if err := os.MkdirAll(filepath.Join(r.bundle, "rootfs", dir), 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if target, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(target, filepath.Join(r.bundle, "rootfs", name)); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// ociConfig is a container of its own pid, mount, ipc and uts namespaces, with the
// memory and the CPU of the measured functions, in the host's network.
func ociConfig(args []string, source string, limits bool) map[string]any {
	readOnly := []string{"rbind", "ro", "nosuid", "nodev"}
	const memory, period = 1769 << 20, 100_000
	linux := map[string]any{
		"cgroupsPath": fmt.Sprintf("/hearth-bench-%d", os.Getpid()),
		"namespaces":  []ociNamespace{{"pid"}, {"ipc"}, {"uts"}, {"mount"}},
	}
	if limits {
		linux["resources"] = map[string]any{"memory": map[string]int{"limit": memory}, "cpu": map[string]int{"quota": period, "period": period}}
	}
	return map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"user": map[string]int{"uid": 65534, "gid": 65534}, "args": args, "cwd": "/", "noNewPrivileges": true,
			"env": []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}, "capabilities": map[string]any{},
		},
		"root":     map[string]any{"path": "rootfs", "readonly": true},
		"hostname": "bench",
		"mounts": []ociMount{
			{"/proc", "proc", "proc", nil},
			{"/dev", "tmpfs", "tmpfs", []string{"nosuid", "mode=755", "size=65536k"}},
			{"/tmp", "tmpfs", "tmpfs", []string{"nosuid", "nodev", "size=65536k"}},
			{"/usr", "none", "/usr", readOnly}, {"/etc", "none", "/etc", readOnly}, {"/bench", "none", source, readOnly},
		},
		"linux": linux,
	}
}

// Once starts a container, asks its server once, and removes it. It returns the
// time from the fork of runc to the whole answer.
func (r *Runc) Once(ctx context.Context) (took time.Duration, err error) {
	r.n++
	id := fmt.Sprintf("bench-%d-%d", os.Getpid(), r.n)
	defer func() {
		// Whatever state it is in: a container that is not there is no error.
		clean := exec.Command(r.binary, "--root", r.state, "delete", "--force", id)
		if out, e := clean.CombinedOutput(); e != nil && err == nil {
			err = fmt.Errorf("runc delete: %w: %s", e, out)
		}
	}()
	c, err := Spawn(ctx, Command{Path: r.binary, Args: append([]string{"--root", r.state, "run", "--bundle", r.bundle}, append(r.flags, id)...)})
	if err != nil {
		return 0, err
	}
	_, err = load.Count(ctx, portTarget(c.Line), 1, 1)
	took = time.Since(c.Began)
	kill := exec.Command(r.binary, "--root", r.state, "kill", id, "KILL")
	if out, e := kill.CombinedOutput(); e != nil {
		return took, errors.Join(err, fmt.Errorf("runc kill: %w: %s", e, out), c.KillAll())
	}
	<-c.exited
	return took, err
}

// Version is what runc says of itself.
func (r *Runc) Version(ctx context.Context) string {
	out, err := output(ctx, r.binary, "--version")
	if err != nil {
		return unknown
	}
	return firstOf(string(out))
}
