package registry

import (
	"context"
	"strings"

	"hearth/faas"
)

// useLayers finds the layer versions that a function asks for, in any account that
// lets it, and keeps their packages until release, of which the rules are ingest's.
func (r *Registry) useLayers(ctx context.Context, id faas.FunctionID, arns []string) (layers []faas.Layer, release func(keep bool), err error) {
	var pinned []string
	unpin := func(keep bool) {
		if keep {
			return
		}
		for _, digest := range pinned {
			r.shelf.unpin(digest)
			r.collection.add(digest)
		}
	}
	defer func() {
		if err != nil {
			unpin(false)
		}
	}()
	if len(arns) > faas.MaxLayers {
		return nil, nil, faas.Errorf(faas.CodeInvalid, "layers", "Cannot reference more than %d layers.", faas.MaxLayers)
	}
	seen := map[faas.LayerID]string{}
	for _, arn := range arns {
		v, err := r.findLayer(id.Scope, arn)
		if err != nil {
			return nil, nil, err
		}
		if other, twice := seen[v.Layer]; twice {
			return nil, nil, faas.Errorf(faas.CodeInvalid, "layers", "Two different versions of the same layer are not allowed to be "+
				"referenced in the same function. %s and %s are versions of the same layer.", other, arn)
		}
		seen[v.Layer] = arn
		if err := r.shelf.pin(ctx, v.Code.SHA256); err != nil {
			return nil, nil, engineError("keep layer", err)
		}
		pinned = append(pinned, v.Code.SHA256)
		if _, err := r.findLayer(id.Scope, arn); err != nil { // it may have gone before it was kept
			return nil, nil, err
		}
		layers = append(layers, v.Use())
	}
	return layers, unpin, nil
}

// findLayer returns the layer version that a function of the scope means by a text.
func (r *Registry) findLayer(scope faas.Scope, arn string) (*faas.LayerVersion, error) {
	id, number, ok := faas.ParseLayerRef(arn, scope)
	if !ok || number == 0 {
		return nil, faas.FieldErrors{{Field: "layers", Value: arn, Constraint: "must be the ARN of a layer version"}}.Err()
	}
	own := id.Account == scope.Account
	if own && id.Region != scope.Region {
		return nil, faas.Errorf(faas.CodeInvalid, "layers",
			"Layers are not in the same region as the function. Layers are expected to be in region %s.", scope.Region)
	}
	v, _ := r.table.layer(id, number)
	switch {
	case own && v == nil:
		return nil, faas.Errorf(faas.CodeInvalid, "layers", "Layer version %s does not exist.", faas.LayerVersionARN(id, number))
	case !own && (v == nil || id.Region != scope.Region || !v.Allows(scope.Account)):
		return nil, LayerDenied(scope.Account, id, number)
	}
	return v, nil
}

// LayerDenied is what an account is told that may not use a layer version, there or
// not.
func LayerDenied(account string, id faas.LayerID, number int64) error {
	arn := faas.LayerVersionARN(id, number)
	partition, _, _ := strings.Cut(strings.TrimPrefix(arn, "arn:"), ":")
	return faas.Errorf(faas.CodeDenied, arn, "User: arn:%s:iam::%s:root is not authorized to perform: lambda:GetLayerVersion on resource: %s "+
		"because no resource-based policy allows the lambda:GetLayerVersion action", partition, account, arn)
}

// checkUnpacked refuses a package that is too large together with its layers.
func (r *Registry) checkUnpacked(ctx context.Context, code faas.Code, layers []faas.Layer) error {
	if len(layers) == 0 {
		return nil
	}
	contents, err := r.packages.Inspect(ctx, code)
	if err != nil {
		return engineError("inspect package", err)
	}
	sum := contents.Bytes
	for _, l := range layers {
		sum += l.Contents.Bytes
	}
	if sum > faas.MaxFunctionUnpacked {
		return faas.Errorf(faas.CodeInvalid, "layers", "Function code combined with layers exceeds the maximum allowed size of %d bytes. "+
			"The actual size is %d bytes.", faas.MaxFunctionUnpacked, sum)
	}
	return nil
}

// layerCodes are the packages of layers, in their order.
func layerCodes(layers []faas.Layer) []faas.Code {
	codes := make([]faas.Code, 0, len(layers))
	for _, l := range layers {
		codes = append(codes, l.Code)
	}
	return codes
}
