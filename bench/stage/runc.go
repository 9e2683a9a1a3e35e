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
	binary string
	bundle string
	state  string
	n      int
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

// Runc prepares a bundle.
func (s *Stage) Runc(l *Language) (*Runc, error) {
	binary, err := exec.LookPath("runc")
	if err != nil {
		if binary = "/usr/sbin/runc"; !exists(binary) {
			return nil, errors.New("runc is not installed: 'apt-get install runc'")
		}
	}
	source, err := filepath.Abs(s.Source)
	if err != nil {
		return nil, err
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
	args := []string{l.Bare[0], "/bench/peers/node/server.mjs"}
	config, err := json.Marshal(ociConfig(args, source))
	if err != nil {
		return nil, err
	}
	return r, os.WriteFile(filepath.Join(r.bundle, "config.json"), config, 0o644)
}

// ociConfig is a container of its own pid, mount, ipc and uts namespaces, with the
// memory and the CPU of the measured functions, in the host's network.
func ociConfig(args []string, source string) map[string]any {
	readOnly := []string{"rbind", "ro", "nosuid", "nodev"}
	const memory, period = 1769 << 20, 100_000
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
		"linux": map[string]any{
			"cgroupsPath": fmt.Sprintf("/hearth-bench-%d", os.Getpid()),
			"resources":   map[string]any{"memory": map[string]int{"limit": memory}, "cpu": map[string]int{"quota": period, "period": period}},
			"namespaces":  []ociNamespace{{"pid"}, {"ipc"}, {"uts"}, {"mount"}},
		},
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
	c, err := Spawn(ctx, Command{Path: r.binary, Args: []string{"--root", r.state, "run", "--bundle", r.bundle, id}})
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
