package lambda

import (
	"context"
	"net/http"

	"hearth/faas"
	"hearth/registry"
)

// layerEndpoints lists the operations on layers.
func layerEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"PublishLayerVersion":          typed((*Handler).publishLayerVersion),
		"GetLayerVersion":              typed((*Handler).getLayerVersion),
		"GetLayerVersionByArn":         typed((*Handler).getLayerVersionByARN),
		"DeleteLayerVersion":           typed((*Handler).deleteLayerVersion),
		"ListLayers":                   typed((*Handler).listLayers),
		"ListLayerVersions":            typed((*Handler).listLayerVersions),
		"AddLayerVersionPermission":    typed((*Handler).addLayerVersionPermission),
		"RemoveLayerVersionPermission": typed((*Handler).removeLayerVersionPermission),
		"GetLayerVersionPolicy":        typed((*Handler).getLayerVersionPolicy),
	}
}

// layerVersionOut is the model's GetLayerVersionResponse and PublishLayerVersionResponse.
type layerVersionOut struct {
	Content                 layerContentOut
	LayerArn                string
	LayerVersionArn         string
	Description             string
	CreatedDate             string
	Version                 int64
	CompatibleRuntimes      []string `json:",omitempty"`
	LicenseInfo             string   `json:",omitempty"`
	CompatibleArchitectures []string `json:",omitempty"`
}

type layerContentOut struct {
	Location   string
	CodeSha256 string
	CodeSize   int64
}

// layerVersionItem is the model's LayerVersionsListItem.
type layerVersionItem struct {
	LayerVersionArn         string
	Version                 int64
	Description             string `json:",omitempty"`
	CreatedDate             string
	CompatibleRuntimes      []string `json:",omitempty"`
	LicenseInfo             string   `json:",omitempty"`
	CompatibleArchitectures []string `json:",omitempty"`
}

func (h *Handler) describeLayer(r *http.Request, v *faas.LayerVersion) *layerVersionOut {
	return &layerVersionOut{
		Content: layerContentOut{
			Location:   h.linkTo(r, linkClaim{Layer: &linkedLayer{v.Layer, v.Number}, SHA256: v.Code.SHA256}),
			CodeSha256: base64Digest(v.Code.SHA256), CodeSize: v.Code.Size,
		},
		LayerArn: faas.LayerARN(v.Layer), LayerVersionArn: v.ARN(), Description: v.Description,
		CreatedDate: v.Created.UTC().Format(timeFormat), Version: v.Number,
		CompatibleRuntimes: v.Runtimes, LicenseInfo: v.License, CompatibleArchitectures: v.Architectures,
	}
}

func layerItem(v *faas.LayerVersion) *layerVersionItem {
	return &layerVersionItem{
		LayerVersionArn: v.ARN(), Version: v.Number, Description: v.Description, CreatedDate: v.Created.UTC().Format(timeFormat),
		CompatibleRuntimes: v.Runtimes, LicenseInfo: v.License, CompatibleArchitectures: v.Architectures,
	}
}

// ownLayer resolves a layer's name or ARN for an operation on it that only its own
// account has.
func ownLayer(c *call, name string) (faas.LayerID, error) {
	id, _, _ := faas.ParseLayerRef(name, c.scope) // the pattern of the member holds
	if id.Account != c.scope.Account {
		return id, &apiError{wire: wireDenied, message: "User: arn:aws:iam::" + c.scope.Account +
			":root is not authorized to perform: lambda:" + c.op.name + " on resource: " + faas.LayerARN(id)}
	}
	if id.Region != c.scope.Region {
		return id, errNoLayer
	}
	return id, nil
}

// errNoLayer is what the operations that read a version say of one that is not there.
var errNoLayer = &apiError{wire: wireNotFound, message: "The resource you requested does not exist."}

func layerNumber(n *int) (int64, error) {
	if value(n) < 1 {
		return 0, parameterError("Layer Version Cannot be less than 1")
	}
	return int64(*n), nil
}

type publishLayerVersionInput struct {
	LayerName               *string
	Description             *string
	LicenseInfo             *string
	CompatibleRuntimes      []string
	CompatibleArchitectures []string
	Content                 *codeIn
}

