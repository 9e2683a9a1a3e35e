package lambda

import (
	"context"

	"hearth/faas"
	"hearth/invoke"
	"hearth/registry"
)

// Registry is what this dialect needs of the control plane. Errors are
// *faas.Error. Versions returned are the caller's own to read, never to change.
// A qualifier is "", faas.Latest, a version number or an alias name. Markers are opaque.
type Registry interface {
	Create(ctx context.Context, in registry.CreateInput) (*faas.Version, error)
	UpdateCode(ctx context.Context, in registry.UpdateCodeInput) (*faas.Version, error)
	UpdateConfig(ctx context.Context, id faas.FunctionID, patch registry.ConfigPatch, revisionID string) (*faas.Version, error)
	Get(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.Function, error)
	// Delete removes the function with all its versions, or the one version named.
	Delete(ctx context.Context, id faas.FunctionID, qualifier string) error
	// List returns heads sorted by name, or every version too.
	List(ctx context.Context, scope faas.Scope, allVersions bool, marker string, max int) (registry.Page[*faas.Version], error)
	Publish(ctx context.Context, in registry.PublishInput) (*faas.Version, error)
	ListVersions(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.Version], error)
	CreateAlias(ctx context.Context, alias faas.Alias) (*faas.Alias, error)
	UpdateAlias(ctx context.Context, id faas.FunctionID, name string, patch registry.AliasPatch) (*faas.Alias, error)
	GetAlias(ctx context.Context, id faas.FunctionID, name string) (*faas.Alias, error)
	DeleteAlias(ctx context.Context, id faas.FunctionID, name string) error
	// ListAliases returns those that point at version, or all where it is "".
	ListAliases(ctx context.Context, id faas.FunctionID, version, marker string, max int) (registry.Page[*faas.Alias], error)
	Tag(ctx context.Context, id faas.FunctionID, tags map[string]string) error
	Untag(ctx context.Context, id faas.FunctionID, keys []string) error
	Usage(ctx context.Context, scope faas.Scope) (registry.Usage, error)
	PutRuntimeUpdates(ctx context.Context, id faas.FunctionID, qualifier string, set registry.RuntimeUpdates) (*faas.Version, error)
	RuntimeUpdates(ctx context.Context, id faas.FunctionID, qualifier string) (registry.RuntimeUpdates, *faas.Version, error)
	// OpenCode returns the zip of a version, for GetFunction's Code.Location.
	OpenCode(ctx context.Context, id faas.FunctionID, qualifier string) (zip []byte, err error)
}

// Quotas is what this dialect needs of the control plane's quotas; the rules are
// those of Registry.
type Quotas interface {
	AccountLimits(ctx context.Context, scope faas.Scope) (faas.AccountLimits, error)
	// Unreserved is what reservations, and provisioned concurrency outside them,
	// leave of the account.
	Unreserved(ctx context.Context, scope faas.Scope) (memoryMB, executions int, err error)
	FunctionQuota(ctx context.Context, id faas.FunctionID) (registry.FunctionQuota, error)
	PutReserved(ctx context.Context, id faas.FunctionID, amount faas.Amount) error
	DeleteReserved(ctx context.Context, id faas.FunctionID) error
	PutProvisioned(ctx context.Context, id faas.FunctionID, p faas.Provisioned) (*faas.Provisioned, error)
	// GetProvisioned and DeleteProvisioned answer faas.ErrNoProvisioned for a
	// version or alias that has none.
	GetProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) (*faas.Provisioned, error)
	DeleteProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) error
	ListProvisioned(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.Provisioned], error)
	// RecursionLoop is "Allow" or "Terminate".
	RecursionLoop(ctx context.Context, id faas.FunctionID) (string, error)
	PutRecursionLoop(ctx context.Context, id faas.FunctionID, loop string) error
}

// EventConfigs is what this dialect needs of the settings of asynchronous
// invocations; the rules are those of Registry. Errors wrap faas.ErrNoEventConfig
// for a qualifier that has none.
type EventConfigs interface {
	PutEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, c faas.AsyncConfig) (*registry.EventConfig, error)
	UpdateEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, patch registry.EventConfigPatch) (*registry.EventConfig, error)
	GetEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.EventConfig, error)
	ListEventConfigs(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*registry.EventConfig], error)
	DeleteEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) error
}

