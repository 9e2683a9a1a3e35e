package lambda

import (
	"strings"

	"hearth/faas"
)

type functionRef struct {
	ID        faas.FunctionID
	Qualifier string
}

func parseFunctionRef(s string, defaults faas.Scope) (functionRef, error) {
	ref := functionRef{ID: faas.FunctionID{Scope: defaults}}
	parts := strings.Split(s, ":")
	if len(parts) > 3 && parts[0] == "arn" && parts[2] == "lambda" {
		parts = parts[3:]
	}
	if len(parts) > 1 && strings.Count(parts[0], "-") >= 2 && plausibleRegion(parts[0]) {
		ref.ID.Region, parts = parts[0], parts[1:]
	}
	if len(parts) > 1 && len(parts[0]) == 12 && strings.Trim(parts[0], "0123456789") == "" {
		ref.ID.Account, parts = parts[0], parts[1:]
	}
	if len(parts) > 1 && parts[0] == "function" {
		parts = parts[1:]
	}
	ref.ID.Name = parts[0]
	switch len(parts) {
	case 1:
	case 2:
		ref.Qualifier = parts[1]
	default:
		return ref, parameterError("functionName is not the name of a function: " + clip(s))
	}
	return ref, nil
}

func functionARN(id faas.FunctionID, qualifier string) string {
	arn := "arn:aws:lambda:" + id.Region + ":" + id.Account + ":function:" + id.Name
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}

func isFunctionARN(s string) bool {
	return strings.HasPrefix(s, "arn:") && strings.Contains(s, ":function:")
}
