package lambda

import (
	"hearth/faas"
)

// policyEndpoints lists the operations on resource policies.
func policyEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"AddPermission":    typed((*Handler).addPermission),
		"RemovePermission": typed((*Handler).removePermission),
		"GetPolicy":        typed((*Handler).getPolicy),
	}
}

type addPermissionInput struct {
	FunctionName, Qualifier, RevisionId *string
	StatementId, Action, Principal      *string
	SourceArn, SourceAccount            *string
	PrincipalOrgID, EventSourceToken    *string
	FunctionUrlAuthType                 *string
	InvokedViaFunctionUrl               *bool
}

type addPermissionOutput struct{ Statement string }

func (h *Handler) addPermission(c *call, in *addPermissionInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	statement := faas.Statement{
		ID: *in.StatementId, Action: *in.Action, Principal: *in.Principal,
		SourceARN: value(in.SourceArn), SourceAccount: value(in.SourceAccount),
		Organization: value(in.PrincipalOrgID), EventToken: value(in.EventSourceToken),
		URLAuth: faas.URLAuth(value(in.FunctionUrlAuthType)), ViaURL: in.InvokedViaFunctionUrl,
	}
	if err := h.policies.AddPermission(c.ctx(), id, qualifier, statement, value(in.RevisionId)); err != nil {
		return nil, err
	}
	return &addPermissionOutput{Statement: statement.Document(faas.FunctionARN(id, qualifier))}, nil
}

type removePermissionInput struct{ FunctionName, StatementId, Qualifier, RevisionId *string }

func (h *Handler) removePermission(c *call, in *removePermissionInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return nil, h.policies.RemovePermission(c.ctx(), id, qualifier, *in.StatementId, value(in.RevisionId))
}

type getPolicyInput struct{ FunctionName, Qualifier *string }

type getPolicyOutput struct{ Policy, RevisionId string }

func (h *Handler) getPolicy(c *call, in *getPolicyInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	policy, err := h.policies.Policy(c.ctx(), id, qualifier)
	if err != nil {
		return nil, err
	}
	resource := faas.FunctionARN(id, policy.Qualifier)
	return &getPolicyOutput{Policy: faas.PolicyDocument(resource, policy.Statements), RevisionId: policy.RevisionID}, nil
}
