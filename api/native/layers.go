package native

import (
	"context"
	"net/http"

	"hearth/faas"
	"hearth/registry"
)

// Layers are the layers of the control plane.
type Layers interface {
	PublishLayer(ctx context.Context, in registry.PublishLayerInput) (*faas.LayerVersion, error)
	Layer(ctx context.Context, id faas.LayerID, number int64) (*faas.LayerVersion, error)
	DeleteLayer(ctx context.Context, id faas.LayerID, number int64) error
	ListLayers(ctx context.Context, scope faas.Scope, f registry.LayerFilter, marker string, max int) (registry.Page[*faas.LayerVersion], error)
	ListLayerVersions(ctx context.Context, id faas.LayerID, f registry.LayerFilter, marker string, max int) (registry.Page[*faas.LayerVersion], error)
}

// LayerRequest publishes a version of a layer.
type LayerRequest struct {
	Zip           []byte   `json:"zip"` // base64
	Description   string   `json:"description,omitempty"`
	License       string   `json:"license,omitempty"`
	Runtimes      []string `json:"runtimes,omitempty"`      // compatible ones
	Architectures []string `json:"architectures,omitempty"` // compatible ones
}

// Layer is a version of a layer.
type Layer struct {
	Name string `json:"name"`
	ARN  string `json:"arn"`
	faas.LayerVersion
}

func layerOf(v *faas.LayerVersion) Layer {
	return Layer{Name: v.Layer.Name, ARN: v.ARN(), LayerVersion: *v}
}

func (a *API) routeLayers() {
	a.route("GET /hearth/v1/layers", a.listLayers)
	a.route("GET /hearth/v1/layers/{name}", a.describeLayer)
	a.route("POST /hearth/v1/layers/{name}", a.publishLayer)
	a.route("DELETE /hearth/v1/layers/{name}/versions/{number}", a.deleteLayer)
}

func (a *API) layer(r *http.Request) faas.LayerID {
	scope := a.scope(r)
	return faas.LayerID{Account: scope.Account, Region: scope.Region, Name: r.PathValue("name")}
}

func (a *API) publishLayer(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxDeploy)
	if err != nil {
		return err
	}
	var req LayerRequest
	if err := decodeObject(body, "a layer", &req); err != nil {
		return err
	}
	v, err := a.Layers.PublishLayer(r.Context(), registry.PublishLayerInput{
		Layer: a.layer(r), Zip: req.Zip, Description: req.Description, License: req.License,
		Runtimes: req.Runtimes, Architectures: req.Architectures,
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, layerOf(v))
	return nil
}

// listLayers answers with the newest version of every layer.
func (a *API) listLayers(w http.ResponseWriter, r *http.Request) error {
	return a.writeLayers(w, false, func(marker string) (registry.Page[*faas.LayerVersion], error) {
		return a.Layers.ListLayers(r.Context(), a.scope(r), registry.LayerFilter{}, marker, 0)
	})
}

// describeLayer answers with all versions of a layer, the newest first.
func (a *API) describeLayer(w http.ResponseWriter, r *http.Request) error {
	return a.writeLayers(w, true, func(marker string) (registry.Page[*faas.LayerVersion], error) {
		return a.Layers.ListLayerVersions(r.Context(), a.layer(r), registry.LayerFilter{}, marker, 0)
	})
}

func (a *API) writeLayers(w http.ResponseWriter, some bool, page func(marker string) (registry.Page[*faas.LayerVersion], error)) error {
	versions, err := every(page)
	if err != nil {
		return err
	}
	if some && len(versions) == 0 {
		return faas.Errorf(faas.CodeNotFound, "layer", "there is no version of that layer")
	}
	out := []Layer{}
	for _, v := range versions {
		out = append(out, layerOf(v))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *API) deleteLayer(w http.ResponseWriter, r *http.Request) error {
	number, ok := faas.ParseVersionNumber(r.PathValue("number"))
	if !ok {
		return faas.Errorf(faas.CodeInvalid, "number", "%q is no version's number", r.PathValue("number"))
	}
	id := a.layer(r)
	if _, err := a.Layers.Layer(r.Context(), id, number); err != nil {
		return err
	}
	return noContent(w, a.Layers.DeleteLayer(r.Context(), id, number))
}

// layerARNs are the layers that a deployment names: ARNs of versions, name:version,
// or a name for its newest version.
func (a *API) layerARNs(ctx context.Context, scope faas.Scope, names []string) ([]string, error) {
	arns := []string{}
	for _, name := range names {
		id, number, ok := faas.ParseLayerRef(name, scope)
		if !ok {
			return nil, faas.Errorf(faas.CodeInvalid, "layers", "%q is no layer: say a name, name:version or an ARN", name)
		}
		if number == 0 {
			page, err := a.Layers.ListLayerVersions(ctx, id, registry.LayerFilter{}, "", 1)
			if err != nil {
				return nil, err
			}
			if len(page.Items) == 0 {
				return nil, faas.Errorf(faas.CodeInvalid, "layers", "there is no layer %s: 'hearth layers publish' makes one", id.Name)
			}
			number = page.Items[0].Number
		}
		arns = append(arns, faas.LayerVersionARN(id, number))
	}
	return arns, nil
}
