package native

import (
	"net/http"

	"hearth/faas"
	"hearth/registry"
)

// PublishRequest publishes $LATEST as a version.
type PublishRequest struct {
	Description *string `json:"description,omitempty"` // nil keeps that of $LATEST
}

// AliasRequest makes an alias, or changes the one of that name. What is nil stays.
type AliasRequest struct {
	Version     *string `json:"version,omitempty"` // a new alias needs one
	Description *string `json:"description,omitempty"`
	// Weights sends a part of the calls, from 0 to 1, to another version; an empty
	// map ends that.
	Weights *map[string]float64 `json:"weights,omitempty"`
}

func (a *API) routeReleases() {
	a.route("GET /hearth/v1/functions/{name}/versions", a.versions)
	a.route("POST /hearth/v1/functions/{name}/versions", a.publish)
	a.route("GET /hearth/v1/functions/{name}/aliases", a.aliases)
	a.route("PUT /hearth/v1/functions/{name}/aliases/{alias}", a.putAlias)
	a.route("DELETE /hearth/v1/functions/{name}/aliases/{alias}", a.deleteAlias)
}

func (a *API) versions(w http.ResponseWriter, r *http.Request) error {
	versions, err := every(func(marker string) (registry.Page[*faas.Version], error) {
		return a.Registry.ListVersions(r.Context(), a.function(r), marker, 50)
	})
	if err != nil {
		return err
	}
	out := make([]Function, 0, len(versions))
	for _, v := range versions {
		out = append(out, summary(v))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *API) publish(w http.ResponseWriter, r *http.Request) error {
	var in PublishRequest
	if err := readSettings(w, r, "a publication", &in); err != nil {
		return err
	}
	v, err := a.Registry.Publish(r.Context(), registry.PublishInput{Function: a.function(r), Description: in.Description})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, summary(v))
	return nil
}

func (a *API) aliases(w http.ResponseWriter, r *http.Request) error {
	aliases, err := every(func(marker string) (registry.Page[*faas.Alias], error) {
		return a.Registry.ListAliases(r.Context(), a.function(r), "", marker, 50)
	})
	if err != nil {
		return err
	}
	if aliases == nil {
		aliases = []*faas.Alias{}
	}
	writeJSON(w, http.StatusOK, aliases)
	return nil
}

// putAlias changes an alias, and makes it where there is none of that name.
func (a *API) putAlias(w http.ResponseWriter, r *http.Request) error {
	var in AliasRequest
	if err := readSettings(w, r, "an alias", &in); err != nil {
		return err
	}
	id, name := a.function(r), r.PathValue("alias")
	patch := registry.AliasPatch{Version: in.Version, Description: in.Description, Weights: in.Weights}
	alias, err := a.Registry.UpdateAlias(r.Context(), id, name, patch)
	status := http.StatusOK
	if faas.IsCode(err, faas.CodeNotFound) && in.Version != nil {
		if _, missing := a.Registry.Get(r.Context(), id, *in.Version); missing != nil {
			return missing
		}
		made := faas.Alias{Function: id, Name: name, Version: *in.Version}
		set(&made.Description, in.Description)
		set(&made.Weights, in.Weights)
		status = http.StatusCreated
		alias, err = a.Registry.CreateAlias(r.Context(), made)
	}
	if err != nil {
		return err
	}
	writeJSON(w, status, alias)
	return nil
}

func (a *API) deleteAlias(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.Registry.DeleteAlias(r.Context(), a.function(r), r.PathValue("alias")))
}
