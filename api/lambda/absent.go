package lambda

import "net/http"

// This server has no code-signing configurations, no capacity providers and no
// durable executions. What reads them finds none, what names one does not find it,
// and what would make one is refused by its name (see dispatch).

var wireNoCodeSigning = wire{status: http.StatusNotFound, name: "CodeSigningConfigNotFoundException", casing: casingCapital}

// absentEndpoints lists the operations on what there is none of.
func absentEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"GetFunctionCodeSigningConfig":     ofFunction(struct{}{}),
		"DeleteFunctionCodeSigningConfig":  ofFunction(nil),
		"PutFunctionCodeSigningConfig":     typed((*Handler).putFunctionCodeSigning),
		"ListCodeSigningConfigs":           checked(always(map[string][]struct{}{"CodeSigningConfigs": {}})),
		"GetCodeSigningConfig":             checked(noCodeSigning),
		"UpdateCodeSigningConfig":          checked(noCodeSigning),
		"DeleteCodeSigningConfig":          checked(noCodeSigning),
		"ListFunctionsByCodeSigningConfig": checked(noCodeSigning),

		"ListCapacityProviders":                  checked(always(map[string][]struct{}{"CapacityProviders": {}})),
		"GetCapacityProvider":                    checked(noCapacityProvider),
		"UpdateCapacityProvider":                 checked(noCapacityProvider),
		"DeleteCapacityProvider":                 checked(noCapacityProvider),
		"ListFunctionVersionsByCapacityProvider": checked(noCapacityProvider),

		"ListDurableExecutionsByFunction":       ofFunction(map[string][]struct{}{"DurableExecutions": {}}),
		"GetDurableExecution":                   checked(noDurableExecution),
		"GetDurableExecutionHistory":            checked(noDurableExecution),
		"GetDurableExecutionState":              checked(noDurableExecution),
		"CheckpointDurableExecution":            checked(noDurableExecution),
		"StopDurableExecution":                  checked(noDurableExecution),
		"SendDurableExecutionCallbackSuccess":   checked(noCallback),
		"SendDurableExecutionCallbackFailure":   checked(noCallback),
		"SendDurableExecutionCallbackHeartbeat": checked(noCallback),
	}
}

// always gives the same answer.
func always(v any) func(*Handler, *call) (any, error) {
	return func(*Handler, *call) (any, error) { return v, nil }
}

// ofFunction answers v for a function that is there.
func ofFunction(v any) endpoint {
	return checked(func(h *Handler, c *call) (any, error) {
		qualifier := c.r.URL.Query().Get("Qualifier")
		name := c.vars["FunctionName"]
		_, _, err := h.lookUp(c, &name, &qualifier)
		return v, err
	})
}

type functionCodeSigningInput struct{ FunctionName, CodeSigningConfigArn *string }

// putFunctionCodeSigning names a configuration, of which there is none.
func (h *Handler) putFunctionCodeSigning(_ *call, in *functionCodeSigningInput) (any, error) {
	return nil, &apiError{wire: wireNoCodeSigning, message: "The code signing configuration cannot be found. Check that the provided configuration is not deleted: " +
		*in.CodeSigningConfigArn + "."}
}

func noCodeSigning(_ *Handler, c *call) (any, error) {
	return nil, notFound("The Lambda code signing configuration " + c.vars["CodeSigningConfigArn"] + " can not be found.")
}

func noCapacityProvider(_ *Handler, c *call) (any, error) {
	nameless := "arn:aws:lambda:" + c.scope.Region + ":" + c.scope.Account + ":capacity-provider:"
	return nil, notFound("Capacity provider not found: " + nameless + c.vars["CapacityProviderName"])
}

func noDurableExecution(_ *Handler, c *call) (any, error) {
	return nil, notFound("Durable execution not found: " + c.vars["DurableExecutionArn"])
}

func noCallback(_ *Handler, c *call) (any, error) {
	return nil, notFound("Callback not found: " + c.vars["CallbackId"])
}

func notFound(message string) error { return &apiError{wire: wireNotFound, message: clip(message)} }

// refusals are what the operations that are not served are told beside their name.
var refusals = map[string]string{
	"CreateCodeSigningConfig": " Hearth verifies no signatures of packages; it runs what its API is given.",
	"CreateCapacityProvider":  " Functions run on the server's own machine.",
}

// unserved refuses an operation of the model.
func unserved(operation string) error {
	return &apiError{wire: wireUnsupported, message: operation + " is not supported by this version of Hearth." + refusals[operation]}
}
