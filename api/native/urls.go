package native

import (
	"net/http"

	"hearth/faas"
	"hearth/registry"
)

// FunctionURL is an HTTP address of a function or an alias.
type FunctionURL struct {
	URL string `json:"url"`
	faas.FunctionURL
}

// URLRequest makes a function URL, or changes the one that is there. What is nil
// stays; of a new one, Auth is NONE and Mode BUFFERED.
type URLRequest struct {
	Auth *faas.URLAuth `json:"auth,omitempty"`
	Mode *faas.URLMode `json:"mode,omitempty"`
	CORS *faas.CORS    `json:"cors,omitempty"`
}

func (a *API) routeURLs() {
	a.route("GET /hearth/v1/functions/{name}/urls", a.listURLs)
	a.route("PUT /hearth/v1/functions/{name}/url", a.putURL)
	a.route("DELETE /hearth/v1/functions/{name}/url", a.deleteURL)
}

func (a *API) listURLs(w http.ResponseWriter, r *http.Request) error {
	id := a.function(r)
	urls, err := every(func(marker string) (registry.Page[*faas.FunctionURL], error) {
		return a.URLs.ListURLs(r.Context(), id, marker, 50)
	})
	if err != nil {
		return err
	}
	out := make([]FunctionURL, 0, len(urls))
	for _, u := range urls {
		out = append(out, addressed(r, id, u))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// putURL changes the URL of a function, or of the alias that the query names, and
// makes it where there is none.
func (a *API) putURL(w http.ResponseWriter, r *http.Request) error {
	var in URLRequest
	if err := readSettings(w, r, "a function URL", &in); err != nil {
		return err
	}
	if err := in.validate(); err != nil {
		return err
	}
	id, qualifier := a.function(r), r.URL.Query().Get("qualifier")
	patch := registry.URLPatch{Auth: in.Auth, Mode: in.Mode}
	if in.CORS != nil {
		patch.CORS = &in.CORS
	}
	status := http.StatusOK
	u, err := a.URLs.UpdateURL(r.Context(), id, qualifier, patch)
	if faas.IsCode(err, faas.CodeNotFound) {
		if _, missing := a.Registry.Get(r.Context(), id, qualifier); missing != nil {
			return missing
		}
		made := faas.FunctionURL{Qualifier: qualifier, Auth: faas.URLAuthNone, Mode: faas.URLBuffered, CORS: in.CORS}
		set(&made.Auth, in.Auth)
		set(&made.Mode, in.Mode)
		status = http.StatusCreated
		u, err = a.URLs.CreateURL(r.Context(), id, made)
	}
	if err != nil {
		return err
	}
	writeJSON(w, status, addressed(r, id, u))
	return nil
}

func (a *API) deleteURL(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.URLs.DeleteURL(r.Context(), a.function(r), r.URL.Query().Get("qualifier")))
}

func (in *URLRequest) validate() error {
	if in.Auth != nil && *in.Auth != faas.URLAuthNone && *in.Auth != faas.URLAuthIAM {
		return faas.Errorf(faas.CodeInvalid, "auth", "auth must be %s or %s, not %q", faas.URLAuthNone, faas.URLAuthIAM, *in.Auth)
	}
	if in.Mode != nil && *in.Mode != faas.URLBuffered && *in.Mode != faas.URLStreamed {
		return faas.Errorf(faas.CodeInvalid, "mode", "mode must be %s or %s, not %q", faas.URLBuffered, faas.URLStreamed, *in.Mode)
	}
	return nil
}

func addressed(r *http.Request, id faas.FunctionID, u *faas.FunctionURL) FunctionURL {
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	return FunctionURL{URL: u.Address(base, id.Region), FunctionURL: *u}
}
