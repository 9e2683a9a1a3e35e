package lambda

import (
	"crypto/sha256"
	"encoding/hex"

	"hearth/faas"
	"hearth/registry"
)

// runtimeEndpoints lists the operations on the updates of a function's runtime.
func runtimeEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"GetRuntimeManagementConfig": typed((*Handler).getRuntimeManagement),
		"PutRuntimeManagementConfig": typed((*Handler).putRuntimeManagement),
	}
}

// runtimeManual is the setting that pins a runtime to one version.
const runtimeManual = "Manual"

type putRuntimeManagementInput struct {
	FunctionName, Qualifier            *string
	UpdateRuntimeOn, RuntimeVersionArn *string
}

// runtimeManagement is the model's Get- and PutRuntimeManagementConfigResponse.
type runtimeManagement struct {
	UpdateRuntimeOn   string
	RuntimeVersionArn string `json:",omitempty"`
	FunctionArn       string
}

func describeRuntimeManagement(set registry.RuntimeUpdates, of *faas.Version) *runtimeManagement {
	return &runtimeManagement{UpdateRuntimeOn: set.On, RuntimeVersionArn: set.Pinned, FunctionArn: faas.FunctionARN(of.ID.Function, of.ID.Number)}
}

// putRuntimeManagement can pin a runtime to the machine's own version only: there
// is no other.
func (h *Handler) putRuntimeManagement(c *call, in *putRuntimeManagementInput) (any, error) {
	f, qualifier, err := h.lookUp(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	set := registry.RuntimeUpdates{On: *in.UpdateRuntimeOn, Pinned: value(in.RuntimeVersionArn)}
	switch this := runtimeVersionARN(f.Version); {
	case set.On == runtimeManual && set.Pinned == "":
		return nil, parameterError("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
	case set.On != runtimeManual && set.Pinned != "":
		return nil, parameterError("RuntimeVersionArn can only be set when UpdateRuntimeOn is Manual.")
	case set.Pinned != "" && set.Pinned != this:
		return nil, parameterError("The runtime version " + set.Pinned + " is not the one of this machine, which is " + this + ".")
	}
	of, err := h.registry.PutRuntimeUpdates(c.ctx(), f.ID, qualifier, set)
	if err != nil {
		return nil, err
	}
	return describeRuntimeManagement(set, of), nil
}

func (h *Handler) getRuntimeManagement(c *call, in *getFunctionInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	set, of, err := h.registry.RuntimeUpdates(c.ctx(), id, qualifier)
	if err != nil {
		return nil, err
	}
	return describeRuntimeManagement(set, of), nil
}

// runtimeVersionARN names the build of a version's runtime. There is one of each:
// the machine's.
func runtimeVersionARN(v *faas.Version) string {
	build := sha256.Sum256([]byte(v.Config.Runtime))
	return "arn:aws:lambda:" + v.ID.Function.Region + "::runtime:" + hex.EncodeToString(build[:])
}
