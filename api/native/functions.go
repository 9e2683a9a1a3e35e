package native

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"hearth/faas"
	"hearth/registry"
)

// settleWait bounds how long a deployment is watched until it is active; the
// answer after it says what state it is in.
const settleWait = 2 * time.Minute

func summary(v *faas.Version) Function {
	return Function{Name: v.ID.Function.Name, ARN: faas.FunctionARN(v.ID.Function, ""), Version: *v}
}

func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	max := 50
	if s := r.URL.Query().Get("max"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1000 {
			return faas.Errorf(faas.CodeInvalid, "max", "max must be a number from 1 to 1000, not %q", s)
		}
		max = n
	}
	page, err := a.Registry.List(r.Context(), a.scope(r), false, r.URL.Query().Get("marker"), max)
	if err != nil {
		return err
	}
	out := FunctionPage{Functions: []Function{}, Next: page.Next}
	for _, v := range page.Items {
		out.Functions = append(out.Functions, summary(v))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *API) describe(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), a.function(r)
	f, err := a.Registry.Get(ctx, id, r.URL.Query().Get("qualifier"))
	if err != nil {
		return err
	}
	d := Description{
		Function: summary(f.Version), Tags: f.Tags, Versions: []string{}, Aliases: []faas.Alias{},
		Instances: a.Instances.Count(id), Recent: a.Invoker.Recent(id),
	}
	if d.Recent == nil {
		d.Recent = []faas.Report{}
	}
	versions, err := every(func(marker string) (registry.Page[*faas.Version], error) {
		return a.Registry.ListVersions(ctx, id, marker, 50)
	})
	if err != nil {
		return err
	}
	for _, v := range versions {
		d.Versions = append(d.Versions, v.ID.Number)
	}
	aliases, err := every(func(marker string) (registry.Page[*faas.Alias], error) {
		return a.Registry.ListAliases(ctx, id, "", marker, 50)
	})
	if err != nil {
		return err
	}
	for _, alias := range aliases {
		d.Aliases = append(d.Aliases, *alias)
	}
	if a.Quotas != nil {
		quota, err := a.describeQuota(ctx, id, a.QuotaUse.Usage(id.Scope).Functions[id])
		if err != nil {
			return err
		}
		d.Quota = &quota
	}
	if a.EventConfigs != nil {
		if d.Async, err = a.asyncOf(ctx, id); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, d)
	return nil
}

// every collects all pages of a list.
func every[T any](page func(marker string) (registry.Page[T], error)) ([]T, error) {
	var all []T
	for marker := ""; ; {
		p, err := page(marker)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if marker = p.Next; marker == "" {
			return all, nil
		}
	}
}

func (a *API) remove(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.Registry.Delete(r.Context(), a.function(r), r.URL.Query().Get("qualifier")))
}

// deploy creates or updates, waits until the change took effect, and publishes
// where that was asked for. A change that fails on the way leaves what ran before.
func (a *API) deploy(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxDeploy)
	if err != nil {
		return err
	}
	req, err := decodeDeploy(body)
	if err != nil {
		return err
	}
	if err := a.checkIsolation(req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), settleWait)
	defer cancel()
	id := a.function(r)
	named(req.DeadLetter, id.Scope)
	if req.Layers != nil && a.Layers != nil {
		arns, err := a.layerARNs(ctx, id.Scope, *req.Layers)
		if err != nil {
			return err
		}
		req.Layers = &arns
	}
	_, err = a.Registry.Get(ctx, id, "")
	created := faas.IsCode(err, faas.CodeNotFound)
	switch {
	case created:
		err = a.create(ctx, id, req)
	case err == nil:
		err = a.update(ctx, id, req)
	}
	if err != nil {
		return err
	}
	return a.deployed(ctx, w, id, req, created)
}

// checkIsolation refuses an isolation that this server does not have: such a
// function would be active and refuse every call. What is none at all is left to
// the validation of the configuration.
func (a *API) checkIsolation(req *DeployRequest) error {
	if req.Isolation == nil || a.Isolation == "" || string(*req.Isolation) == a.Isolation {
		return nil
	}
	switch *req.Isolation {
	case faas.IsolationProcess, faas.IsolationNone:
		return faas.Errorf(faas.CodeUnsupported, "isolation", "isolation %s is not available on this server, which was started with --isolation %s",
			*req.Isolation, a.Isolation)
	}
	return nil
}

