package native

import (
	"context"
	"net/http"
	"strings"

	"hearth/faas"
	"hearth/registry"
)

// AsyncRequest sets how the asynchronous invocations of a qualifier are tried, and
// where their outcomes go. PUT removes what is nil, PATCH leaves it. A destination
// is a function's NAME, NAME:QUALIFIER or ARN, or an http or https URL; "" is none.
type AsyncRequest struct {
	Retries        *int              `json:"retries,omitempty"`        // 0..2
	MaxAgeSeconds  *int              `json:"maxAgeSeconds,omitempty"`  // 60..21,600
	Delay          *faas.RetryDelay  `json:"delay,omitempty"`          // "minute": one minute before each retry
	TimeoutSeconds *int              `json:"timeoutSeconds,omitempty"` // of one attempt, in place of the function's, to 86,400
	OnSuccess      *faas.Destination `json:"onSuccess,omitempty"`
	OnFailure      *faas.Destination `json:"onFailure,omitempty"`
	DeadLetter     *faas.Destination `json:"deadLetter,omitempty"`
}

func (a *API) routeAsync() {
	a.route("GET /hearth/v1/functions/{name}/async", a.listAsync)
	a.route("GET /hearth/v1/functions/{name}/async/{qualifier}", a.getAsync)
	a.route("PUT /hearth/v1/functions/{name}/async/{qualifier}", a.putAsync)
	a.route("PATCH /hearth/v1/functions/{name}/async/{qualifier}", a.patchAsync)
	a.route("DELETE /hearth/v1/functions/{name}/async/{qualifier}", a.deleteAsync)
}

func (a *API) listAsync(w http.ResponseWriter, r *http.Request) error {
	all, err := a.asyncOf(r.Context(), a.function(r))
	if err != nil {
		return err
	}
	if all == nil {
		all = []*registry.EventConfig{}
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// asyncOf returns what was set for a function, by qualifier.
func (a *API) asyncOf(ctx context.Context, id faas.FunctionID) ([]*registry.EventConfig, error) {
	return every(func(marker string) (registry.Page[*registry.EventConfig], error) {
		return a.EventConfigs.ListEventConfigs(ctx, id, marker, 50)
	})
}

func (a *API) getAsync(w http.ResponseWriter, r *http.Request) error {
	config, err := a.EventConfigs.GetEventConfig(r.Context(), a.function(r), r.PathValue("qualifier"))
	return answerAsync(w, config, err)
}

func answerAsync(w http.ResponseWriter, config *registry.EventConfig, err error) error {
	if err == nil {
		writeJSON(w, http.StatusOK, config)
	}
	return err
}

func (a *API) putAsync(w http.ResponseWriter, r *http.Request) error {
	patch, err := a.readAsync(w, r)
	if err != nil {
		return err
	}
	config, err := a.EventConfigs.PutEventConfig(r.Context(), a.function(r), r.PathValue("qualifier"), patch.Over(faas.AsyncConfig{}))
	return answerAsync(w, config, err)
}

func (a *API) patchAsync(w http.ResponseWriter, r *http.Request) error {
	patch, err := a.readAsync(w, r)
	if err != nil {
		return err
	}
	patch.Create = true
	config, err := a.EventConfigs.UpdateEventConfig(r.Context(), a.function(r), r.PathValue("qualifier"), patch)
	return answerAsync(w, config, err)
}

func (a *API) deleteAsync(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.EventConfigs.DeleteEventConfig(r.Context(), a.function(r), r.PathValue("qualifier")))
}

// readAsync reads the settings of a request, with destinations by their ARN.
func (a *API) readAsync(w http.ResponseWriter, r *http.Request) (registry.EventConfigPatch, error) {
	var in AsyncRequest
	if err := readSettings(w, r, "the settings of asynchronous invocations", &in); err != nil {
		return registry.EventConfigPatch{}, err
	}
	scope := a.scope(r)
	for _, to := range []*faas.Destination{in.OnSuccess, in.OnFailure, in.DeadLetter} {
		named(to, scope)
	}
	for _, field := range []struct {
		name  string
		value *int
	}{{"maxAgeSeconds", in.MaxAgeSeconds}, {"timeoutSeconds", in.TimeoutSeconds}} {
		if field.value != nil && *field.value < 1 { // the domain takes zero for "not set"
			return registry.EventConfigPatch{}, faas.Errorf(faas.CodeInvalid, field.name, "%s must be a number of seconds from 1, not %d", field.name, *field.value)
		}
	}
	return registry.EventConfigPatch{
		Retries: in.Retries, MaxAgeSeconds: in.MaxAgeSeconds, Delay: in.Delay, TimeoutSeconds: in.TimeoutSeconds,
		OnSuccess: in.OnSuccess, OnFailure: in.OnFailure, DeadLetter: in.DeadLetter,
	}, nil
}

// named replaces a function's name in a destination by its ARN. What is none is
// left as it is, for the control plane to refuse.
func named(to *faas.Destination, scope faas.Scope) {
	if to == nil || *to == "" || strings.HasPrefix(string(*to), "arn:") || strings.Contains(string(*to), "://") {
		return
	}
	if ref, err := faas.ParseFunctionRef(string(*to), scope); err == nil {
		*to = faas.Destination(ref.ARN())
	}
}
