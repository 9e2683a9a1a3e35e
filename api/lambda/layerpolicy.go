package lambda

import (
	"encoding/json"

	"hearth/faas"
)

type layerPermissionInput struct {
	LayerName      *string
	VersionNumber  *int
	StatementId    *string
	Action         *string
	Principal      *string
	OrganizationId *string
	RevisionId     *string
}

type layerPermissionOutput struct{ Statement, RevisionId string }

// layerStatement is a statement of a layer version's policy as its document has it.
type layerStatement struct {
	Sid       string
	Effect    string
	Principal any
	Action    string
	Resource  string
	Condition any `json:",omitempty"`
}

func describeLayerStatement(v *faas.LayerVersion, s faas.LayerStatement) layerStatement {
	out := layerStatement{Sid: s.SID, Effect: "Allow", Principal: s.Principal, Action: "lambda:GetLayerVersion", Resource: v.ARN()}
	switch {
	case faas.ValidAccount(s.Principal):
		out.Principal = map[string]string{"AWS": "arn:aws:iam::" + s.Principal + ":root"}
	case s.Principal != "*":
		out.Principal = map[string]string{"AWS": s.Principal}
	}
	if s.Organization != "" {
		out.Condition = map[string]any{"StringEquals": map[string]string{"aws:PrincipalOrgID": s.Organization}}
	}
	return out
}

// document is a JSON text inside an answer.
func document(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

func (h *Handler) addLayerVersionPermission(c *call, in *layerPermissionInput) (any, error) {
	id, err := ownLayer(c, *in.LayerName)
	if err != nil {
		return nil, err
	}
	s := faas.LayerStatement{SID: *in.StatementId, Principal: *in.Principal, Organization: value(in.OrganizationId)}
	if s.Organization != "" && s.Principal != "*" {
		return nil, parameterError("OrganizationId can only be specified with the Principal *.")
	}
	v, err := h.layers.AddLayerPermission(c.ctx(), id, int64(*in.VersionNumber), s, value(in.RevisionId))
	if err != nil {
		return nil, err
	}
	statement, err := document(describeLayerStatement(v, s))
	if err != nil {
		return nil, err
	}
	return &layerPermissionOutput{Statement: statement, RevisionId: v.PolicyRevision}, nil
}

func (h *Handler) removeLayerVersionPermission(c *call, in *layerPermissionInput) (any, error) {
	id, err := ownLayer(c, *in.LayerName)
	if err != nil {
		return nil, err
	}
	return nil, h.layers.RemoveLayerPermission(c.ctx(), id, int64(*in.VersionNumber), *in.StatementId, value(in.RevisionId))
}

type layerPolicyOutput struct{ Policy, RevisionId string }

func (h *Handler) getLayerVersionPolicy(c *call, in *layerVersionInput) (any, error) {
	id, err := ownLayer(c, *in.LayerName)
	if err != nil {
		return nil, err
	}
	v, err := h.layers.Layer(c.ctx(), id, int64(*in.VersionNumber))
	if err != nil {
		return nil, err
	}
	if len(v.Policy) == 0 {
		return nil, &apiError{wire: wireNotFound, message: "No policy is associated with the given resource."}
	}
	statements := make([]layerStatement, 0, len(v.Policy))
	for _, s := range v.Policy {
		statements = append(statements, describeLayerStatement(v, s))
	}
	policy, err := document(struct {
		Version   string
		ID        string `json:"Id"`
		Statement []layerStatement
	}{"2012-10-17", "default", statements})
	if err != nil {
		return nil, err
	}
	return &layerPolicyOutput{Policy: policy, RevisionId: v.PolicyRevision}, nil
}