func (a *API) create(ctx context.Context, id faas.FunctionID, req *DeployRequest) error {
	if req.Zip == nil {
		return faas.Errorf(faas.CodeInvalid, "zip", "function %s does not exist yet: its first deployment needs code", id.Name)
	}
	in := registry.CreateInput{Function: id, Config: req.config(), Zip: req.Zip, Tags: req.Tags}
	if req.Layers != nil {
		in.Layers = *req.Layers
	}
	_, err := a.Registry.Create(ctx, in)
	if err != nil {
		return err
	}
	return a.settled(ctx, id)
}

// update changes the configuration first: where that is wrong, the code stays too.
func (a *API) update(ctx context.Context, id faas.FunctionID, req *DeployRequest) error {
	if patch, any := req.patch(); any {
		if _, err := a.Registry.UpdateConfig(ctx, id, patch, ""); err != nil {
			return err
		}
		if err := a.settled(ctx, id); err != nil {
			return err
		}
	}
	if req.Zip == nil {
		return nil
	}
	if _, err := a.Registry.UpdateCode(ctx, registry.UpdateCodeInput{Function: id, Zip: req.Zip}); err != nil {
		return err
	}
	return a.settled(ctx, id)
}

func (a *API) deployed(ctx context.Context, w http.ResponseWriter, id faas.FunctionID, req *DeployRequest, created bool) error {
	out := Deployed{Created: created}
	if req.Publish {
		v, err := a.Registry.Publish(ctx, registry.PublishInput{Function: id})
		if err != nil {
			return err
		}
		out.Published = v.ID.Number
	}
	f, err := a.Registry.Get(ctx, id, "")
	if err != nil {
		return err
	}
	out.Function = summary(f.Version)
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	writeJSON(w, code, out)
	return nil
}

// settled waits until the function's head is neither pending nor updating, and
// returns why it failed where it did.
func (a *API) settled(ctx context.Context, id faas.FunctionID) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := a.Registry.Get(ctx, id, "")
		if err != nil {
			return err
		}
		v := f.Version
		switch {
		case v.State == faas.StateFailed:
			return faas.Errorf(faas.CodeConflict, id.Name, "the deployment failed: %s", v.StateReason)
		case v.Update == faas.UpdateFailed:
			return faas.Errorf(faas.CodeConflict, id.Name, "the update failed, the code before it still runs: %s", v.UpdateReason)
		case v.State == faas.StateActive && v.Update != faas.UpdateInProgress:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return faas.Errorf(faas.CodeNotReady, id.Name, "the deployment is still %s after %s; `hearth describe %s` shows how it goes on", v.State, settleWait, id.Name)
		}
	}
}

func (req *DeployRequest) config() faas.Config {
	var c faas.Config
	set(&c.Runtime, req.Runtime)
	set(&c.Handler, req.Handler)
	set(&c.Role, req.Role)
	set(&c.Description, req.Description)
	set(&c.MemoryMB, req.MemoryMB)
	set(&c.TimeoutSeconds, req.TimeoutSeconds)
	set(&c.InitTimeoutSeconds, req.InitTimeoutSeconds)
	set(&c.EphemeralMB, req.EphemeralMB)
	set(&c.Environment, req.Environment)
	set(&c.InstanceConcurrency, req.InstanceConcurrency)
	set(&c.Egress, req.Egress)
	set(&c.Isolation, req.Isolation)
	set(&c.Logging, req.Logging)
	set(&c.DeadLetter, req.DeadLetter)
	return c
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (req *DeployRequest) patch() (registry.ConfigPatch, bool) {
	p := registry.ConfigPatch{
		Runtime: req.Runtime, Handler: req.Handler, Role: req.Role, Description: req.Description,
		MemoryMB: req.MemoryMB, TimeoutSeconds: req.TimeoutSeconds, InitTimeoutSeconds: req.InitTimeoutSeconds,
		EphemeralMB: req.EphemeralMB, Environment: req.Environment, InstanceConcurrency: req.InstanceConcurrency,
		Egress: req.Egress, Isolation: req.Isolation, Logging: req.Logging, DeadLetter: req.DeadLetter,
		Layers: req.Layers,
	}
	return p, p != registry.ConfigPatch{}
}
