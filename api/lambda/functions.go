package lambda

import (
	"encoding/json"
	"fmt"

	"hearth/faas"
	"hearth/registry"
)

const (
	packageZip = "Zip"
	// maxListItems is the largest page, whatever MaxItems asks for.
	maxListItems = 50
)

// endpoints lists the operations that are served; Invoke has its own way.
func endpoints() map[string]endpoint {
	return map[string]endpoint{
		"CreateFunction":              typed((*Handler).createFunction),
		"GetFunction":                 typed((*Handler).getFunction),
		"GetFunctionConfiguration":    typed((*Handler).getFunctionConfiguration),
		"UpdateFunctionCode":          typed((*Handler).updateFunctionCode),
		"UpdateFunctionConfiguration": typed((*Handler).updateFunctionConfiguration),
		"DeleteFunction":              typed((*Handler).deleteFunction),
		"ListFunctions":               typed((*Handler).listFunctions),
		"PublishVersion":              typed((*Handler).publishVersion),
		"ListVersionsByFunction":      typed((*Handler).listVersions),
		"CreateAlias":                 typed((*Handler).createAlias),
		"GetAlias":                    typed((*Handler).getAlias),
		"UpdateAlias":                 typed((*Handler).updateAlias),
		"DeleteAlias":                 typed((*Handler).deleteAlias),
		"ListAliases":                 typed((*Handler).listAliases),
		"TagResource":                 typed((*Handler).tagResource),
		"UntagResource":               typed((*Handler).untagResource),
		"ListTags":                    typed((*Handler).listTags),
	}
}

// codeIn is where a deployment package comes from.
type codeIn struct {
	ZipFile             []byte
	ImageUri            *string
	S3Bucket            *string
	S3Key               *string
	S3ObjectStorageMode *string
	S3ObjectVersion     *string
	SourceKMSKeyArn     *string
}

