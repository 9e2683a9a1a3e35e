package faas

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Architectures of functions.
const (
	ArchX8664 = "x86_64"
	ArchARM64 = "arm64"
)

// HostArchitecture is the architecture of the functions that this machine can run.
func HostArchitecture() string {
	if runtime.GOARCH == "arm64" {
		return ArchARM64
	}
	return ArchX8664
}

// Limits are the bounds of a configuration and of what a scope may store.
type Limits struct {
	MinMemoryMB, MaxMemoryMB             int
	MinTimeoutSeconds, MaxTimeoutSeconds int
	MaxInitTimeoutSeconds                int
	MinEphemeralMB, MaxEphemeralMB       int
	MaxInstanceConcurrency               int
	MaxHandler                           int   // characters
	MaxDescription                       int   // characters
	MaxEnvironmentBytes                  int   // of the variables as a JSON object
	MaxTags                              int   // of one function
	MaxCodeBytes                         int64 // zipped, all versions of an account in a region
}

// NativeLimits are the bounds of Hearth itself; dialects may be stricter.
func NativeLimits() Limits {
	return Limits{
		MinMemoryMB: 64, MaxMemoryMB: 10240,
		MinTimeoutSeconds: 1, MaxTimeoutSeconds: 900,
		MaxInitTimeoutSeconds: 900,
		MinEphemeralMB:        512, MaxEphemeralMB: 10240,
		MaxInstanceConcurrency: 1000,
		MaxHandler:             128,
		MaxDescription:         256,
		MaxEnvironmentBytes:    4096,
		MaxTags:                50,
		MaxCodeBytes:           75 << 30,
	}
}

// LambdaLimits are the bounds of the Lambda API.
func LambdaLimits() Limits {
	l := NativeLimits()
	l.MinMemoryMB = 128
	return l
}

// milliCPUMemoryMB is the memory that comes with one whole CPU.
const milliCPUMemoryMB = 1769

// MilliCPU is the CPU share of an instance with so much memory, in thousandths
// of a CPU: one CPU per 1,769 MB, rounded to the nearest, at least 1.
func MilliCPU(memoryMB int) int {
	return max(1, (memoryMB*1000+milliCPUMemoryMB/2)/milliCPUMemoryMB)
}

// RuntimeHTTP is the runtime of functions that are HTTP servers: Handler is the
// path in the package of the executable that serves.
const RuntimeHTTP = "http"

// DefaultPort is the TCP port at which the server of an HTTP function listens,
// unless its environment sets PORT.
const DefaultPort = 8080

// Port is where the server of an HTTP function listens; false where PORT is set
// to no port.
func (c Config) Port() (int, bool) {
	text, set := c.Environment["PORT"]
	if !set {
		return DefaultPort, true
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return int(port), err == nil && port > 0
}

// WithDefaults returns the configuration with every zero field that has a
// default set to it. Name is the function's: its log group depends on it.
func (c Config) WithDefaults(name string) Config {
	if c.Runtime == RuntimeHTTP {
		setDefault(&c.Handler, "bootstrap")
	}
	setDefault(&c.MemoryMB, 128)
	setDefault(&c.TimeoutSeconds, 3)
	setDefault(&c.InitTimeoutSeconds, 10)
	setDefault(&c.EphemeralMB, 512)
	setDefault(&c.InstanceConcurrency, 1)
	setDefault(&c.Egress, EgressInternet)
	setDefault(&c.TracingMode, "PassThrough")
	if len(c.Architectures) == 0 {
		c.Architectures = []string{HostArchitecture()}
	}
	c.Logging = c.Logging.WithDefaults(name)
	return c
}

// WithDefaults is Config.WithDefaults for the part about logs.
func (l Logging) WithDefaults(name string) Logging {
	setDefault(&l.Format, "Text")
	setDefault(&l.Group, "/aws/lambda/"+name)
	if l.Format == "JSON" {
		setDefault(&l.AppLevel, "INFO")
		setDefault(&l.SystemLevel, "INFO")
	}
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Clone returns a copy that shares no map or slice with c.
func (c Config) Clone() Config {
	c.Environment = maps.Clone(c.Environment)
	c.Architectures = slices.Clone(c.Architectures)
	c.Layers = slices.Clone(c.Layers)
	return c
}

// Equal reports whether both configure the same. An environment that was never
// set is not the same as one set to nothing.
func (c Config) Equal(o Config) bool { return reflect.DeepEqual(c, o) }

var (
	rolePattern     = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$`)
	envNamePattern  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]+$`)
	logGroupPattern = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
)

// Validate returns a FieldErrors error that names every field out of bounds, or
// nil. It is meant for a configuration with its defaults filled in. Whether the
// runtime exists and the architecture is this machine's is the registry's to say.
func (c Config) Validate(l Limits) error {
	var errs FieldErrors
	if c.Runtime == "" {
		errs = append(errs, FieldError{"runtime", "", "must not be empty for a function with a deployment package"})
	}
	errs = c.validateHandler(errs, l)
	errs = errs.maxLen("description", c.Description, l.MaxDescription)
	if c.Role != "" && !rolePattern.MatchString(c.Role) {
		errs = append(errs, FieldError{"role", clip(c.Role), "must satisfy regular expression pattern: " +
			`arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`})
	}
	errs = errs.intRange("memorySize", c.MemoryMB, l.MinMemoryMB, l.MaxMemoryMB)
	errs = errs.intRange("timeout", c.TimeoutSeconds, l.MinTimeoutSeconds, l.MaxTimeoutSeconds)
	errs = errs.intRange("initTimeout", c.InitTimeoutSeconds, 1, l.MaxInitTimeoutSeconds)
	errs = errs.intRange("ephemeralStorage.size", c.EphemeralMB, l.MinEphemeralMB, l.MaxEphemeralMB)
	errs = errs.intRange("instanceConcurrency", c.InstanceConcurrency, 1, l.MaxInstanceConcurrency)
	errs = append(errs, validateEnvironment(c.Environment, l.MaxEnvironmentBytes)...)
	errs = c.validateArchitectures(errs)
	errs = errs.oneOf("egress", string(c.Egress), string(EgressInternet), string(EgressNone))
	errs = errs.oneOf("isolation", string(c.Isolation), "", string(IsolationProcess), string(IsolationNone))
	errs = errs.oneOf("tracingConfig.mode", c.TracingMode, "Active", "PassThrough")
	errs = c.Logging.validate(errs)
	if constraint := c.DeadLetter.fault(); constraint != "" {
		errs = append(errs, FieldError{"deadLetterConfig.targetArn", clip(string(c.DeadLetter)), constraint})
	}
	return errs.Err()
}

func (c Config) validateHandler(errs FieldErrors, l Limits) FieldErrors {
	switch {
	case c.Handler == "":
		return append(errs, FieldError{"handler", "", "must not be empty for a function with a deployment package"})
	case strings.ContainsFunc(c.Handler, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xa0 || r == utf8.RuneError }):
		return append(errs, FieldError{"handler", clip(c.Handler), `must satisfy regular expression pattern: [^\s]+`})
	}
	errs = errs.maxLen("handler", c.Handler, l.MaxHandler)
	if c.Runtime != RuntimeHTTP {
		return errs
	}
	if path.Clean("/"+c.Handler) != "/"+c.Handler {
		errs = append(errs, FieldError{"handler", clip(c.Handler),
			"must be the path of an executable in the package, such as bootstrap or bin/server, for the runtime http"})
	}
	if _, ok := c.Port(); !ok {
		errs = append(errs, FieldError{"environment.variables", "PORT", "must be a port from 1 to 65535 for the runtime http"})
	}
	return errs
}

