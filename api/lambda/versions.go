package lambda

import (
	"encoding/json"
	"errors"
	"regexp"

	"hearth/faas"
	"hearth/registry"
)

type publishVersionInput struct {
	FunctionName *string
	CodeSha256   *string
	Description  *string
	RevisionId   *string
	PublishTo    json.RawMessage
}

func (h *Handler) publishVersion(c *call, in *publishVersionInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if !emptyJSON(in.PublishTo) {
		return nil, unsupportedParameter("PublishTo", "Leave it out.")
	}
	publish := registry.PublishInput{Function: id, RevisionID: value(in.RevisionId)}
	if value(in.Description) != "" {
		publish.Description = in.Description
	}
	if sum := value(in.CodeSha256); sum != "" {
		digest, ok := hexDigest(sum)
		if !ok {
			return nil, parameterError("CodeSha256 must be the SHA-256 of the deployment package in base64, not '" + clip(sum) + "'.")
		}
		publish.CodeSHA256 = digest
	}
	version, err := h.registry.Publish(c.ctx(), publish)
	if err != nil {
		return nil, base64Digests(err)
	}
	return describeVersion(version, version.ID.Number), nil
}

var hexDigests = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// base64Digests writes the digests in an error about code the way they were sent.
func base64Digests(err error) error {
	var e *faas.Error
	if !errors.As(err, &e) || e.Subject != "codeSha256" {
		return err
	}
	worded := *e
	worded.Message = hexDigests.ReplaceAllStringFunc(e.Message, base64Digest)
	return &worded
}

type listVersionsInput struct {
	FunctionName *string
	Marker       *string
	MaxItems     *int
}

type listVersionsOutput struct {
	Versions   []*functionConfiguration
	NextMarker string `json:",omitempty"`
}

func (h *Handler) listVersions(c *call, in *listVersionsInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	page, err := h.registry.ListVersions(c.ctx(), id, value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listVersionsOutput{Versions: make([]*functionConfiguration, 0, len(page.Items)), NextMarker: page.Next}
	for _, v := range page.Items {
		out.Versions = append(out.Versions, summarizeVersion(v, v.ID.Number))
	}
	return out, nil
}

type routingIn struct{ AdditionalVersionWeights map[string]float64 }

type createAliasInput struct {
	FunctionName    *string
	Name            *string
	FunctionVersion *string
	Description     *string
	RoutingConfig   *routingIn
}

func (h *Handler) createAlias(c *call, in *createAliasInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	alias := faas.Alias{Function: id, Name: *in.Name, Version: *in.FunctionVersion, Description: value(in.Description)}
	if in.RoutingConfig != nil {
		alias.Weights = in.RoutingConfig.AdditionalVersionWeights
	}
	made, err := h.registry.CreateAlias(c.ctx(), alias)
	if err != nil {
		return nil, err
	}
	return describeAlias(made), nil
}

type aliasInput struct{ FunctionName, Name *string }

func (h *Handler) getAlias(c *call, in *aliasInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	alias, err := h.registry.GetAlias(c.ctx(), id, *in.Name)
	if err != nil {
		return nil, err
	}
	return describeAlias(alias), nil
}

type updateAliasInput struct {
	FunctionName    *string
	Name            *string
	FunctionVersion *string
	Description     *string
	RevisionId      *string
	RoutingConfig   *routingIn
}

func (h *Handler) updateAlias(c *call, in *updateAliasInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	patch := registry.AliasPatch{Version: in.FunctionVersion, Description: in.Description, RevisionID: value(in.RevisionId)}
	if in.RoutingConfig != nil {
		weights := in.RoutingConfig.AdditionalVersionWeights
		if weights == nil {
			weights = map[string]float64{}
		}
		patch.Weights = &weights
	}
	alias, err := h.registry.UpdateAlias(c.ctx(), id, *in.Name, patch)
	if err != nil {
		return nil, err
	}
	return describeAlias(alias), nil
}

// deleteAlias answers 204 for an alias that is not there, as Lambda does.
func (h *Handler) deleteAlias(c *call, in *aliasInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	err = h.registry.DeleteAlias(c.ctx(), id, *in.Name)
	if errors.Is(err, faas.ErrNoQualifier) {
		err = nil
	}
	return nil, err
}

type listAliasesInput struct {
	FunctionName    *string
	FunctionVersion *string
	Marker          *string
	MaxItems        *int
}

type listAliasesOutput struct {
	Aliases    []*aliasConfiguration
	NextMarker string `json:",omitempty"`
}

func (h *Handler) listAliases(c *call, in *listAliasesInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	page, err := h.registry.ListAliases(c.ctx(), id, value(in.FunctionVersion), value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listAliasesOutput{Aliases: make([]*aliasConfiguration, 0, len(page.Items)), NextMarker: page.Next}
	for _, a := range page.Items {
		out.Aliases = append(out.Aliases, describeAlias(a))
	}
	return out, nil
}