// codeOf returns the bytes of a package, or why there are none. Release gives back
// the place that a large one took, and is never nil.
func (h *Handler) codeOf(c *call, in *codeIn) (zip []byte, release func(), err error) {
	release = func() {}
	stored := value(in.S3Bucket) != "" || value(in.S3Key) != "" || value(in.S3ObjectVersion) != ""
	switch {
	case value(in.ImageUri) != "":
		err = unsupportedParameter("ImageUri", "Upload a zip archive.")
	case value(in.SourceKMSKeyArn) != "":
		err = unsupportedParameter("SourceKMSKeyArn", "Leave it out.")
	case value(in.S3ObjectStorageMode) == "REFERENCE":
		err = unsupportedParameter("S3ObjectStorageMode REFERENCE", "Leave it out: packages are copied.")
	case stored && in.ZipFile != nil:
		err = parameterError("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case stored:
		return h.storedCode(c, in)
	case len(in.ZipFile) == 0:
		err = parameterError("Please provide a source for function code.")
	case len(in.ZipFile) >= maxCodeZipped:
		err = &apiError{wire: wireTooLarge, message: fmt.Sprintf("Zipped size must be smaller than %d bytes", maxCodeZipped)}
	}
	return in.ZipFile, release, err
}

// storedCode reads a package from the configured object store.
func (h *Handler) storedCode(c *call, in *codeIn) (zip []byte, release func(), err error) {
	switch {
	case value(in.S3Bucket) == "" || value(in.S3Key) == "":
		return nil, func() {}, parameterError("Please provide a source for function code. S3Bucket and S3Key are needed together.")
	case h.objects == nil:
		return nil, func() {}, parameterError("S3Bucket is not supported by this server: no object store is configured. Send the zip archive itself, in ZipFile, or start the server with --s3-endpoint.")
	}
	if release, err = h.acquireUpload(c); err != nil {
		return nil, release, err
	}
	zip, err = h.objects.Get(c.ctx(), *in.S3Bucket, *in.S3Key, value(in.S3ObjectVersion), maxCodeUnzipped)
	return zip, release, err
}

type createFunctionInput struct {
	settings
	FunctionName         *string
	Architectures        []string
	Code                 *codeIn
	PackageType          *string
	Publish              *bool
	Tags                 map[string]string
	CodeSigningConfigArn json.RawMessage
	TenancyConfig        json.RawMessage
	PublishTo            json.RawMessage
}

func (in *createFunctionInput) refuse() error {
	switch {
	case value(in.PackageType) == "Image":
		return unsupportedParameter("PackageType Image", "Upload a zip archive.")
	case !emptyJSON(in.CodeSigningConfigArn):
		return unsupportedParameter("CodeSigningConfigArn", "Leave it out.")
	case !emptyJSON(in.TenancyConfig):
		return unsupportedParameter("TenancyConfig", "Leave it out.")
	case !emptyJSON(in.PublishTo):
		return unsupportedParameter("PublishTo", "Use Publish.")
	}
	return in.settings.refuse()
}

func (h *Handler) createFunction(c *call, in *createFunctionInput) (any, error) {
	if err := c.authorizeCreate(in.FunctionName); err != nil {
		return nil, err
	}
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if err := in.refuse(); err != nil {
		return nil, err
	}
	zip, release, err := h.codeOf(c, in.Code)
	defer release()
	if err != nil {
		return nil, err
	}
	if value(in.Runtime) == "" || value(in.Handler) == "" {
		return nil, parameterError("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	config := in.config()
	if err := checkSnapStart(config.SnapStart, config.Runtime); err != nil {
		return nil, err
	}
	config.Architectures = in.Architectures
	version, err := h.registry.Create(c.ctx(), registry.CreateInput{
		Function: id, Config: config, Zip: zip, Tags: in.Tags, Layers: in.Layers, Publish: value(in.Publish),
	})
	if err != nil {
		return nil, err
	}
	return describeVersion(version, ""), nil
}

type getFunctionInput struct{ FunctionName, Qualifier *string }

// functionOutput is the model's GetFunctionResponse.
type functionOutput struct {
	Configuration *functionConfiguration
	Code          codeOut
	Tags          map[string]string `json:",omitempty"`
	Concurrency   *concurrency      `json:",omitempty"`
}

type codeOut struct{ RepositoryType, Location string }

func (h *Handler) getFunction(c *call, in *getFunctionInput) (any, error) {
	f, qualifier, err := h.lookUp(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &functionOutput{
		Configuration: describeVersion(f.Version, qualifier),
		Code:          codeOut{RepositoryType: "S3", Location: h.link(c.r, f.Version)},
		Tags:          f.Tags,
	}
	reserved, err := h.reserved(c, f.ID)
	if err != nil {
		return nil, err
	}
	if reserved != nil {
		out.Concurrency = &concurrency{reserved}
	}
	return out, nil
}

func (h *Handler) getFunctionConfiguration(c *call, in *getFunctionInput) (any, error) {
	f, qualifier, err := h.lookUp(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return describeVersion(f.Version, qualifier), nil
}

// lookUp finds the version that a name and a qualifier mean.
func (h *Handler) lookUp(c *call, name, qualifier *string) (*registry.Function, string, error) {
	id, q, err := target(c.scope, *name, qualifier)
	if err != nil {
		return nil, "", err
	}
	f, err := h.registry.Get(c.ctx(), id, q)
	return f, q, err
}

type updateFunctionCodeInput struct {
	codeIn
	FunctionName  *string
	Architectures []string
	DryRun        *bool
	Publish       *bool
	RevisionId    *string
	PublishTo     json.RawMessage
}

func (h *Handler) updateFunctionCode(c *call, in *updateFunctionCodeInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if !emptyJSON(in.PublishTo) {
		return nil, unsupportedParameter("PublishTo", "Use Publish.")
	}
	zip, release, err := h.codeOf(c, &in.codeIn)
	defer release()
	if err != nil {
		return nil, err
	}
	version, err := h.registry.UpdateCode(c.ctx(), registry.UpdateCodeInput{
		Function: id, Zip: zip, Architectures: in.Architectures,
		Publish: value(in.Publish), DryRun: value(in.DryRun), RevisionID: value(in.RevisionId),
	})
	if err != nil {
		return nil, err
	}
	qualifier := ""
	if value(in.Publish) && version.ID.Number != faas.Latest {
		qualifier = version.ID.Number
	}
	return describeVersion(version, qualifier), nil
}

type updateFunctionConfigurationInput struct {
	settings
	FunctionName *string
	RevisionId   *string
}

func (h *Handler) updateFunctionConfiguration(c *call, in *updateFunctionConfigurationInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if err := in.refuse(); err != nil {
		return nil, err
	}
	patch, err := h.patch(c, id, in)
	if err != nil {
		return nil, err
	}
	version, err := h.registry.UpdateConfig(c.ctx(), id, patch, value(in.RevisionId))
	if err != nil {
		return nil, err
	}
	return describeVersion(version, ""), nil
}

func (h *Handler) patch(c *call, id faas.FunctionID, in *updateFunctionConfigurationInput) (registry.ConfigPatch, error) {
	patch := registry.ConfigPatch{
		Runtime: in.Runtime, Handler: in.Handler, Role: in.Role, Description: in.Description,
		MemoryMB: in.MemorySize, TimeoutSeconds: in.Timeout, SnapStart: in.snapStart(),
	}
	f, err := h.registry.Get(c.ctx(), id, "")
	if err != nil {
		return patch, err
	}
	old := f.Version.Config
	if err := checkSnapStart(or(patch.SnapStart, old.SnapStart), or(in.Runtime, old.Runtime)); err != nil {
		return patch, err
	}
	if in.DeadLetterConfig != nil {
		target := faas.Destination(value(in.DeadLetterConfig.TargetArn))
		patch.DeadLetter = &target
	}
	if in.EphemeralStorage != nil {
		patch.EphemeralMB = in.EphemeralStorage.Size
	}
	if in.TracingConfig != nil {
		patch.TracingMode = in.TracingConfig.Mode
	}
	if in.Layers != nil {
		patch.Layers = &in.Layers
	}
	if environment := in.environment(); environment != nil {
		patch.Environment = &environment
	}
	if in.LoggingConfig != nil {
		// Lambda changes the fields that are sent; the port takes the whole.
		logging := in.LoggingConfig.over(old.Logging)
		patch.Logging = &logging
	}
	return patch, nil
}

func (h *Handler) deleteFunction(c *call, in *getFunctionInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if qualifier == faas.Latest {
		return nil, parameterError("$LATEST version cannot be deleted without deleting the function.")
	}
	if isAlias(qualifier) {
		return nil, parameterError("Qualifier must be a version's number to delete; delete the alias '" + qualifier + "' with DeleteAlias.")
	}
	return nil, h.registry.Delete(c.ctx(), id, qualifier)
}

type listFunctionsInput struct {
	FunctionVersion *string
	Marker          *string
	MasterRegion    *string
	MaxItems        *int
}

type listFunctionsOutput struct {
	Functions  []*functionConfiguration
	NextMarker string `json:",omitempty"`
}

func (h *Handler) listFunctions(c *call, in *listFunctionsInput) (any, error) {
	all := value(in.FunctionVersion) == "ALL"
	page, err := h.registry.List(c.ctx(), c.scope, all, value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listFunctionsOutput{Functions: make([]*functionConfiguration, 0, len(page.Items)), NextMarker: page.Next}
	for _, v := range page.Items {
		qualifier := ""
		if all {
			qualifier = v.ID.Number
		}
		out.Functions = append(out.Functions, summarizeVersion(v, qualifier))
	}
	return out, nil
}

func pageSize(asked *int) int {
	if asked == nil {
		return maxListItems
	}
	return min(*asked, maxListItems)
}
