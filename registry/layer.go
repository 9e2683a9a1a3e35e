package registry

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"slices"

	"hearth/engine"
	"hearth/faas"
	"hearth/internal/uuid"
)

// PublishLayerInput is a new version of a layer. Zip is the archive's bytes.
type PublishLayerInput struct {
	Layer         faas.LayerID
	Description   string
	License       string
	Runtimes      []string
	Architectures []string
	Zip           []byte
}

// PublishLayer stores an archive as the next version of a layer, which it begins
// where there is none. A number is never given twice.
func (r *Registry) PublishLayer(ctx context.Context, in PublishLayerInput) (_ *faas.LayerVersion, err error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	v := faas.LayerVersion{
		Layer: in.Layer, Description: in.Description, License: in.License,
		Runtimes: slices.Clone(in.Runtimes), Architectures: slices.Clone(in.Architectures),
	}
	if err := v.Validate(r.limits); err != nil {
		return nil, err
	}
	code, releaseCode, err := r.ingest(ctx, in.Zip)
	if err != nil {
		return nil, err
	}
	defer func() { releaseCode(errors.Is(err, errUnknown)) }()
	if v.Contents, err = r.packages.Inspect(ctx, code); err != nil {
		return nil, engineError("inspect layer", err)
	}
	releaseSize, err := r.claim(layerScope(in.Layer), code.Size)
	if err != nil {
		return nil, err
	}
	defer releaseSize()
	v.Code, v.Created = code, r.clock().UTC().Round(0)
	return r.commitLayer(ctx, v)
}

// commitLayer gives a version its number and writes it. A number that was given and
// not used, because of a crash between the two, stays unused.
func (r *Registry) commitLayer(ctx context.Context, v faas.LayerVersion) (*faas.LayerVersion, error) {
	ctx, done, err := r.layerTurn(ctx, v.Layer)
	if err != nil {
		return nil, err
	}
	defer done()
	for range changeAttempts {
		err := r.takeLayerNumber(ctx, &v)
		if err == nil {
			err = r.writeLayer(ctx, &v, 0)
		}
		if err == nil {
			return &v, nil
		}
		if !errors.Is(err, errChanged) {
			return nil, engineError("write layer", err)
		}
		if err := r.refreshLayer(ctx, layerCounterKey(v.Layer)); err != nil {
			return nil, err
		}
	}
	return nil, engineError("publish layer", errChanged)
}

// layerTurn is turn for a layer.
func (r *Registry) layerTurn(ctx context.Context, id faas.LayerID) (context.Context, func(), error) {
	release, err := take(ctx, r.turns[maphash.Comparable(r.table.seed, id)%turnCount])
	return begin(ctx, release, err)
}

func (r *Registry) takeLayerNumber(ctx context.Context, v *faas.LayerVersion) error {
	before, last := r.table.layerCounter(v.Layer)
	value, err := json.Marshal(layerCounter{Format: recordFormat, Last: last + 1, By: uuid.New()})
	if err != nil {
		return internal("write layer", err)
	}
	revision, err := r.write(ctx, layerCounterKey(v.Layer), value, before)
	if err != nil {
		return err
	}
	v.Number = last + 1
	r.table.putLayerCounter(v.Layer, revision, v.Number)
	return nil
}

// writeLayer writes a version over the revision last (0: there is none), and applies it.
func (r *Registry) writeLayer(ctx context.Context, v *faas.LayerVersion, last uint64) error {
	value, err := encodeLayer(v)
	if err != nil {
		return err
	}
	revision, err := r.write(ctx, layerVersionKey(v.Layer, v.Number), value, last)
	if err != nil {
		return err
	}
	r.dropUnused(r.table.putLayer(v.Layer, v.Number, revision, v))
	return nil
}

// refreshLayer reads a key that another node changed, where the watch has not told
// us yet.
func (r *Registry) refreshLayer(ctx context.Context, key string) error {
	e, err := r.meta.Get(ctx, key)
	c := engine.Change{Entry: e}
	if errors.Is(err, engine.ErrNotFound) {
		c, err = engine.Change{Entry: engine.Entry{Key: key, Revision: r.table.layerRevisions()[key] + 1}, Deleted: true}, nil
	}
	if err != nil {
		return engineError("read layer", err)
	}
	if err := r.applyLayer(c); err != nil {
		return internal("read layer", err)
	}
	return nil
}

