package lambda

import (
	"errors"
	"time"

	"hearth/faas"
)

// provisionedTimeFormat is how Lambda prints the time of a provisioned
// concurrency's last change: that of functions without the fraction.
const provisionedTimeFormat = "2006-01-02T15:04:05-0700"

type putProvisionedInput struct {
	FunctionName, Qualifier         *string
	ProvisionedConcurrentExecutions *int
}

// provisionedConfig is the model's ProvisionedConcurrencyConfigListItem, and the
// same without its ARN.
type provisionedConfig struct {
	FunctionArn                              string `json:",omitempty"`
	RequestedProvisionedConcurrentExecutions int
	AvailableProvisionedConcurrentExecutions int
	AllocatedProvisionedConcurrentExecutions int
	Status                                   string
	StatusReason                             string `json:",omitempty"`
	LastModified                             string
}

// putProvisioned answers as Lambda does, before anything was started.
func (h *Handler) putProvisioned(c *call, in *putProvisionedInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	p, err := h.quotas.PutProvisioned(c.ctx(), id, faas.Provisioned{
		Qualifier: qualifier, Amount: faas.Amount{Unit: faas.UnitExecutions, Value: *in.ProvisionedConcurrentExecutions},
	})
	if err != nil {
		return nil, wordAlias(wordFloor("ConcurrentExecutions", err), id, qualifier)
	}
	return &provisionedConfig{
		RequestedProvisionedConcurrentExecutions: *in.ProvisionedConcurrentExecutions,
		Status:                                   string(faas.ProvisionedInProgress), LastModified: provisionedTime(p.Modified),
	}, nil
}

type provisionedInput struct{ FunctionName, Qualifier *string }

func (h *Handler) getProvisioned(c *call, in *provisionedInput) (any, error) {
	id, qualifier, err := provisionedTarget(c.scope, in)
	if err != nil {
		return nil, err
	}
	p, err := h.quotas.GetProvisioned(c.ctx(), id, qualifier)
	if err != nil {
		return nil, wordAlias(err, id, qualifier)
	}
	return h.describeProvisioned(c, id, p)
}

// deleteProvisioned answers 204 for a version or alias that has none, as Lambda does.
func (h *Handler) deleteProvisioned(c *call, in *provisionedInput) (any, error) {
	id, qualifier, err := provisionedTarget(c.scope, in)
	if err != nil {
		return nil, err
	}
	err = h.quotas.DeleteProvisioned(c.ctx(), id, qualifier)
	if errors.Is(err, faas.ErrNoProvisioned) {
		return nil, nil
	}
	return nil, wordAlias(err, id, qualifier)
}

// wordAlias says of an alias that is not there what Lambda says in these operations.
func wordAlias(err error, id faas.FunctionID, qualifier string) error {
	if errors.Is(err, faas.ErrNoQualifier) && isAlias(qualifier) {
		return &apiError{wire: wireNotFound, message: "Cannot find alias arn: " + faas.FunctionARN(id, qualifier)}
	}
	return err
}

type listProvisionedInput struct {
	FunctionName *string
	Marker       *string
	MaxItems     *int
}

type listProvisionedOutput struct {
	ProvisionedConcurrencyConfigs []*provisionedConfig
	NextMarker                    string `json:",omitempty"`
}

func (h *Handler) listProvisioned(c *call, in *listProvisionedInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	page, err := h.quotas.ListProvisioned(c.ctx(), id, value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listProvisionedOutput{ProvisionedConcurrencyConfigs: make([]*provisionedConfig, 0, len(page.Items)), NextMarker: page.Next}
	for _, p := range page.Items {
		config, err := h.describeProvisioned(c, id, p)
		if errors.Is(err, faas.ErrNoQualifier) {
			continue // deleted meanwhile, and its configuration with it
		}
		if err != nil {
			return nil, err
		}
		config.FunctionArn = faas.FunctionARN(id, p.Qualifier)
		out.ProvisionedConcurrencyConfigs = append(out.ProvisionedConcurrencyConfigs, config)
	}
	return out, nil
}

// provisionedTarget resolves the version or alias of an operation on a provisioned
// concurrency that is there.
func provisionedTarget(scope faas.Scope, in *provisionedInput) (faas.FunctionID, string, error) {
	id, qualifier, err := target(scope, *in.FunctionName, in.Qualifier)
	if err == nil && (qualifier == faas.Latest || qualifier == "") {
		err = parameterError("The function resource provided must be an alias or a published version.")
	}
	return id, qualifier, err
}

// describeProvisioned shows a provisioned concurrency in executions, as Lambda
// counts it: what was asked for, where that was executions, and else those that
// the instances can hold.
func (h *Handler) describeProvisioned(c *call, id faas.FunctionID, p *faas.Provisioned) (*provisionedConfig, error) {
	f, err := h.registry.Get(c.ctx(), id, p.Qualifier)
	if err != nil {
		return nil, err
	}
	calls := max(f.Version.Config.InstanceConcurrency, 1)
	status := h.provisioning.Status(id, p.Qualifier)
	asked := status.Requested * calls
	if p.Amount.Unit == faas.UnitExecutions && len(p.Schedules) == 0 && p.Tracking == nil {
		asked = p.Amount.Value
	}
	return &provisionedConfig{
		RequestedProvisionedConcurrentExecutions: asked,
		AvailableProvisionedConcurrentExecutions: min(asked, status.Available*calls),
		AllocatedProvisionedConcurrentExecutions: min(asked, status.Allocated*calls),
		Status:                                   string(status.State), StatusReason: status.Reason,
		LastModified: provisionedTime(p.Modified),
	}, nil
}

func provisionedTime(t time.Time) string { return t.UTC().Format(provisionedTimeFormat) }
