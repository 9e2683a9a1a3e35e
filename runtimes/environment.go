package runtimes

import (
	"maps"
	"strconv"
	"strings"

	"hearth/faas"
	"hearth/runtimeapi"
)

// Where an instance finds things, as on Lambda.
const (
	taskDir    = "/var/task"
	runtimeDir = "/var/runtime"
	layersDir  = "/opt"
)

// setting is what the environment of an instance is made from.
type setting struct {
	version   *faas.Version
	known     known
	logStream string
	api       string // host:port of the Runtime API; "" where the instance has none
	layered   bool   // layers are at layersDir
	compiled  bool   // compiled code of the package is at compiledDir
	wrapped   bool   // a wrapper starts the runtime
	port      int    // where an HTTP server is to listen; 0 for other runtimes
	// provisioned: the instance is started for provisioned concurrency.
	provisioned bool
	cpus        int // that its quota is worth, rounded up; 0 where there is none
	// path maps a path inside the sandbox to what the process sees.
	path func(string) string
}

// environment is everything that an instance's process gets: Lambda's defaults,
// then the user's variables, then what is reserved. There are no credentials:
// they come with the identity that makes them mean something.
func (s setting) environment() map[string]string {
	env := defaults(s.known, s.path)
	// A Go program cannot see its quota in a sandbox. With more threads than that is
	// worth they wake each other for nothing, and use it up in a part of each period.
	if s.cpus > 0 && s.known.custom() {
		env["GOMAXPROCS"] = strconv.Itoa(s.cpus)
	}
	maps.Copy(env, s.version.Config.Environment)
	maps.Copy(env, s.reserved())
	return env
}

// document is the go frame of a managed runtime with this environment.
func (s setting) document(env map[string]string) runtimeapi.Go {
	start := runtimeapi.Go{Handler: s.version.Config.Handler, Environment: env, TaskRoot: s.path(taskDir),
		Concurrency: s.known.concurrency(s.version.Config), Wrapped: s.wrapped}
	if s.layered {
		start.Layers = s.path(layersDir)
	}
	if s.compiled {
		start.Compiled = s.path(compiledDir)
	}
	return start
}

// defaults may be overridden by the user's variables, as on Lambda. They are the
// same for every function of a runtime: a stem cell boots with them.
func defaults(k known, path func(string) string) map[string]string {
	list := func(paths ...string) string {
		for i, p := range paths {
			paths[i] = path(p)
		}
		return strings.Join(paths, ":")
	}
	env := map[string]string{
		"LANG":            "en_US.UTF-8",
		"TZ":              ":UTC",
		"PATH":            list(langDir+"/bin", "/usr/local/bin", "/usr/bin", "/bin", layersDir+"/bin"),
		"LD_LIBRARY_PATH": list(langDir+"/lib", "/lib64", "/usr/lib64", runtimeDir, runtimeDir+"/lib", taskDir, taskDir+"/lib", layersDir+"/lib"),
		// Where Lambda's daemon would be. There is none here: what is sent is lost, and
		// the X-Ray SDKs do not complain about calls without a trace.
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS":  "127.0.0.1:2000",
	}
	if k.language == languageNode {
		env["NODE_PATH"] = list(layersDir+"/nodejs/node"+k.version+"/node_modules", layersDir+"/nodejs/node_modules",
			runtimeDir+"/node_modules", runtimeDir, taskDir)
	}
	return env
}

func (s setting) reserved() map[string]string {
	function, config := s.version.ID.Function, s.version.Config
	env := map[string]string{
		"_HANDLER":                        config.Handler,
		"LAMBDA_TASK_ROOT":                s.path(taskDir),
		"LAMBDA_RUNTIME_DIR":              s.path(runtimeDir),
		"AWS_REGION":                      function.Region,
		"AWS_DEFAULT_REGION":              function.Region,
		"AWS_LAMBDA_FUNCTION_NAME":        function.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     s.version.ID.Number,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(config.MemoryMB),
		"AWS_LAMBDA_LOG_GROUP_NAME":       config.Logging.Group,
		"AWS_LAMBDA_LOG_STREAM_NAME":      s.logStream,
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
	}
	if s.provisioned {
		env["AWS_LAMBDA_INITIALIZATION_TYPE"] = "provisioned-concurrency"
	}
	switch s.known.language {
	case languageProvided:
	case languageHTTP:
		env["PORT"] = strconv.Itoa(s.port) // the user's, where there is one
	default:
		env["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + s.known.name
	}
	if s.api != "" {
		env["AWS_LAMBDA_RUNTIME_API"] = s.api
	}
	if config.Logging.Format == "JSON" {
		env["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
		env["AWS_LAMBDA_LOG_LEVEL"] = or(config.Logging.AppLevel, "INFO")
	} else {
		env["AWS_LAMBDA_LOG_FORMAT"] = "Text"
	}
	if n := s.known.concurrency(config); n > 1 {
		env["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(n)
	}
	return env
}

// maxThreads bounds the invocations of one instance whose runtime runs each in a
// thread: an instance may have 1,024 processes and threads, and what is left is
// for the function's own.
const maxThreads = 900

// concurrency is how many invocations one instance of the runtime may hold.
func (k known) concurrency(config faas.Config) int {
	n := max(1, config.InstanceConcurrency)
	if k.language == languagePython {
		n = min(n, maxThreads)
	}
	return n
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// pairs is an environment as exec takes it.
func pairs(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// arguments are the command of a managed runtime.
func arguments(l language, interpreter, bootstrap string, memoryMB int) []string {
	if l == languageNode {
		// V8 takes half of the memory that it sees for its heap, Lambda gives most
		// of what the function has; what is left is for buffers and the stack.
		heap := max(64, memoryMB*9/10)
		return []string{interpreter, "--max-old-space-size=" + strconv.Itoa(heap), "--max-http-header-size=81920",
			bootstrap}
	}
	// -u: what was printed is in the pipe before the answer is. -s -S: no modules
	// of the host's users and none that its distribution added, only the
	// standard library, the package and its layers. -B: the package is read-only.
	return []string{interpreter, "-u", "-s", "-S", "-B", bootstrap}
}
