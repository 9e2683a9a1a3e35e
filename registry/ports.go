package registry

import (
	"context"

	"hearth/faas"
	"hearth/quota"
)

// Packages is what the registry needs of deployment packages (package code).
type Packages interface {
	// Ingest verifies a zip (faas.CodeInvalidZip, faas.CodeTooLarge) and stores it
	// durably under its content's digest.
	Ingest(ctx context.Context, zip []byte) (faas.Code, error)
	// Prepare unpacks the package and its layers on this machine, so that the first
	// start need not.
	Prepare(ctx context.Context, code faas.Code, layers ...faas.Code) error
	// Inspect says what a stored package holds.
	Inspect(ctx context.Context, code faas.Code) (faas.Contents, error)
	// Read returns the zip as it was uploaded.
	Read(ctx context.Context, code faas.Code) ([]byte, error)
	// Forget says that no version uses the package any more.
	Forget(ctx context.Context, code faas.Code) error
}

// Runtimes is what the registry needs of the catalogue (package runtimes).
type Runtimes interface {
	// Check returns nil where the runtime exists and is installed on this
	// machine; faas.CodeInvalid for an unknown name (subject "runtime"),
	// faas.CodeRuntime, saying how to install it, for a missing one.
	Check(runtime string) error
}

// Compiler makes the starts of a version faster ahead of them (package runtimes).
type Compiler interface {
	// Compile returns when it is done, within about a minute. What fails or is
	// not worth it is left to the starts; an error says why.
	Compile(ctx context.Context, version *faas.Version) error
}

// Deployer is what the registry tells the data plane (package pool).
type Deployer interface {
	// Prepare is called before next takes over from old: where old has ready
	// instances, one of next is started and initialised, so that the switch costs
	// no caller a cold start. A failure of next's own init is no error: its
	// callers will see it. Bounded by ctx.
	Prepare(ctx context.Context, old, next *faas.Version) error
	// Retire is called after a revision was replaced or deleted: idle instances
	// stop at once, busy ones after their invocation; waiters are served.
	Retire(old *faas.Version)
}

// Quota is what the registry tells the allocator (package quota).
type Quota interface {
	// Configure takes an account's settings into force. It must return at once, and
	// change nothing of s.
	Configure(account quota.Account, s quota.Settings)
}
