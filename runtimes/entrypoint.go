package runtimes

import (
	"context"
	"os"
	"path"
	"path/filepath"

	"hearth/faas"
)

// acquireLayers returns what a version's layers make together; nil where it has none.
func (l *Launcher) acquireLayers(ctx context.Context, version *faas.Version) (CodeDir, error) {
	if len(version.Config.Layers) == 0 {
		return nil, nil
	}
	var codes []faas.Code
	for _, layer := range version.Config.Layers {
		codes = append(codes, layer.Code)
	}
	return l.code.AcquireMerged(ctx, codes)
}

// findEntrypoint returns the executable of a custom runtime as a path inside, or why
// there is none. A bootstrap may be a layer's.
func findEntrypoint(p plan, dir string) (inside, reason string) {
	switch p.known.language {
	case languageHTTP:
		name := p.version.Config.Handler
		if !filepath.IsLocal(name) {
			return "", "Handler is no path in the package: " + name
		}
		inside = taskDir + "/" + name
		info := regular(filepath.Join(dir, name))
		if info == nil {
			return "", "Couldn't find the executable of the handler: " + inside
		}
		return inside, unexecutable(info, inside)
	case languageProvided:
		const name = "/bootstrap"
		for _, place := range []struct{ host, inside string }{{dir, taskDir}, {p.layers, layersDir}} {
			if place.host == "" {
				continue
			}
			if info := regular(place.host + name); info != nil {
				return place.inside + name, unexecutable(info, place.inside+name)
			}
		}
		return "", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
	}
	return "", ""
}

// wrapperVariable names a script or program that is run in place of a managed
// runtime, with the runtime's command as its arguments, which it is to exec. Monitoring
// agents in layers come that way (Lambda's developer guide, "Modifying the runtime
// environment", wrapper scripts).
const wrapperVariable = "AWS_LAMBDA_EXEC_WRAPPER"

// wrapper is the path inside of what starts the runtime; "" where the runtime is
// started itself.
func (p plan) wrapper() string {
	name := p.version.Config.Environment[wrapperVariable]
	switch {
	case p.known.custom():
		return "" // its bootstrap is the user's own already
	case name == "" || path.IsAbs(name):
		return name
	}
	return taskDir + "/" + name
}

// regular returns the regular file at the path, or where a link there leads; nil where
// there is none.
func regular(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}

// unexecutable says that a file cannot be executed; "" where it can.
func unexecutable(info os.FileInfo, inside string) string {
	if info.Mode().Perm()&0o111 == 0 {
		return "fork/exec " + inside + ": permission denied"
	}
	return ""
}
