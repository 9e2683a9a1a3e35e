package faas

import (
	"regexp"
	"strings"
)

// FunctionRef is a function as a caller named it, with the qualifier that was
// part of the name, if any.
type FunctionRef struct {
	ID        FunctionID
	Qualifier string // "" where none was given
}

// maxRef bounds what ParseFunctionRef looks at: longer than any valid reference.
const maxRef = 400

// bareRegion recognises a region in front of a name that is not an ARN, as
// Lambda does. It is stricter than ValidRegion, because what it does not
// recognise is a name.
var bareRegion = regexp.MustCompile(`^(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d$`)

var partition = regexp.MustCompile(`^(aws[a-zA-Z-]*)?$`)

// ParseFunctionRef reads a function's name in every accepted form:
//
//	name                                     name:qualifier
//	function:name                            123456789012:function:name
//	us-east-1:123456789012:function:name     arn:aws:lambda:us-east-1:123456789012:function:name:qualifier
//
// The name itself may be namespace/name. What the text leaves out comes from
// defaults. Percent-encoding has been undone before. A prefix is taken for a
// prefix wherever it can be one, so 123456789012:name is a name in an account
// and not a function 123456789012 with an alias. Errors have faas.CodeInvalid,
// the subject functionName and FieldErrors in their chain.
func ParseFunctionRef(s string, defaults Scope) (FunctionRef, error) {
	ref, ok := parseRef(s, defaults)
	if !ok {
		const constraint = "must be a function's name, name:qualifier, account:function:name or ARN"
		return FunctionRef{}, FieldErrors{{"functionName", clip(s), constraint}}.Err()
	}
	if errs := ref.ID.Validate(); len(errs) > 0 {
		return FunctionRef{}, errs.Err()
	}
	if ref.Qualifier != "" && !ValidQualifier(ref.Qualifier) {
		return FunctionRef{}, FieldErrors{{"qualifier", clip(ref.Qualifier), qualifierConstraint}}.Err()
	}
	return ref, nil
}

const qualifierConstraint = "must be $LATEST, a version number or an alias name"

// parseRef takes the text apart; what the parts may contain is checked later.
func parseRef(s string, scope Scope) (FunctionRef, bool) {
	if len(s) > maxRef {
		return FunctionRef{}, false
	}
	parts := strings.Split(s, ":")
	if parts[0] == "arn" {
		if len(parts) < 7 || !partition.MatchString(parts[1]) || parts[2] != "lambda" || parts[5] != "function" {
			return FunctionRef{}, false
		}
		scope.Region, scope.Account = parts[3], parts[4]
		return parseTail(parts[6:], scope)
	}
	if len(parts) > 1 && bareRegion.MatchString(parts[0]) {
		scope.Region, parts = parts[0], parts[1:]
	}
	if len(parts) > 1 && ValidAccount(parts[0]) {
		scope.Account, parts = parts[0], parts[1:]
	}
	if len(parts) > 1 && parts[0] == "function" {
		parts = parts[1:]
	}
	return parseTail(parts, scope)
}

// parseTail reads [namespace/]name and the optional qualifier.
func parseTail(parts []string, scope Scope) (FunctionRef, bool) {
	if len(parts) > 2 {
		return FunctionRef{}, false
	}
	name := parts[0]
	if namespace, rest, found := strings.Cut(name, "/"); found {
		scope.Namespace, name = namespace, rest
	}
	ref := FunctionRef{ID: FunctionID{Scope: scope, Name: name}}
	if len(parts) == 2 {
		ref.Qualifier = parts[1]
		return ref, ref.Qualifier != ""
	}
	return ref, true
}

// WithQualifier combines the qualifier in the name with one given elsewhere in
// the same request. Where both are there they must agree.
func (r FunctionRef) WithQualifier(qualifier string) (FunctionRef, error) {
	switch {
	case qualifier == "" || qualifier == r.Qualifier:
		return r, nil
	case !ValidQualifier(qualifier):
		return r, FieldErrors{{"qualifier", clip(qualifier), qualifierConstraint}}.Err()
	case r.Qualifier != "":
		return r, Errorf(CodeInvalid, "qualifier",
			"The derived qualifier from the function name does not match the specified qualifier.")
	}
	r.Qualifier = qualifier
	return r, nil
}

// ARN formats the reference so that ParseFunctionRef returns it again.
func (r FunctionRef) ARN() string { return FunctionARN(r.ID, r.Qualifier) }

// FunctionARN formats a function's Amazon resource name, with the qualifier
// where it is not empty. A namespace other than DefaultNamespace is part of the
// last element, namespace/name.
func FunctionARN(id FunctionID, qualifier string) string {
	var b strings.Builder
	b.Grow(128)
	b.WriteString("arn:")
	b.WriteString(regionPartition(id.Region))
	b.WriteString(":lambda:")
	b.WriteString(id.Region)
	b.WriteByte(':')
	b.WriteString(id.Account)
	b.WriteString(":function:")
	if id.Namespace != DefaultNamespace && id.Namespace != "" {
		b.WriteString(id.Namespace)
		b.WriteByte('/')
	}
	b.WriteString(id.Name)
	if qualifier != "" {
		b.WriteByte(':')
		b.WriteString(qualifier)
	}
	return b.String()
}

func regionPartition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}

// clip keeps a hostile value in an error message short.
func clip(s string) string {
	const max = 200
	if len(s) > max {
		return strings.ToValidUTF8(s[:max], "") + "..."
	}
	return s
}
