package native

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"hearth/auth"
	"hearth/faas"
)

// serviceName is this API's in the scope of a signature.
const serviceName = "hearth"

// Authenticator says who sent a request; *auth.Verifier and *auth.Trusting are two.
// Errors are *auth.Error.
type Authenticator interface {
	Authenticate(r *http.Request, service string) (*auth.Identity, error)
}

// actions are what a caller needs the right to, all of them, for each route. Where
// Lambda or CloudWatch Logs does the same, it is their action, so that a policy
// means the same to every client.
var actions = map[string][]string{
	"GET /hearth/v1/status":                                      {"hearth:GetStatus"},
	"GET /hearth/v1/runtimes":                                    {"hearth:ListRuntimes"},
	"GET /hearth/v1/functions":                                   {"lambda:ListFunctions"},
	"PUT /hearth/v1/functions/{name}":                            {"lambda:CreateFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"},
	"GET /hearth/v1/functions/{name}":                            {"lambda:GetFunction"},
	"DELETE /hearth/v1/functions/{name}":                         {"lambda:DeleteFunction"},
	"POST /hearth/v1/functions/{name}/invoke":                    {"lambda:InvokeFunction"},
	"GET /hearth/v1/functions/{name}/versions":                   {"lambda:ListVersionsByFunction"},
	"POST /hearth/v1/functions/{name}/versions":                  {"lambda:PublishVersion"},
	"GET /hearth/v1/functions/{name}/aliases":                    {"lambda:ListAliases"},
	"PUT /hearth/v1/functions/{name}/aliases/{alias}":            {"lambda:CreateAlias", "lambda:UpdateAlias"},
	"DELETE /hearth/v1/functions/{name}/aliases/{alias}":         {"lambda:DeleteAlias"},
	"GET /hearth/v1/functions/{name}/urls":                       {"lambda:ListFunctionUrlConfigs"},
	"PUT /hearth/v1/functions/{name}/url":                        {"lambda:CreateFunctionUrlConfig", "lambda:UpdateFunctionUrlConfig", "lambda:AddPermission"},
	"DELETE /hearth/v1/functions/{name}/url":                     {"lambda:DeleteFunctionUrlConfig"},
	"GET /hearth/v1/layers":                                      {"lambda:ListLayers"},
	"GET /hearth/v1/layers/{name}":                               {"lambda:ListLayerVersions"},
	"POST /hearth/v1/layers/{name}":                              {"lambda:PublishLayerVersion"},
	"DELETE /hearth/v1/layers/{name}/versions/{number}":          {"lambda:DeleteLayerVersion"},
	"GET /hearth/v1/logs":                                        {"logs:FilterLogEvents"},
	"GET /hearth/v1/functions/{name}/async":                      {"lambda:ListFunctionEventInvokeConfigs"},
	"GET /hearth/v1/functions/{name}/async/{qualifier}":          {"lambda:GetFunctionEventInvokeConfig"},
	"PUT /hearth/v1/functions/{name}/async/{qualifier}":          {"lambda:PutFunctionEventInvokeConfig"},
	"PATCH /hearth/v1/functions/{name}/async/{qualifier}":        {"lambda:UpdateFunctionEventInvokeConfig"},
	"DELETE /hearth/v1/functions/{name}/async/{qualifier}":       {"lambda:DeleteFunctionEventInvokeConfig"},
	"POST /hearth/v1/functions/{name}/events":                    {"lambda:InvokeFunction"},
	"GET /hearth/v1/functions/{name}/events":                     {"hearth:ListEvents"},
	"GET /hearth/v1/events":                                      {"hearth:ListEvents"},
	"GET /hearth/v1/events/{requestId}":                          {"hearth:GetEvent"},
	"GET /hearth/v1/events/{requestId}/payload":                  {"hearth:GetEventPayload"},
	"POST /hearth/v1/events/{requestId}/terminate":               {"hearth:TerminateEvent"},
	"POST /hearth/v1/events/{requestId}/replay":                  {"hearth:RedriveEvents"},
	"POST /hearth/v1/redrive":                                    {"hearth:RedriveEvents"},
	"GET /hearth/v1/queues":                                      {"hearth:ListQueues"},
	"GET /hearth/v1/losses":                                      {"hearth:ListLosses"},
	"GET /hearth/v1/invocations/{requestId}":                     {"hearth:GetInvocation"},
	"GET /hearth/v1/top":                                         {"hearth:GetActivity"},
	"GET /hearth/v1/metrics":                                     {"hearth:GetActivity"},
	"GET /hearth/v1/quotas":                                      {"lambda:GetAccountSettings"},
	"PATCH /hearth/v1/quotas":                                    {"hearth:PutAccountLimits"},
	"GET /hearth/v1/functions/{name}/quota":                      {"lambda:GetFunctionConcurrency"},
	"PUT /hearth/v1/functions/{name}/quota/reserved":             {"lambda:PutFunctionConcurrency"},
	"DELETE /hearth/v1/functions/{name}/quota/reserved":          {"lambda:DeleteFunctionConcurrency"},
	"PUT /hearth/v1/functions/{name}/quota/maximum":              {"hearth:PutFunctionMaximum"},
	"DELETE /hearth/v1/functions/{name}/quota/maximum":           {"hearth:PutFunctionMaximum"},
	"GET /hearth/v1/provisioned":                                 {"lambda:ListProvisionedConcurrencyConfigs"},
	"GET /hearth/v1/functions/{name}/provisioned":                {"lambda:ListProvisionedConcurrencyConfigs"},
	"GET /hearth/v1/functions/{name}/provisioned/{qualifier}":    {"lambda:GetProvisionedConcurrencyConfig"},
	"PUT /hearth/v1/functions/{name}/provisioned/{qualifier}":    {"lambda:PutProvisionedConcurrencyConfig"},
	"DELETE /hearth/v1/functions/{name}/provisioned/{qualifier}": {"lambda:DeleteProvisionedConcurrencyConfig"},
	"GET /hearth/v1/keys":                                        {"hearth:ListKeys"},
	"POST /hearth/v1/keys":                                       {"hearth:CreateKey"},
	"GET /hearth/v1/keys/{id}":                                   {"hearth:ListKeys"},
	"PATCH /hearth/v1/keys/{id}":                                 {"hearth:UpdateKey"},
	"DELETE /hearth/v1/keys/{id}":                                {"hearth:DeleteKey"},
	anyPath:                                                      {},
}

