package registry

import (
	"context"
	"errors"
	"maps"

	"hearth/faas"
	"hearth/internal/uuid"
)

// What users see of a version that is being made ready.
const (
	codeCreating   = "Creating"
	reasonCreating = "The function is being created."
)

// Create stores a new function, Pending until its package is unpacked here. It
// returns the head, or version 1 with in.Publish. Of two creates of one name one
// gets faas.CodeConflict.
func (r *Registry) Create(ctx context.Context, in CreateInput) (_ *faas.Version, err error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	cfg, err := r.checkCreate(in)
	if err != nil {
		return nil, err
	}
	if r.table.load(in.Function) != nil { // before the package costs anything
		return nil, exists(in.Function)
	}
	layers, releaseLayers, err := r.useLayers(ctx, in.Function, in.Layers)
	if err != nil {
		return nil, err
	}
	defer func() { releaseLayers(errors.Is(err, errUnknown)) }()
	cfg.Layers = layers
	code, releaseCode, err := r.ingest(ctx, in.Zip)
	if err != nil {
		return nil, err
	}
	defer func() { releaseCode(errors.Is(err, errUnknown)) }()
	if err := r.checkUnpacked(ctx, code, layers); err != nil {
		return nil, err
	}
	size := code.Size
	if in.Publish {
		size *= 2
	}
	releaseSize, err := r.claim(in.Function.Scope, size)
	if err != nil {
		return nil, err
	}
	defer releaseSize()
	return r.commitCreate(ctx, in, cfg, code)
}

// checkCreate names every wrong field of identity, configuration and tags at once.
func (r *Registry) checkCreate(in CreateInput) (faas.Config, error) {
	cfg := in.Config.Clone()
	if len(cfg.Architectures) == 0 {
		cfg.Architectures = []string{r.arch}
	}
	name := in.Function.Name
	if !faas.ValidFunctionName(name) {
		name = "name" // else the log group made of it would be wrong as well
	}
	cfg = cfg.WithDefaults(name)
	errs := in.Function.Validate()
	for _, err := range []error{cfg.Validate(r.limits), faas.ValidateTags(in.Tags, r.limits.MaxTags)} {
		var more faas.FieldErrors
		if errors.As(err, &more) {
			errs = append(errs, more...)
		}
	}
	if err := errs.Err(); err != nil {
		return cfg, err
	}
	if err := r.checkDestination(in.Function, fieldDeadLetter, cfg.DeadLetter); err != nil {
		return cfg, err
	}
	return cfg, r.checkHost(cfg)
}

// checkHost returns why this machine cannot run the configuration, or nil.
func (r *Registry) checkHost(cfg faas.Config) error {
	if arch := cfg.Architectures[0]; arch != r.arch {
		return faas.Errorf(faas.CodeInvalid, "architectures",
			"Functions for %s cannot run on this machine, which is %s. Deploy a package for %[2]s and set architectures to it.", arch, r.arch)
	}
	if err := r.runtimes.Check(cfg.Runtime); err != nil {
		return engineError("check runtime", err)
	}
	return nil
}

func exists(id faas.FunctionID) error {
	return faas.Errorf(faas.CodeConflict, faas.FunctionARN(id, ""), "Function already exist: %s", id.Name)
}

func (r *Registry) commitCreate(ctx context.Context, in CreateInput, cfg faas.Config, code faas.Code) (*faas.Version, error) {
	ctx, done, err := r.turn(ctx, in.Function)
	if err != nil {
		return nil, err
	}
	defer done()
	for range changeAttempts {
		if r.table.load(in.Function) != nil {
			return nil, exists(in.Function)
		}
		made, err := r.tryCreate(ctx, in, cfg, code)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, errChanged) {
			return nil, err
		}
		if err := r.refresh(ctx, in.Function); err != nil {
			return nil, err
		}
	}
	return nil, engineError("create function", errChanged)
}

// tryCreate writes the record of a function that does not exist, as far as
// this node knows.
func (r *Registry) tryCreate(ctx context.Context, in CreateInput, cfg faas.Config, code faas.Code) (made *faas.Version, err error) {
	// A function of that name that was deleted left its last version number.
	before := r.table.grave(in.Function)
	last := before.revision
	if !before.stored {
		last = 0
	}
	rec := &record{Incarnation: uuid.New(), LastNumber: before.lastNumber, Tags: maps.Clone(in.Tags)}
	rec.Head = r.newVersion(in.Function, faas.Latest, cfg, code)
	rec.Head.State, rec.Head.StateCode, rec.Head.StateReason = faas.StatePending, codeCreating, reasonCreating
	made = rec.Head
	if in.Publish {
		if made, err = r.addVersion(ctx, rec, nil); err != nil {
			return nil, err
		}
	}
	return made, r.commit(ctx, in.Function, rec, last)
}

func (r *Registry) newVersion(id faas.FunctionID, number string, cfg faas.Config, code faas.Code) *faas.Version {
	return &faas.Version{
		ID:           faas.VersionID{Function: id, Number: number},
		Config:       cfg,
		Code:         code,
		Revision:     uuid.New(),
		RevisionID:   uuid.New(),
		LastModified: r.clock().UTC(),
		State:        faas.StateActive,
	}
}
