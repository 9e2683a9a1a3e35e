package lambda

import (
	"encoding/json"
	"strconv"
	"strings"

	"hearth/faas"
)

// settings are the members that CreateFunction and UpdateFunctionConfiguration
// share. Those of type json.RawMessage are known and not supported: see refuse.
type settings struct {
	DeadLetterConfig *deadLetterConfig
	Description      *string
	Environment      *environmentIn
	EphemeralStorage *struct{ Size *int }
	Handler          *string
	Layers           []string
	LoggingConfig    *loggingIn
	MemorySize       *int
	Role             *string
	Runtime          *string
	SnapStart        *struct{ ApplyOn *string }
	Timeout          *int
	TracingConfig    *struct{ Mode *string }

	CapacityProviderConfig json.RawMessage
	DurableConfig          json.RawMessage
	FileSystemConfigs      json.RawMessage
	ImageConfig            json.RawMessage
	KMSKeyArn              json.RawMessage
	VpcConfig              json.RawMessage
}

type environmentIn struct{ Variables map[string]string }

type loggingIn struct {
	ApplicationLogLevel *string
	LogFormat           *string
	LogGroup            *string
	SystemLogLevel      *string
}

// refuse rejects the settings that would change what a function does and that
// this server does not have. Empty ones say nothing and are accepted.
func (s *settings) refuse() error {
	for _, known := range []struct {
		name   string
		value  json.RawMessage
		advice string
	}{
		{"CapacityProviderConfig", s.CapacityProviderConfig, "Leave it out."},
		{"DurableConfig", s.DurableConfig, "Leave it out."},
		{"FileSystemConfigs", s.FileSystemConfigs, "Leave it out and write to /tmp, whose size EphemeralStorage sets."},
		{"ImageConfig", s.ImageConfig, "Leave it out and upload a zip archive."},
		{"KMSKeyArn", s.KMSKeyArn, "Leave it out."},
		{"VpcConfig", s.VpcConfig, "Leave it out."},
	} {
		if !emptyJSON(known.value) {
			return unsupportedParameter(known.name, known.advice)
		}
	}
	return nil
}

// snapPublished is the value of SnapStart.ApplyOn that switches it on.
const snapPublished = "PublishedVersions"

// snapStart is nil where nothing was sent.
func (s *settings) snapStart() *bool {
	if s.SnapStart == nil || s.SnapStart.ApplyOn == nil {
		return nil
	}
	on := *s.SnapStart.ApplyOn == snapPublished
	return &on
}

// checkSnapStart refuses it for the runtimes that Lambda has no snapshots of.
func checkSnapStart(on bool, runtime string) error {
	minor, python := strings.CutPrefix(runtime, "python3.")
	number, err := strconv.Atoi(minor)
	if !on || python && err == nil && number >= 12 || strings.HasPrefix(runtime, "java") || strings.HasPrefix(runtime, "dotnet") {
		return nil
	}
	return parameterError(runtime + " is not supported for SnapStart enabled functions.")
}

// emptyJSON reports whether a value says nothing: absent, null, "", false, {}, [],
// or an object or list of such.
func emptyJSON(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return false
	}
	return saysNothing(v)
}

func saysNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, field := range v {
			if !saysNothing(field) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// value is what p points at, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// or is what p points at, or otherwise.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// config is a new function's configuration; what was not set is zero.
func (s *settings) config() faas.Config {
	c := faas.Config{
		Runtime:        value(s.Runtime),
		Handler:        value(s.Handler),
		Role:           value(s.Role),
		Description:    value(s.Description),
		MemoryMB:       value(s.MemorySize),
		TimeoutSeconds: value(s.Timeout),
		Environment:    s.environment(),
		SnapStart:      value(s.snapStart()),
	}
	if s.DeadLetterConfig != nil {
		c.DeadLetter = faas.Destination(value(s.DeadLetterConfig.TargetArn))
	}
	if s.EphemeralStorage != nil {
		c.EphemeralMB = value(s.EphemeralStorage.Size)
	}
	if s.TracingConfig != nil {
		c.TracingMode = value(s.TracingConfig.Mode)
	}
	if s.LoggingConfig != nil {
		c.Logging = s.LoggingConfig.over(faas.Logging{})
	}
	return c
}

// environment is nil where none was sent, and empty where an empty one was.
func (s *settings) environment() map[string]string {
	if s.Environment == nil {
		return nil
	}
	if s.Environment.Variables == nil {
		return map[string]string{}
	}
	return s.Environment.Variables
}

// over lays what was sent over what was there. A change to the text format takes
// the levels with it, which only the JSON format has.
func (l *loggingIn) over(old faas.Logging) faas.Logging {
	if l.LogFormat != nil {
		if *l.LogFormat != "JSON" {
			old.AppLevel, old.SystemLevel = "", ""
		}
		old.Format = *l.LogFormat
	}
	if l.LogGroup != nil {
		old.Group = *l.LogGroup
	}
	if l.ApplicationLogLevel != nil {
		old.AppLevel = *l.ApplicationLogLevel
	}
	if l.SystemLogLevel != nil {
		old.SystemLevel = *l.SystemLogLevel
	}
	return old
}
