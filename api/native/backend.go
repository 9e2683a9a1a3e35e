package native

import (
	"context"
	"time"

	"hearth/async"
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
	CreateAlias(ctx context.Context, alias faas.Alias) (*faas.Alias, error)
	UpdateAlias(ctx context.Context, id faas.FunctionID, name string, patch registry.AliasPatch) (*faas.Alias, error)
	DeleteAlias(ctx context.Context, id faas.FunctionID, name string) error
}

// FunctionURLs are the HTTP addresses of functions; the rules are the control plane's.
type FunctionURLs interface {
	CreateURL(ctx context.Context, id faas.FunctionID, u faas.FunctionURL) (*faas.FunctionURL, error)
	UpdateURL(ctx context.Context, id faas.FunctionID, qualifier string, patch registry.URLPatch) (*faas.FunctionURL, error)
	DeleteURL(ctx context.Context, id faas.FunctionID, qualifier string) error
	ListURLs(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.FunctionURL], error)
}

// Quotas are the quotas as they are set. Errors are *faas.Error; the control plane
// checks every change against what else is set.
type Quotas interface {
	AccountLimits(ctx context.Context, scope faas.Scope) (faas.AccountLimits, error)
	PutAccountLimits(ctx context.Context, scope faas.Scope, patch registry.AccountLimitsPatch) (faas.AccountLimits, error)
	// Unreserved is what reservations, and provisioned concurrency outside them,
	// leave of the account.
	Unreserved(ctx context.Context, scope faas.Scope) (memoryMB, executions int, err error)
	FunctionQuota(ctx context.Context, id faas.FunctionID) (registry.FunctionQuota, error)
	PutReserved(ctx context.Context, id faas.FunctionID, amount faas.Amount) error
	DeleteReserved(ctx context.Context, id faas.FunctionID) error
	// PutFunctionMaximum takes nil for the account's maximum, and 0 for none.
	PutFunctionMaximum(ctx context.Context, id faas.FunctionID, n *int) error
	PutProvisioned(ctx context.Context, id faas.FunctionID, p faas.Provisioned) (*faas.Provisioned, error)
	GetProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) (*faas.Provisioned, error)
	DeleteProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) error
	ListProvisioned(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.Provisioned], error)
	AllProvisioning() []faas.Provisioning
}

// QuotaUse tells what is in use of the quotas.
type QuotaUse interface {
	// Usage is the use of the scope's account and region, all its namespaces
	// together, at one moment.
	Usage(scope faas.Scope) Usage
}

// Usage is what an account uses of its quotas.
type Usage struct {
	Account AccountUse
	// Functions has those with something in use or a quota of their own.
	Functions map[faas.FunctionID]FunctionUse
}

// AccountUse is the use of an account's limits.
type AccountUse struct {
	MemoryMB   int `json:"memoryMB"`   // of instances that are busy, starting or provisioned
	Executions int `json:"executions"` // invocations in flight
	Starts     int `json:"starts"`     // in the last 60 s
	// Misuses counts permits that were given back twice, since the server began: a
	// bug of Hearth.
	Misuses int `json:"misuses,omitempty"`
}

// FunctionUse is one function's part of it, all its versions together.
type FunctionUse struct {
	Executions  int `json:"executions"`  // invocations in flight
	Instances   int `json:"instances"`   // busy, starting or provisioned
	MemoryMB    int `json:"memoryMB"`    // of these instances
	Provisioned int `json:"provisioned"` // instances wanted in advance, of Instances
	// Guaranteed is what of a reservation can be had for certain. It is below the
	// reservation while calls that were admitted before it go on.
	Guaranteed *faas.Amount `json:"guaranteed,omitempty"`
}

// Provisioning tells how far provisioned concurrency is.
type Provisioning interface {
	Status(id faas.FunctionID, qualifier string) faas.ProvisionedStatus
}

// EventConfigs are the settings of asynchronous invocations as they are set.
type EventConfigs interface {
	PutEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, c faas.AsyncConfig) (*registry.EventConfig, error)
	UpdateEventConfig(ctx context.Context, id faas.FunctionID, qualifier string, patch registry.EventConfigPatch) (*registry.EventConfig, error)
	GetEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.EventConfig, error)
	ListEventConfigs(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*registry.EventConfig], error)
	DeleteEventConfig(ctx context.Context, id faas.FunctionID, qualifier string) error
}

// Events are the asynchronous invocations, waiting, running and recorded; see
// async.Service for the rules of each method.
type Events interface {
	Get(ctx context.Context, scope faas.Scope, requestID string) (faas.EventRecord, error)
	Payload(ctx context.Context, scope faas.Scope, requestID string) ([]byte, error)
	List(ctx context.Context, f async.Filter) (async.Page, error)
	Terminate(ctx context.Context, scope faas.Scope, requestID string, grace time.Duration) error
	Redrive(ctx context.Context, r async.Redrive) ([]async.Redriven, error)
	Replay(ctx context.Context, r async.Replay) (requestID string, err error)
	Queues(scope faas.Scope) []async.Queue
}

// Invoker runs functions. The result of an Event has Accepted and nothing else.
type Invoker interface {
	Invoke(ctx context.Context, req *invoke.Request) (*invoke.Result, error)
	// Recent returns the newest reports of a function, newest first.
	Recent(id faas.FunctionID) []faas.Report
}

// Invocations remembers the last invocations.
type Invocations interface {
	// Find returns the report of a recent invocation of any function.
	Find(requestID string) (faas.Report, bool)
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
