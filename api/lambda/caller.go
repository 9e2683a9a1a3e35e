package lambda

import (
	"net/http"
	"net/url"
	"slices"

	"hearth/auth"
	"hearth/faas"
)

// serviceName is Lambda's in the scope of a signature.
const serviceName = "lambda"

// Authenticator says who sent a request; *auth.Verifier and *auth.Trusting are two.
// Errors are *auth.Error.
type Authenticator interface {
	Authenticate(r *http.Request, service string) (*auth.Identity, error)
}

// scope is where the caller's functions live: its account, the region of its
// signature.
func (h *Handler) scope(who *auth.Identity) (faas.Scope, error) {
	region := who.Region
	if region == "" {
		region = h.region
	}
	if len(h.regions) > 0 && !slices.Contains(h.regions, region) {
		return faas.Scope{}, &apiError{wire: wireRegion, message: "Credential should be scoped to a valid region, not '" + region + "'. "}
	}
	return faas.Scope{Account: who.Account, Region: region, Namespace: faas.DefaultNamespace}, nil
}

// actions are those that are not called as their operation is.
var actions = map[string]string{
	opInvoke:                   "InvokeFunction",
	"InvokeWithResponseStream": "InvokeFunction",
	"GetLayerVersionByArn":     "GetLayerVersion",
}

const actionInvoke = "lambda:InvokeFunction"

func actionOf(operation string) string {
	if action, ok := actions[operation]; ok {
		operation = action
	}
	return "lambda:" + operation
}

// opCreate names its resource in its body: its endpoint authorises it.
const opCreate = "CreateFunction"

// authorize refuses what the caller has no right to.
func (c *call) authorize() error {
	if c.who.Anyone || c.op.name == opCreate {
		return nil
	}
	return c.who.Allow(actionOf(c.op.name), c.resource())
}

// authorizeCreate is authorize for a function whose name is in the body.
func (c *call) authorizeCreate(name *string) error {
	return c.who.Allow(actionOf(c.op.name), functionResource(c.scope, value(name), ""))
}

// anyResource are operations that IAM knows no resource of, whatever their path has.
var anyResource = map[string]bool{"ListLayerVersions": true, "ListEventSourceMappings": true}

// resource is the ARN that a policy names to allow the operation; "*" where it has
// none, or where its path names nothing that could be.
func (c *call) resource() string {
	if anyResource[c.op.name] {
		return "*"
	}
	query, _ := url.ParseQuery(c.r.URL.RawQuery) // what cannot be parsed is refused by bind
	prefix := "arn:aws:lambda:" + c.scope.Region + ":" + c.scope.Account + ":"
	if name, ok := c.vars["FunctionName"]; ok {
		return functionResource(c.scope, name, query.Get("Qualifier"))
	}
	if id, ok := c.vars["UUID"]; ok {
		return prefix + "event-source-mapping:" + id
	}
	if name, ok := c.vars["LayerName"]; ok {
		if version := c.vars["VersionNumber"]; version != "" {
			name += ":" + version
		}
		if isARN(name) {
			return name
		}
		return prefix + "layer:" + name
	}
	for _, name := range []string{"Resource", "ResourceArn", "CodeSigningConfigArn", "CapacityProviderName"} {
		if arn, ok := c.vars[name]; ok && isARN(arn) {
			return arn
		}
	}
	if arn := query.Get("Arn"); isARN(arn) {
		return arn
	}
	return "*"
}

func isARN(s string) bool { return len(s) > 4 && s[:4] == "arn:" }

func functionResource(scope faas.Scope, name, qualifier string) string {
	ref, err := faas.ParseFunctionRef(name, scope)
	if err != nil {
		return "*" // no function either: the operation says so to who may do it to all
	}
	if ref.Qualifier == "" {
		ref.Qualifier = qualifier
	}
	return faas.FunctionARN(ref.ID, ref.Qualifier)
}

// wordRefusal is how a refusal of package auth leaves: its name and its words are
// AWS's already.
func wordRefusal(e *auth.Error) *apiError {
	to := wire{status: http.StatusForbidden, name: e.Kind.Exception(), casing: casingBare}
	switch e.Kind {
	case auth.Denied:
		to.casing = casingCapitalBare
	case auth.TooLarge:
		to = wireTooLarge
	case auth.Unreadable:
		to = wireContent
	case auth.Busy:
		to = wireBusy
	case auth.Missing, auth.Incomplete, auth.Unrecognized, auth.Expired, auth.Invalid:
	}
	return &apiError{wire: to, message: e.Message}
}