const anyPath = "/"

type callerKey struct{}

// authenticate returns the request with its caller, whom scope and authorize ask for.
func (a *API) authenticate(r *http.Request) (*http.Request, error) {
	who, err := a.Auth.Authenticate(r, serviceName)
	if err != nil {
		return nil, err
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, who)), nil
}

// caller is who sent a request that authenticate has seen.
func caller(r *http.Request) *auth.Identity { return r.Context().Value(callerKey{}).(*auth.Identity) }

// authorize refuses what the caller has no right to.
func (a *API) authorize(pattern string, r *http.Request) error {
	who := caller(r)
	scope := a.scope(r)
	if !who.Anyone && scope.Region != who.Region {
		return faas.Errorf(faas.CodeDenied, "region", "the request is for the region %q and its signature for %q", scope.Region, who.Region)
	}
	needed, known := actions[pattern]
	if !known {
		return faas.Errorf(faas.CodeInternal, pattern, "the route has no action")
	}
	for _, action := range needed {
		if err := who.Allow(action, a.resource(pattern, r)); err != nil {
			return err
		}
	}
	return nil
}

// resource is the ARN that a policy names to allow a request; "*" where it is about
// no one function.
func (a *API) resource(pattern string, r *http.Request) string {
	scope, query := a.scope(r), r.URL.Query()
	if pattern == "GET /hearth/v1/logs" {
		return "arn:aws:logs:" + scope.Region + ":" + scope.Account + ":log-group:/aws/lambda/" + query.Get("function") + ":log-stream:"
	}
	id := a.function(r)
	switch {
	case id.Name == "":
		return "*"
	case strings.Contains(pattern, "/layers/"):
		return faas.LayerARN(faas.LayerID{Account: scope.Account, Region: scope.Region, Name: id.Name})
	}
	qualifier := r.PathValue("qualifier")
	if qualifier == "" {
		qualifier = query.Get("qualifier")
	}
	return faas.FunctionARN(id, qualifier)
}

// wordRefusal words a refusal of package auth for people at a terminal.
func wordRefusal(err error) error {
	var refused *auth.Error
	if !errors.As(err, &refused) {
		return err
	}
	code, message := faas.CodeDenied, refused.Message
	switch refused.Kind {
	case auth.Missing:
		message = "this server takes signed requests only: name a key with HEARTH_ACCESS_KEY_ID and HEARTH_SECRET_ACCESS_KEY, " +
			"or in a credentials file (--credentials); 'hearth keys --help' says more"
	case auth.Unrecognized:
		message = "there is no key with this id and session token that works; 'hearth keys list' shows, with another one, whether it is disabled"
	case auth.Expired:
		message = "this key has ended; an administrator makes a new one with 'hearth keys create'"
	case auth.Invalid:
		message, _, _ = strings.Cut(message, "\n") // what follows is for who writes a client
	case auth.TooLarge:
		code = faas.CodeTooLarge
	case auth.Unreadable:
		code = faas.CodeInvalidBody
	case auth.Busy:
		code = faas.CodeThrottled
	case auth.Incomplete, auth.Denied: // AWS's words say it
	}
	return &faas.Error{Code: code, Subject: "caller", Message: message, Cause: err}
}
