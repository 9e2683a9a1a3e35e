package registry

import (
	"context"
	"errors"
	"maps"

	"hearth/faas"
)

// UpdateCode replaces the head's package. Calls go on to the code before until
// the new one is ready. With Publish the answer is the new version.
func (r *Registry) UpdateCode(ctx context.Context, in UpdateCodeInput) (_ *faas.Version, err error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	s := r.table.load(in.Function)
	if s == nil {
		return nil, noFunction(in.Function, "")
	}
	if _, err := r.checkUpdateCode(in, s); err != nil { // before the package costs anything
		return nil, err
	}
	code, releaseCode, err := r.ingest(ctx, in.Zip)
	if err != nil {
		return nil, err
	}
	defer func() { releaseCode(errors.Is(err, errUnknown)) }()
	if err := r.checkUnpacked(ctx, code, s.record.Head.Config.Layers); err != nil {
		return nil, err
	}
	if in.DryRun {
		return r.dryRun(in, code)
	}
	size := code.Size - s.record.Head.Code.Size
	if in.Publish {
		size += code.Size
	}
	releaseSize, err := r.claim(in.Function.Scope, size)
	if err != nil {
		return nil, err
	}
	defer releaseSize()
	var made *faas.Version
	err = r.change(ctx, in.Function, func(ctx context.Context, s *snapshot) (*record, error) {
		cfg, err := r.checkUpdateCode(in, s)
		if err != nil {
			return nil, err
		}
		next := r.startUpdate(s.record, cfg, code)
		made = next.Head
		if in.Publish {
			made, err = r.addVersion(ctx, next, nil)
		}
		return next, err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// checkUpdateCode returns the configuration that goes with the new code.
func (r *Registry) checkUpdateCode(in UpdateCodeInput, s *snapshot) (faas.Config, error) {
	head := s.record.Head
	cfg := head.Config.Clone()
	if err := checkUpdate(head, in.RevisionID); err != nil {
		return cfg, err
	}
	if in.Architectures != nil {
		cfg.Architectures = append([]string(nil), in.Architectures...)
		if err := cfg.Validate(r.limits); err != nil {
			return cfg, err
		}
	}
	return cfg, r.checkHost(cfg)
}

func (r *Registry) dryRun(in UpdateCodeInput, code faas.Code) (*faas.Version, error) {
	s := r.table.load(in.Function)
	if s == nil {
		return nil, noFunction(in.Function, "")
	}
	cfg, err := r.checkUpdateCode(in, s)
	if err != nil {
		return nil, err
	}
	v := *s.record.Head
	v.Config, v.Code = cfg, code
	return &v, nil
}

// UpdateConfig changes the head's configuration. Instances of the configuration
// before serve until one of the new is ready. Memory or concurrency with which
// the function's reservation would not fit any more is faas.CodeInvalid.
func (r *Registry) UpdateConfig(ctx context.Context, id faas.FunctionID, patch ConfigPatch, revisionID string) (_ *faas.Version, err error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	layers, release, err := r.patchLayers(ctx, id, patch)
	if err != nil {
		return nil, err
	}
	defer func() { release(errors.Is(err, errUnknown)) }()
	var made *faas.Version
	err = r.change(ctx, id, func(ctx context.Context, s *snapshot) (*record, error) {
		head := s.record.Head
		if err := checkUpdate(head, revisionID); err != nil {
			return nil, err
		}
		cfg := patch.apply(head.Config.Clone(), id.Name)
		if patch.Layers != nil {
			cfg.Layers = layers
			if err := r.checkUnpacked(ctx, head.Code, layers); err != nil {
				return nil, err
			}
		}
		if err := cfg.Validate(r.limits); err != nil {
			return nil, err
		}
		if err := r.checkHost(cfg); err != nil {
			return nil, err
		}
		if patch.DeadLetter != nil {
			if err := r.checkDestination(id, fieldDeadLetter, cfg.DeadLetter); err != nil {
				return nil, err
			}
		}
		next := r.startUpdate(s.record, cfg, head.Code)
		made = next.Head
		return next, r.checkSize(id, s, next)
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// patchLayers finds the layers that a patch asks for, as useLayers does.
func (r *Registry) patchLayers(ctx context.Context, id faas.FunctionID, patch ConfigPatch) ([]faas.Layer, func(keep bool), error) {
	if patch.Layers == nil {
		return nil, func(bool) {}, nil
	}
	if r.table.load(id) == nil { // rather than what is wrong with the layers
		return nil, nil, noFunction(id, "")
	}
	return r.useLayers(ctx, id, *patch.Layers)
}

func checkUpdate(head *faas.Version, revisionID string) error {
	if err := busy(head.ID.Function, head); err != nil {
		return err
	}
	if revisionID != "" && revisionID != head.RevisionID {
		return stale(faas.FunctionARN(head.ID.Function, ""))
	}
	return nil
}

// startUpdate returns the record with a new head in progress. What calls go to
// stays what it was. A head that never became active has nothing that serves:
// it begins again as Pending.
func (r *Registry) startUpdate(rec *record, cfg faas.Config, code faas.Code) *record {
	next := rec.clone()
	head := r.newVersion(rec.Head.ID.Function, faas.Latest, cfg, code)
	if rec.Head.State == faas.StateFailed {
		head.State, head.StateCode, head.StateReason = faas.StatePending, codeCreating, reasonCreating
	} else {
		head.Update, head.UpdateCode, head.UpdateReason = faas.UpdateInProgress, codeCreating, reasonCreating
		if next.Serving == nil {
			next.Serving = rec.Head
		}
	}
	next.Head = head
	return next
}

// apply returns the configuration with the patch's fields. A field that is
// there is taken as it is: 0 is a value out of bounds and not the default.
func (p ConfigPatch) apply(c faas.Config, name string) faas.Config {
	patchField(&c.Runtime, p.Runtime)
	patchField(&c.Handler, p.Handler)
	patchField(&c.Role, p.Role)
	patchField(&c.Description, p.Description)
	patchField(&c.MemoryMB, p.MemoryMB)
	patchField(&c.TimeoutSeconds, p.TimeoutSeconds)
	patchField(&c.InitTimeoutSeconds, p.InitTimeoutSeconds)
	patchField(&c.EphemeralMB, p.EphemeralMB)
	patchField(&c.InstanceConcurrency, p.InstanceConcurrency)
	patchField(&c.Egress, p.Egress)
	patchField(&c.Isolation, p.Isolation)
	patchField(&c.TracingMode, p.TracingMode)
	patchField(&c.SnapStart, p.SnapStart)
	patchField(&c.DeadLetter, p.DeadLetter)
	if p.Environment != nil {
		c.Environment = maps.Clone(*p.Environment)
	}
	if p.Logging != nil {
		c.Logging = p.Logging.WithDefaults(name)
	}
	return c
}

func patchField[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