func (c Config) validateArchitectures(errs FieldErrors) FieldErrors {
	if n := len(c.Architectures); n != 1 {
		return append(errs, FieldError{"architectures", fmt.Sprint(c.Architectures), "must have exactly one element"})
	}
	return errs.oneOf("architectures", c.Architectures[0], ArchX8664, ArchARM64)
}

func (l Logging) validate(errs FieldErrors) FieldErrors {
	errs = errs.oneOf("loggingConfig.logFormat", l.Format, "JSON", "Text")
	if !logGroupPattern.MatchString(l.Group) {
		errs = append(errs, FieldError{"loggingConfig.logGroup", clip(l.Group),
			`must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`})
	}
	if l.Format != "JSON" {
		if l.AppLevel != "" {
			errs = append(errs, FieldError{"loggingConfig.applicationLogLevel", clip(l.AppLevel), "must be empty unless logFormat is JSON"})
		}
		if l.SystemLevel != "" {
			errs = append(errs, FieldError{"loggingConfig.systemLogLevel", clip(l.SystemLevel), "must be empty unless logFormat is JSON"})
		}
		return errs
	}
	errs = errs.oneOf("loggingConfig.applicationLogLevel", l.AppLevel, "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
	return errs.oneOf("loggingConfig.systemLogLevel", l.SystemLevel, "DEBUG", "INFO", "WARN")
}

// reservedEnvironment is what the platform itself sets in every instance.
var reservedEnvironment = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID",
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
	"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
	"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
	"AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_RUNTIME_API",
	"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
}

// ReservedEnvironmentName reports whether only the platform may set the variable.
func ReservedEnvironmentName(name string) bool { return slices.Contains(reservedEnvironment, name) }

// validateEnvironment names variables, never their values: those are secrets.
func validateEnvironment(env map[string]string, maxBytes int) FieldErrors {
	const field = "environment.variables"
	var errs FieldErrors
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		switch {
		case ReservedEnvironmentName(name):
			errs = append(errs, FieldError{field, name, "must not contain a reserved name"})
		case !envNamePattern.MatchString(name):
			errs = append(errs, FieldError{field, clip(name), "must have keys that satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+"})
		case strings.IndexByte(value, 0) >= 0 || !utf8.ValidString(value):
			errs = append(errs, FieldError{field, name, "must have values of UTF-8 text without NUL characters"})
		}
	}
	if size := environmentSize(env); size > maxBytes {
		errs = append(errs, FieldError{field, strconv.Itoa(size) + " bytes",
			fmt.Sprintf("must have a size less than or equal to %d bytes, measured as a JSON object", maxBytes)})
	}
	return errs
}

func environmentSize(env map[string]string) int {
	if len(env) == 0 {
		return 0
	}
	b, err := json.Marshal(env)
	if err != nil { // a map of strings always has a JSON form
		return 0
	}
	return len(b)
}