// Policies is what this dialect needs of resource policies; the rules are those of
// Registry. "" is the function itself, which $LATEST is not here.
type Policies interface {
	AddPermission(ctx context.Context, id faas.FunctionID, qualifier string, s faas.Statement, revisionID string) error
	RemovePermission(ctx context.Context, id faas.FunctionID, qualifier, statement, revisionID string) error
	Policy(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.Policy, error)
	// Permits reports whether a policy lets a caller through; it waits for nothing.
	Permits(id faas.FunctionID, qualifier string, a faas.Access) bool
}

// FunctionURLs is what this dialect needs of function URLs; the rules are those of
// Registry. A qualifier is "" or an alias.
type FunctionURLs interface {
	CreateURL(ctx context.Context, id faas.FunctionID, u faas.FunctionURL) (*faas.FunctionURL, error)
	UpdateURL(ctx context.Context, id faas.FunctionID, qualifier string, patch registry.URLPatch) (*faas.FunctionURL, error)
	GetURL(ctx context.Context, id faas.FunctionID, qualifier string) (*faas.FunctionURL, error)
	DeleteURL(ctx context.Context, id faas.FunctionID, qualifier string) error
	ListURLs(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.FunctionURL], error)
}

// Mappings is what this dialect needs of event source mappings; the rules are those
// of Registry. Errors wrap faas.ErrNoMapping for a UUID that has none.
type Mappings interface {
	CreateMapping(ctx context.Context, m faas.EventSourceMapping) (*faas.EventSourceMapping, error)
	UpdateMapping(ctx context.Context, scope faas.Scope, uuid string, patch registry.MappingPatch) (*faas.EventSourceMapping, error)
	GetMapping(ctx context.Context, scope faas.Scope, uuid string) (*faas.EventSourceMapping, error)
	DeleteMapping(ctx context.Context, scope faas.Scope, uuid string) (*faas.EventSourceMapping, error)
	ListMappings(ctx context.Context, filter registry.MappingFilter, marker string, max int) (registry.Page[*faas.EventSourceMapping], error)
	TagMapping(ctx context.Context, scope faas.Scope, uuid string, tags map[string]string) error
	UntagMapping(ctx context.Context, scope faas.Scope, uuid string, keys []string) error
}

// Objects is where deployment packages are read from that a request names by bucket
// and key. Errors are *faas.Error; an object of more than limit bytes is one.
type Objects interface {
	Get(ctx context.Context, bucket, key, version string, limit int64) ([]byte, error)
}

// Layers is what this dialect needs of layers; the rules are those of Registry. Errors
// wrap faas.ErrNoLayer for a version that is not there.
type Layers interface {
	PublishLayer(ctx context.Context, in registry.PublishLayerInput) (*faas.LayerVersion, error)
	Layer(ctx context.Context, id faas.LayerID, number int64) (*faas.LayerVersion, error)
	// OpenLayer returns the zip of a version, for its Content.Location.
	OpenLayer(ctx context.Context, id faas.LayerID, number int64) (zip []byte, err error)
	// DeleteLayer of a version that is not there is no error.
	DeleteLayer(ctx context.Context, id faas.LayerID, number int64) error
	ListLayers(ctx context.Context, scope faas.Scope, f registry.LayerFilter, marker string, max int) (registry.Page[*faas.LayerVersion], error)
	ListLayerVersions(ctx context.Context, id faas.LayerID, f registry.LayerFilter, marker string, max int) (registry.Page[*faas.LayerVersion], error)
	AddLayerPermission(ctx context.Context, id faas.LayerID, number int64, s faas.LayerStatement, revision string) (*faas.LayerVersion, error)
	RemoveLayerPermission(ctx context.Context, id faas.LayerID, number int64, sid, revision string) error
}

// Provisioning tells how far provisioned concurrency is.
type Provisioning interface {
	Status(id faas.FunctionID, qualifier string) faas.ProvisionedStatus
}

// Invoker is what this dialect needs of the data plane. The result of an Event has
// Accepted and nothing else.
type Invoker interface {
	Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error)
}
