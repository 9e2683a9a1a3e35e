package lambda

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
	t, err := h.taggable(c, *in.Resource)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, parameterError("Tags must hold at least one tag.")
	}
	return nil, t.tag(in.Tags)
}

type untagResourceInput struct {
	Resource *string
	TagKeys  []string
}

func (h *Handler) untagResource(c *call, in *untagResourceInput) (any, error) {
	t, err := h.taggable(c, *in.Resource)
	if err != nil {
		return nil, err
	}
	return nil, t.untag(in.TagKeys)
}

type listTagsInput struct{ Resource *string }

type listTagsOutput struct{ Tags map[string]string }

func (h *Handler) listTags(c *call, in *listTagsInput) (any, error) {
	t, err := h.taggable(c, *in.Resource)
	if err != nil {
		return nil, err
	}
	tags, err := t.tags()
	if err != nil {
		return nil, err
	}
	if tags == nil {
		tags = map[string]string{}
	}
	return &listTagsOutput{Tags: tags}, nil
}

// tagged is a resource that carries tags.
type tagged struct {
	tags  func() (map[string]string, error)
	tag   func(map[string]string) error
	untag func(keys []string) error
}

// taggable resolves the ARN of a thing that carries tags: a function, none of its
// versions or aliases, or an event source mapping.
func (h *Handler) taggable(c *call, arn string) (tagged, error) {
	ctx := c.ctx()
	if uuid, ok := mappingUUID(c.scope, arn); ok {
		return tagged{
			tags: func() (map[string]string, error) {
				m, err := h.mappings.GetMapping(ctx, c.scope, uuid)
				if err != nil {
					return nil, err
				}
				return m.Tags, nil
			},
			tag:   func(tags map[string]string) error { return h.mappings.TagMapping(ctx, c.scope, uuid, tags) },
			untag: func(keys []string) error { return h.mappings.UntagMapping(ctx, c.scope, uuid, keys) },
		}, nil
	}
	if !isFunctionARN(arn) {
		return tagged{}, unsupportedParameter("Tagging anything but functions and event source mappings", "Give the ARN of one as the resource.")
	}
	ref, err := parseName(c.scope, arn)
	if err == nil && ref.Qualifier != "" {
		err = parameterError("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return tagged{
		tags: func() (map[string]string, error) {
			f, err := h.registry.Get(ctx, ref.ID, "")
			if err != nil {
				return nil, err
			}
			return f.Tags, nil
		},
		tag:   func(tags map[string]string) error { return h.registry.Tag(ctx, ref.ID, tags) },
		untag: func(keys []string) error { return h.registry.Untag(ctx, ref.ID, keys) },
	}, err
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
		AccountUsage: accountUsage{TotalCodeSize: usage.CodeBytes + usage.LayerBytes, FunctionCount: usage.Functions},
	}, nil
}
