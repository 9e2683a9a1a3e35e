package lambda

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"hearth/faas"
)

// timeFormat is how Lambda prints the time of a function's last change.
const timeFormat = "2006-01-02T15:04:05.000-0700"

// functionConfiguration is the model's FunctionConfiguration: a version as its
// users see it. What has omitempty is left out by Lambda too when it is not set.
type functionConfiguration struct {
	FunctionName               string
	FunctionArn                string
	Runtime                    string `json:",omitempty"`
	Role                       string
	Handler                    string `json:",omitempty"`
	CodeSize                   int64
	Description                string
	Timeout                    int
	MemorySize                 int
	LastModified               string
	CodeSha256                 string
	Version                    string
	DeadLetterConfig           *deadLetterConfig `json:",omitempty"`
	Environment                *environmentOut   `json:",omitempty"`
	Layers                     []layerOut        `json:",omitempty"`
	TracingConfig              tracingConfig
	RevisionId                 string
	State                      string `json:",omitempty"`
	StateReason                string `json:",omitempty"`
	StateReasonCode            string `json:",omitempty"`
	LastUpdateStatus           string `json:",omitempty"`
	LastUpdateStatusReason     string `json:",omitempty"`
	LastUpdateStatusReasonCode string `json:",omitempty"`
	PackageType                string
	Architectures              []string
	EphemeralStorage           ephemeralStorageOut
	SnapStart                  snapStartOut
	RuntimeVersionConfig       *runtimeVersionConfig `json:",omitempty"`
	LoggingConfig              loggingOut
}

// layerOut is the model's Layer.
type layerOut struct {
	Arn      string
	CodeSize int64
}

type environmentOut struct{ Variables map[string]string }

type tracingConfig struct{ Mode string }

type ephemeralStorageOut struct{ Size int }

type snapStartOut struct{ ApplyOn, OptimizationStatus string }

// describeSnapStart shows what was set. No snapshot is ever made, which is what the
// status says.
func describeSnapStart(c faas.Config) snapStartOut {
	out := snapStartOut{ApplyOn: "None", OptimizationStatus: "Off"}
	if c.SnapStart {
		out.ApplyOn = snapPublished
	}
	return out
}

type runtimeVersionConfig struct{ RuntimeVersionArn string }

type loggingOut struct {
	LogFormat           string
	ApplicationLogLevel string `json:",omitempty"`
	SystemLogLevel      string `json:",omitempty"`
	LogGroup            string
}

// describeVersion is the answer about one version, named by qualifier in its ARN.
func describeVersion(v *faas.Version, qualifier string) *functionConfiguration {
	out := summarizeVersion(v, qualifier)
	out.State = string(v.State)
	out.StateReason = v.StateReason
	out.StateReasonCode = v.StateCode
	out.LastUpdateStatus = string(v.Update)
	out.LastUpdateStatusReason = v.UpdateReason
	out.LastUpdateStatusReasonCode = v.UpdateCode
	if v.Config.Runtime != "" {
		out.RuntimeVersionConfig = &runtimeVersionConfig{RuntimeVersionArn: runtimeVersionARN(v)}
	}
	return out
}

// summarizeVersion is an entry of a list, which Lambda gives without states.
func summarizeVersion(v *faas.Version, qualifier string) *functionConfiguration {
	c := v.Config
	out := &functionConfiguration{
		FunctionName:     v.ID.Function.Name,
		FunctionArn:      faas.FunctionARN(v.ID.Function, qualifier),
		Runtime:          c.Runtime,
		Role:             c.Role,
		Handler:          c.Handler,
		CodeSize:         v.Code.Size,
		Description:      c.Description,
		Timeout:          c.TimeoutSeconds,
		MemorySize:       c.MemoryMB,
		LastModified:     v.LastModified.UTC().Format(timeFormat),
		CodeSha256:       base64Digest(v.Code.SHA256),
		Version:          v.ID.Number,
		TracingConfig:    tracingConfig{Mode: c.TracingMode},
		RevisionId:       v.RevisionID,
		PackageType:      packageZip,
		Architectures:    c.Architectures,
		EphemeralStorage: ephemeralStorageOut{Size: c.EphemeralMB},
		SnapStart:        describeSnapStart(c),
		LoggingConfig: loggingOut{
			LogFormat: c.Logging.Format, LogGroup: c.Logging.Group,
			ApplicationLogLevel: c.Logging.AppLevel, SystemLogLevel: c.Logging.SystemLevel,
		},
	}
	if c.DeadLetter != "" {
		target := string(c.DeadLetter)
		out.DeadLetterConfig = &deadLetterConfig{&target}
	}
	for _, l := range c.Layers {
		out.Layers = append(out.Layers, layerOut{Arn: l.ARN, CodeSize: l.Code.Size})
	}
	if c.Environment != nil {
		out.Environment = &environmentOut{Variables: c.Environment}
	}
	return out
}

// base64Digest turns the digest's hex into Lambda's base64; what is no hex is
// returned as it is.
func base64Digest(text string) string {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return text
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// hexDigest is base64Digest's inverse.
func hexDigest(text string) (string, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		return "", false
	}
	return hex.EncodeToString(raw), true
}

// aliasConfiguration is the model's AliasConfiguration.
type aliasConfiguration struct {
	AliasArn        string
	Name            string
	FunctionVersion string
	Description     string
	RevisionId      string
	RoutingConfig   *routingConfig `json:",omitempty"`
}

type routingConfig struct{ AdditionalVersionWeights map[string]float64 }

func describeAlias(a *faas.Alias) *aliasConfiguration {
	out := &aliasConfiguration{
		AliasArn:        faas.FunctionARN(a.Function, a.Name),
		Name:            a.Name,
		FunctionVersion: a.Version,
		Description:     a.Description,
		RevisionId:      a.RevisionID,
	}
	if len(a.Weights) > 0 {
		out.RoutingConfig = &routingConfig{AdditionalVersionWeights: a.Weights}
	}
	return out
}

// linkLifetime is how long a link to a deployment package works, as Lambda's.
const linkLifetime = 10 * time.Minute
