package lambda

import (
	"fmt"
	"strings"

	"hearth/faas"
)

// maxFunctionName is the length of a function's own name; the patterns of the
// model bound only the whole of an ARN.
const maxFunctionName = 64

// target resolves a function's name in any of the forms that Lambda takes (name,
// name:qualifier, account:function:name, ARN) with the qualifier of the query.
// They must agree, and the function must be of the caller's account and region.
func target(scope faas.Scope, name string, qualifier *string) (faas.FunctionID, string, error) {
	id, named, err := parseName(scope, name)
	if err != nil {
		return id, "", err
	}
	if qualifier == nil || *qualifier == "" {
		return id, named, nil
	}
	if named != "" && named != *qualifier {
		return id, "", parameterError("The derived qualifier from the function name does not match the specified qualifier.")
	}
	return id, *qualifier, nil
}

// unqualified resolves a name for an operation on a function as a whole, where
// the only qualifier that makes sense is $LATEST.
func unqualified(scope faas.Scope, name string) (faas.FunctionID, error) {
	id, qualifier, err := parseName(scope, name)
	if err == nil && qualifier != "" && qualifier != faas.Latest {
		err = parameterError("functionName must name a function, not its version or alias '" + qualifier + "'.")
	}
	return id, err
}

func parseName(scope faas.Scope, name string) (faas.FunctionID, string, error) {
	ref, err := parseFunctionRef(name, scope)
	if err != nil {
		return faas.FunctionID{}, "", err
	}
	if ref.ID.Region != scope.Region {
		return ref.ID, "", &apiError{wire: wireNotFound, message: fmt.Sprintf(
			"Functions from '%s' are not reachable in this region ('%s')", ref.ID.Region, scope.Region)}
	}
	if ref.ID.Account != scope.Account {
		return ref.ID, "", &apiError{wire: wireDenied, message: "Functions of account " + ref.ID.Account + " are not this account's."}
	}
	return ref.ID, ref.Qualifier, nil
}

// tooLongName is Lambda's answer to a new function's name of more than 64
// characters: its text is that of a validation, its type is not.
func tooLongName(name string) error {
	return parameterError(fmt.Sprintf("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: "+
		"Member must have length less than or equal to %d", clip(name), maxFunctionName))
}

// versionARN names a version the way an answer does that was asked for qualifier:
// an alias stays, a version is spelled out, and nothing stays nothing.
func versionARN(v *faas.Version, qualifier string) string {
	return functionARN(v.ID.Function, qualifier)
}

// isAlias reports whether a qualifier names an alias.
func isAlias(qualifier string) bool {
	return qualifier != "" && qualifier != faas.Latest && strings.Trim(qualifier, "0123456789") != ""
}
