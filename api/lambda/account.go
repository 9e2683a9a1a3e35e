package lambda

import (
	"hearth/faas"
)

// Limits that GetAccountSettings shows; the code and the registry enforce them.
const (
	maxCodeStorage  = 75 << 30
	maxCodeUnzipped = 250 << 20
	maxCodeZipped   = 50 << 20
)

type tagResourceInput struct {
	Resource *string
	Tags     map[string]string
}

func (h *Handler) tagResource(c *call, in *tagResourceInput) (any, error) {
	id, err := taggable(c, *in.Resource)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, parameterError("Tags must hold at least one tag.")
	}
	return nil, h.registry.Tag(c.ctx(), id, in.Tags)
}

type untagResourceInput struct {
	Resource *string
	TagKeys  []string
}

func (h *Handler) untagResource(c *call, in *untagResourceInput) (any, error) {
	id, err := taggable(c, *in.Resource)
	if err != nil {
		return nil, err
	}
	return nil, h.registry.Untag(c.ctx(), id, in.TagKeys)
}

type listTagsInput struct{ Resource *string }

type listTagsOutput struct{ Tags map[string]string }

func (h *Handler) listTags(c *call, in *listTagsInput) (any, error) {
	id, err := taggable(c, *in.Resource)
	if err != nil {
		return nil, err
	}
	f, err := h.registry.Get(c.ctx(), id, "")
	if err != nil {
		return nil, err
	}
	tags := f.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return &listTagsOutput{Tags: tags}, nil
}

// taggable resolves the ARN of a thing that carries tags: functions only, and
// none of their versions or aliases.
func taggable(c *call, arn string) (faas.FunctionID, error) {
	if !isFunctionARN(arn) {
		return faas.FunctionID{}, unsupportedParameter("Tagging anything but functions", "Give a function's ARN as the resource.")
	}
	ref, err := parseName(c.scope, arn)
	if err == nil && ref.Qualifier != "" {
		err = parameterError("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return ref.ID, err
}

type accountSettingsInput struct{}

type accountSettings struct {
	AccountLimit accountLimit
	AccountUsage accountUsage
}

type accountLimit struct {
	TotalCodeSize                  int64
	CodeSizeUnzipped               int64
	CodeSizeZipped                 int64
	ConcurrentExecutions           int
	UnreservedConcurrentExecutions int
}

type accountUsage struct {
	TotalCodeSize int64
	FunctionCount int
}

func (h *Handler) getAccountSettings(c *call, _ *accountSettingsInput) (any, error) {
	usage, err := h.registry.Usage(c.ctx(), c.scope)
	if err != nil {
		return nil, err
	}
	limits, err := h.quotas.AccountLimits(c.ctx(), c.scope)
	if err != nil {
		return nil, err
	}
	_, unreserved, err := h.quotas.Unreserved(c.ctx(), c.scope)
	if err != nil {
		return nil, err
	}
	return &accountSettings{
		AccountLimit: accountLimit{
			TotalCodeSize: maxCodeStorage, CodeSizeUnzipped: maxCodeUnzipped, CodeSizeZipped: maxCodeZipped,
			ConcurrentExecutions: limits.Executions, UnreservedConcurrentExecutions: unreserved,
		},
		AccountUsage: accountUsage{TotalCodeSize: usage.CodeBytes, FunctionCount: usage.Functions},
	}, nil
}
