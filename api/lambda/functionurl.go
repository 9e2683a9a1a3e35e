package lambda

import (
	"hearth/faas"
	"hearth/registry"
)

// urlEndpoints lists the operations on function URLs.
func urlEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"CreateFunctionUrlConfig": typed((*Handler).createFunctionURL),
		"UpdateFunctionUrlConfig": typed((*Handler).updateFunctionURL),
		"GetFunctionUrlConfig":    typed((*Handler).getFunctionURL),
		"DeleteFunctionUrlConfig": typed((*Handler).deleteFunctionURL),
		"ListFunctionUrlConfigs":  typed((*Handler).listFunctionURLs),
	}
}

// cors is the model's Cors, in and out.
type cors struct {
	AllowCredentials *bool    `json:",omitempty"`
	AllowHeaders     []string `json:",omitempty"`
	AllowMethods     []string `json:",omitempty"`
	AllowOrigins     []string `json:",omitempty"`
	ExposeHeaders    []string `json:",omitempty"`
	MaxAge           *int     `json:",omitempty"`
}

func (c *cors) settings() *faas.CORS {
	if c == nil {
		return nil
	}
	return &faas.CORS{
		AllowCredentials: c.AllowCredentials != nil && *c.AllowCredentials,
		AllowHeaders:     c.AllowHeaders, AllowMethods: c.AllowMethods, AllowOrigins: c.AllowOrigins,
		ExposeHeaders: c.ExposeHeaders, MaxAgeSeconds: c.MaxAge,
	}
}

func describeCORS(c *faas.CORS) *cors {
	if c == nil {
		return nil
	}
	out := &cors{
		AllowHeaders: c.AllowHeaders, AllowMethods: c.AllowMethods, AllowOrigins: c.AllowOrigins,
		ExposeHeaders: c.ExposeHeaders, MaxAge: c.MaxAgeSeconds,
	}
	if c.AllowCredentials {
		out.AllowCredentials = &c.AllowCredentials
	}
	return out
}

type functionURLInput struct {
	FunctionName, Qualifier, AuthType, InvokeMode *string
	Cors                                          *cors
}

// functionURLConfig is the model's FunctionUrlConfig.
type functionURLConfig struct {
	FunctionUrl      string
	FunctionArn      string
	AuthType         faas.URLAuth
	Cors             *cors `json:",omitempty"`
	CreationTime     string
	LastModifiedTime string `json:",omitempty"` // not where it is created
	InvokeMode       faas.URLMode
}

func (h *Handler) createFunctionURL(c *call, in *functionURLInput) (any, error) {
	id, qualifier, err := urlOwner(c.scope, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	u := faas.FunctionURL{Qualifier: qualifier, Auth: faas.URLAuth(*in.AuthType), Mode: faas.URLBuffered, CORS: in.Cors.settings()}
	if in.InvokeMode != nil {
		u.Mode = faas.URLMode(*in.InvokeMode)
	}
	made, err := h.urls.CreateURL(c.ctx(), id, u)
	if err != nil {
		return nil, err
	}
	out := h.describeURL(c, id, made)
	out.LastModifiedTime = ""
	return out, nil
}

func (h *Handler) updateFunctionURL(c *call, in *functionURLInput) (any, error) {
	id, qualifier, err := urlOwner(c.scope, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	patch := registry.URLPatch{Auth: (*faas.URLAuth)(in.AuthType), Mode: (*faas.URLMode)(in.InvokeMode)}
	if in.Cors != nil {
		settings := in.Cors.settings()
		patch.CORS = &settings
	}
	made, err := h.urls.UpdateURL(c.ctx(), id, qualifier, patch)
	if err != nil {
		return nil, err
	}
	return h.describeURL(c, id, made), nil
}

type functionURLNameInput struct{ FunctionName, Qualifier *string }

func (h *Handler) getFunctionURL(c *call, in *functionURLNameInput) (any, error) {
	id, qualifier, err := urlOwner(c.scope, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	u, err := h.urls.GetURL(c.ctx(), id, qualifier)
	if err != nil {
		return nil, err
	}
	return h.describeURL(c, id, u), nil
}

func (h *Handler) deleteFunctionURL(c *call, in *functionURLNameInput) (any, error) {
	id, qualifier, err := urlOwner(c.scope, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return nil, h.urls.DeleteURL(c.ctx(), id, qualifier)
}

type listFunctionURLsInput struct {
	FunctionName *string
	Marker       *string
	MaxItems     *int
}

type listFunctionURLsOutput struct {
	FunctionUrlConfigs []*functionURLConfig
	NextMarker         string `json:",omitempty"`
}

func (h *Handler) listFunctionURLs(c *call, in *listFunctionURLsInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	page, err := h.urls.ListURLs(c.ctx(), id, value(in.Marker), pageSize(in.MaxItems))
	if err != nil {
		return nil, err
	}
	out := &listFunctionURLsOutput{FunctionUrlConfigs: make([]*functionURLConfig, 0, len(page.Items)), NextMarker: page.Next}
	for _, u := range page.Items {
		out.FunctionUrlConfigs = append(out.FunctionUrlConfigs, h.describeURL(c, id, u))
	}
	return out, nil
}

// urlOwner resolves the function or alias whose URL an operation is about. A
// qualifier in the name is not bound by the model's pattern, which lets only
// aliases through.
func urlOwner(scope faas.Scope, name, qualifier *string) (faas.FunctionID, string, error) {
	id, resolved, err := target(scope, *name, qualifier)
	if err == nil && resolved != "" && !isAlias(resolved) {
		v := violations{}
		v.add("'"+resolved+"'", "qualifier", `Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)`)
		err = validationError(v.text())
	}
	return id, resolved, err
}

func (h *Handler) describeURL(c *call, id faas.FunctionID, u *faas.FunctionURL) *functionURLConfig {
	return &functionURLConfig{
		FunctionUrl: u.Address(h.base(c.r), id.Region), FunctionArn: faas.FunctionARN(id, u.Qualifier), AuthType: u.Auth,
		Cors: describeCORS(u.CORS), CreationTime: u.Created.UTC().Format(timeFormat), LastModifiedTime: u.Modified.UTC().Format(timeFormat), InvokeMode: u.Mode,
	}
}