func (h *Handler) publishLayerVersion(c *call, in *publishLayerVersionInput) (any, error) {
	id, err := ownLayer(c, *in.LayerName)
	if err != nil {
		return nil, err
	}
	zip, release, err := h.codeOf(c, in.Content)
	defer release()
	if err != nil {
		return nil, err
	}
	v, err := h.layers.PublishLayer(c.ctx(), registry.PublishLayerInput{
		Layer: id, Description: value(in.Description), License: value(in.LicenseInfo), Zip: zip,
		Runtimes: in.CompatibleRuntimes, Architectures: in.CompatibleArchitectures,
	})
	if err != nil {
		return nil, err
	}
	return h.describeLayer(c.r, v), nil
}

type layerVersionInput struct {
	LayerName     *string
	VersionNumber *int
}

func (h *Handler) getLayerVersion(c *call, in *layerVersionInput) (any, error) {
	number, err := layerNumber(in.VersionNumber)
	if err != nil {
		return nil, err
	}
	id, _, _ := faas.ParseLayerRef(*in.LayerName, c.scope)
	return h.showLayer(c, id, number)
}

func (h *Handler) getLayerVersionByARN(c *call, in *struct{ Arn *string }) (any, error) {
	id, number, _ := faas.ParseLayerRef(*in.Arn, c.scope)
	return h.showLayer(c, id, number)
}

// showLayer answers with a version that the caller's account may use.
func (h *Handler) showLayer(c *call, id faas.LayerID, number int64) (any, error) {
	v, err := h.usableLayer(c.ctx(), c.scope, id, number)
	if err != nil {
		return nil, err
	}
	return h.describeLayer(c.r, v), nil
}

func (h *Handler) usableLayer(ctx context.Context, scope faas.Scope, id faas.LayerID, number int64) (*faas.LayerVersion, error) {
	v, err := h.layers.Layer(ctx, id, number)
	switch {
	case id.Account != scope.Account && (err != nil || !v.Allows(scope.Account)):
		return nil, registry.LayerDenied(scope.Account, id, number)
	case err != nil || id.Region != scope.Region:
		return nil, errNoLayer
	}
	return v, nil
}

func (h *Handler) deleteLayerVersion(c *call, in *layerVersionInput) (any, error) {
	number, err := layerNumber(in.VersionNumber)
	if err != nil {
		return nil, err
	}
	id, err := ownLayer(c, *in.LayerName)
	if err != nil {
		return nil, err
	}
	return nil, h.layers.DeleteLayer(c.ctx(), id, number)
}

type listLayersInput struct {
	LayerName                                 *string // of ListLayerVersions
	CompatibleRuntime, CompatibleArchitecture *string
	Marker                                    *string
	MaxItems                                  *int
}

func (in *listLayersInput) filter() registry.LayerFilter {
	return registry.LayerFilter{Runtime: value(in.CompatibleRuntime), Architecture: value(in.CompatibleArchitecture)}
}

type listLayersOutput struct {
	Layers     []layerListItem
	NextMarker string `json:",omitempty"`
}

// layerListItem is the model's LayersListItem.
type layerListItem struct {
	LayerName             string
	LayerArn              string
	LatestMatchingVersion *layerVersionItem
}

func (h *Handler) listLayers(c *call, in *listLayersInput) (any, error) {
	page, err := h.layers.ListLayers(c.ctx(), c.scope, in.filter(), value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listLayersOutput{Layers: make([]layerListItem, 0, len(page.Items)), NextMarker: page.Next}
	for _, v := range page.Items {
		out.Layers = append(out.Layers, layerListItem{v.Layer.Name, faas.LayerARN(v.Layer), layerItem(v)})
	}
	return out, nil
}

type listLayerVersionsOutput struct {
	LayerVersions []*layerVersionItem
	NextMarker    string `json:",omitempty"`
}

func (h *Handler) listLayerVersions(c *call, in *listLayersInput) (any, error) {
	id, err := ownLayer(c, *in.LayerName)
	if err != nil {
		return nil, err
	}
	page, err := h.layers.ListLayerVersions(c.ctx(), id, in.filter(), value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listLayerVersionsOutput{LayerVersions: make([]*layerVersionItem, 0, len(page.Items)), NextMarker: page.Next}
	for _, v := range page.Items {
		out.LayerVersions = append(out.LayerVersions, layerItem(v))
	}
	return out, nil
}
