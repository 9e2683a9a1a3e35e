package lambda

import (
	"fmt"
	"strings"

	"hearth/faas"
)

// target resolves a function's name in any of the forms that Lambda takes (name,
// name:qualifier, account:function:name, ARN) with the qualifier of the query.
// They must agree, and the function must be of the caller's account and region.
func target(scope faas.Scope, name string, qualifier *string) (faas.FunctionID, string, error) {
	ref, err := parseName(scope, name)
	if err == nil {
		ref, err = ref.WithQualifier(value(qualifier))
	}
	return ref.ID, ref.Qualifier, err
}

// unqualified resolves a name for an operation on a function as a whole, where
// the only qualifier that makes sense is $LATEST.
func unqualified(scope faas.Scope, name string) (faas.FunctionID, error) {
	ref, err := parseName(scope, name)
	if err == nil && ref.Qualifier != "" && ref.Qualifier != faas.Latest {
		err = parameterError("functionName must name a function, not its version or alias '" + ref.Qualifier + "'.")
	}
	return ref.ID, err
}

func parseName(scope faas.Scope, name string) (faas.FunctionRef, error) {
	ref, err := faas.ParseFunctionRef(name, scope)
	if err != nil {
		return ref, err
	}
	if ref.ID.Region != scope.Region {
		return ref, &apiError{wire: wireNotFound, message: fmt.Sprintf(
			"Functions from '%s' are not reachable in this region ('%s')", ref.ID.Region, scope.Region)}
	}
	if ref.ID.Account != scope.Account {
		return ref, &apiError{wire: wireDenied, message: "Functions of account " + ref.ID.Account + " are not this account's."}
	}
	return ref, nil
}

// isAlias reports whether a qualifier names an alias.
func isAlias(qualifier string) bool {
	return qualifier != faas.Latest && faas.ValidAliasName(qualifier)
}

// isFunctionARN reports whether s is the ARN of a function, or of a part of one.
func isFunctionARN(s string) bool {
	parts := strings.Split(s, ":")
	return len(parts) >= 7 && parts[0] == "arn" && parts[2] == "lambda" && parts[5] == "function"
}
