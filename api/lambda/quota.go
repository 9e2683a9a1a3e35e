package lambda

import (
	"errors"
	"fmt"

	"hearth/faas"
)

// quotaEndpoints lists the operations on concurrency and on what bounds it.
func quotaEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"GetAccountSettings":                 typed((*Handler).getAccountSettings),
		"PutFunctionConcurrency":             typed((*Handler).putFunctionConcurrency),
		"GetFunctionConcurrency":             typed((*Handler).getFunctionConcurrency),
		"DeleteFunctionConcurrency":          typed((*Handler).deleteFunctionConcurrency),
		"PutProvisionedConcurrencyConfig":    typed((*Handler).putProvisioned),
		"GetProvisionedConcurrencyConfig":    typed((*Handler).getProvisioned),
		"DeleteProvisionedConcurrencyConfig": typed((*Handler).deleteProvisioned),
		"ListProvisionedConcurrencyConfigs":  typed((*Handler).listProvisioned),
		"GetFunctionRecursionConfig":         typed((*Handler).getRecursion),
		"PutFunctionRecursionConfig":         typed((*Handler).putRecursion),
		"GetFunctionScalingConfig":           typed((*Handler).getScaling),
		"PutFunctionScalingConfig":           typed((*Handler).putScaling),
	}
}

type putFunctionConcurrencyInput struct {
	FunctionName                 *string
	ReservedConcurrentExecutions *int
}

type functionNameInput struct{ FunctionName *string }

// concurrency is the model's Concurrency; nil is a function without a reservation.
type concurrency struct {
	ReservedConcurrentExecutions *int `json:",omitempty"`
}

func (h *Handler) putFunctionConcurrency(c *call, in *putFunctionConcurrencyInput) (any, error) {
	id, err := wholeFunction(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	reserved := *in.ReservedConcurrentExecutions
	err = h.quotas.PutReserved(c.ctx(), id, faas.Amount{Unit: faas.UnitExecutions, Value: reserved})
	if err != nil {
		return nil, wordFloor("ReservedConcurrentExecutions", err)
	}
	return &concurrency{&reserved}, nil
}

// wordFloor puts Lambda's sentence, which tools compare, before the domain's where
// something was refused because too few executions would stay unreserved.
func wordFloor(what string, err error) error {
	var e *faas.Error
	if !errors.As(err, &e) || e.Code != faas.CodeInvalid || e.Subject != "unreserved.executions" {
		return err
	}
	return parameterError(fmt.Sprintf("Specified %s for function decreases account's UnreservedConcurrentExecution "+
		"below its minimum value of [%d]. %s", what, faas.SharedExecutions, e.Message))
}

func (h *Handler) getFunctionConcurrency(c *call, in *functionNameInput) (any, error) {
	id, err := wholeFunction(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	reserved, err := h.reserved(c, id)
	if err != nil {
		return nil, err
	}
	return &concurrency{reserved}, nil
}

func (h *Handler) deleteFunctionConcurrency(c *call, in *functionNameInput) (any, error) {
	id, err := wholeFunction(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	return nil, h.quotas.DeleteReserved(c.ctx(), id)
}

// wholeFunction resolves a name for an operation that knows no qualifier at all.
func wholeFunction(scope faas.Scope, name string) (faas.FunctionID, error) {
	ref, err := parseName(scope, name)
	if err == nil && ref.Qualifier != "" {
		err = parameterError("This operation is permitted on Lambda functions only. Aliases and versions do not support " +
			"this operation. Please specify either a function name or an unqualified function ARN.")
	}
	return ref.ID, err
}

// reserved is the reservation of a function in executions, nil where there is none.
// One that was set in MB is shown as the executions of the instances that it holds,
// of the largest of the function's versions.
func (h *Handler) reserved(c *call, id faas.FunctionID) (*int, error) {
	quota, err := h.quotas.FunctionQuota(c.ctx(), id)
	if err != nil || quota.Reserved == nil {
		return nil, err
	}
	amount := quota.Reserved.Value
	if quota.Reserved.Unit != faas.UnitMemoryMB {
		return &amount, nil
	}
	memoryMB, calls := 1, 1
	for marker := ""; ; {
		page, err := h.registry.ListVersions(c.ctx(), id, marker, maxListItems)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Items {
			memoryMB = max(memoryMB, v.Config.MemoryMB)
			calls = max(calls, v.Config.InstanceConcurrency)
		}
		if marker = page.Next; marker == "" {
			break
		}
	}
	amount = amount / memoryMB * calls
	return &amount, nil
}

type recursionConfig struct{ RecursiveLoop string }

func (h *Handler) getRecursion(c *call, in *functionNameInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	loop, err := h.quotas.RecursionLoop(c.ctx(), id)
	if err != nil {
		return nil, err
	}
	return &recursionConfig{loop}, nil
}

type putRecursionInput struct{ FunctionName, RecursiveLoop *string }

func (h *Handler) putRecursion(c *call, in *putRecursionInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	if err := h.quotas.PutRecursionLoop(c.ctx(), id, *in.RecursiveLoop); err != nil {
		return nil, err
	}
	return &recursionConfig{*in.RecursiveLoop}, nil
}

type getScalingInput struct{ FunctionName, Qualifier *string }

type putScalingInput struct {
	FunctionName, Qualifier *string
	FunctionScalingConfig   *struct{ MinExecutionEnvironments, MaxExecutionEnvironments *int }
}

func (h *Handler) getScaling(c *call, in *getScalingInput) (any, error) {
	return nil, h.refuseScaling(c, in.FunctionName)
}

func (h *Handler) putScaling(c *call, in *putScalingInput) (any, error) {
	return nil, h.refuseScaling(c, in.FunctionName)
}

// refuseScaling answers what Lambda answers for a function without a capacity
// provider, which no function here has.
func (h *Handler) refuseScaling(c *call, name *string) error {
	if _, _, err := h.lookUp(c, name, nil); err != nil {
		return err
	}
	return &apiError{wire: wireDenied, message: "The function provided by the arn does not contain a capacity provider configuration. " +
		"PutProvisionedConcurrencyConfig keeps a minimum of instances, PutFunctionConcurrency or `hearth quota maximum` bounds them."}
}