// Layer returns a version of a layer. The error is faas.CodeNotFound and wraps
// faas.ErrNoLayer. The version is shared: read it only.
func (r *Registry) Layer(_ context.Context, id faas.LayerID, number int64) (*faas.LayerVersion, error) {
	v, _ := r.table.layer(id, number)
	if v == nil {
		return nil, noLayer(id, number)
	}
	return v, nil
}

func noLayer(id faas.LayerID, number int64) error {
	arn := faas.LayerVersionARN(id, number)
	return &faas.Error{Code: faas.CodeNotFound, Subject: arn, Message: "Layer version " + arn + " does not exist.", Cause: faas.ErrNoLayer}
}

// OpenLayer returns the zip of a version as it was uploaded.
func (r *Registry) OpenLayer(ctx context.Context, id faas.LayerID, number int64) ([]byte, error) {
	v, err := r.Layer(ctx, id, number)
	if err != nil {
		return nil, err
	}
	zip, err := r.packages.Read(ctx, v.Code)
	if err != nil {
		return nil, engineError("read layer", err)
	}
	return zip, nil
}

// DeleteLayer deletes a version; one that is not there is no error. Functions that
// use it go on to.
func (r *Registry) DeleteLayer(ctx context.Context, id faas.LayerID, number int64) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	err = r.changeLayer(ctx, id, number, func(ctx context.Context, v *faas.LayerVersion, last uint64) error {
		revision, err := r.remove(ctx, layerVersionKey(id, number), last)
		if err == nil {
			r.dropUnused(r.table.putLayer(id, number, revision, nil))
		}
		return err
	})
	if errors.Is(err, faas.ErrNoLayer) {
		return nil
	}
	return err
}

// changeLayer calls write with a version that exists and its key's revision, again
// for as long as another node is faster.
func (r *Registry) changeLayer(ctx context.Context, id faas.LayerID, number int64, write func(context.Context, *faas.LayerVersion, uint64) error) error {
	ctx, done, err := r.layerTurn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	for range changeAttempts {
		v, revision := r.table.layer(id, number)
		if v == nil {
			return noLayer(id, number)
		}
		if err := write(ctx, v, revision); err == nil || !errors.Is(err, errChanged) {
			if err != nil {
				err = engineError("write layer", err)
			}
			return err
		}
		if err := r.refreshLayer(ctx, layerVersionKey(id, number)); err != nil {
			return err
		}
	}
	return engineError("change layer", errChanged)
}

// LayerFilter finds layers and versions by what they say they work with; "" asks
// for nothing.
type LayerFilter struct{ Runtime, Architecture string }

// ListLayers returns a page of the newest versions, that the filter lets through, of
// the scope's layers, sorted by name. Namespaces do not matter.
func (r *Registry) ListLayers(_ context.Context, scope faas.Scope, f LayerFilter, marker string, max int) (Page[*faas.LayerVersion], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.LayerVersion]{}, err
	}
	page := newPage[*faas.LayerVersion](max)
	for _, name := range r.table.layerNames(scope) {
		if name < from.name {
			continue
		}
		versions := r.table.layerVersions(faas.LayerID{Account: scope.Account, Region: scope.Region, Name: name})
		at := slices.IndexFunc(versions, func(v *faas.LayerVersion) bool { return v.Suits(f.Runtime, f.Architecture) })
		if at >= 0 && !page.add(versions[at], position{name: name}) {
			break
		}
	}
	return page.Page, nil
}

// ListLayerVersions returns a page of a layer's versions that the filter lets
// through, the newest first; none where there is no such layer.
func (r *Registry) ListLayerVersions(_ context.Context, id faas.LayerID, f LayerFilter, marker string, max int) (Page[*faas.LayerVersion], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.LayerVersion]{}, err
	}
	page := newPage[*faas.LayerVersion](max)
	for _, v := range r.table.layerVersions(id) {
		if from.number > 0 && v.Number > from.number || !v.Suits(f.Runtime, f.Architecture) {
			continue
		}
		if !page.add(v, position{id.Name, v.Number}) {
			break
		}
	}
	return page.Page, nil
}
