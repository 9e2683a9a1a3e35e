package native

import (
	"context"

	"hearth/faas"
	"hearth/invoke"
	"hearth/logs"
	"hearth/registry"
)

// Registry is what this API needs of the control plane; see lambda.Registry for
// the rules of each method.
type Registry interface {
	Create(ctx context.Context, in registry.CreateInput) (*faas.Version, error)
	UpdateCode(ctx context.Context, in registry.UpdateCodeInput) (*faas.Version, error)
	UpdateConfig(ctx context.Context, id faas.FunctionID, patch registry.ConfigPatch, revisionID string) (*faas.Version, error)
	Get(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.Function, error)
	Delete(ctx context.Context, id faas.FunctionID, qualifier string) error
	List(ctx context.Context, scope faas.Scope, allVersions bool, marker string, max int) (registry.Page[*faas.Version], error)
	Publish(ctx context.Context, in registry.PublishInput) (*faas.Version, error)
	ListVersions(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.Version], error)
	ListAliases(ctx context.Context, id faas.FunctionID, version, marker string, max int) (registry.Page[*faas.Alias], error)
}

// Invoker runs functions.
type Invoker interface {
	Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error)
	// Recent returns the newest reports of a function, newest first.
	Recent(id faas.FunctionID) []faas.Report
}

// Instances tells what runs.
type Instances interface {
	// Count returns the instances of a function, all its versions together.
	Count(id faas.FunctionID) InstanceCount
}

// InstanceCount is how many instances of a function there are now.
type InstanceCount struct {
	Starting int `json:"starting"`
	Idle     int `json:"idle"`
	Busy     int `json:"busy"`
}

// Logs finds and follows log lines.
type Logs interface {
	Find(ctx context.Context, query logs.Query) ([]logs.Line, error)
	Follow(ctx context.Context, query logs.Query, line func(logs.Line) error) error
}

// Runtime is one line of the catalogue.
type Runtime struct {
	Name      string `json:"name"`
	Installed bool   `json:"installed"`
	Version   string `json:"version,omitempty"` // of the interpreter
	Path      string `json:"path,omitempty"`    // on the host
	Get       string `json:"get,omitempty"`     // how to install it
}

// Runtimes lists the catalogue.
type Runtimes interface {
	List() []Runtime
}
