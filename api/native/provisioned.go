package native

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"hearth/faas"
	"hearth/registry"
)

// Provisioned is the provisioned concurrency of a version or alias, and how far
// it is.
type Provisioned struct {
	Namespace string `json:"namespace"`
	Function  string `json:"function"`
	faas.Provisioned
	Status faas.ProvisionedStatus `json:"status"`
}

// ProvisionedRequest sets a provisioned concurrency in place of the one before.
type ProvisionedRequest struct {
	// Amount may be left out where schedules or tracking say it.
	Amount    *faas.Amount    `json:"amount,omitempty"`
	Schedules []faas.Schedule `json:"schedules,omitempty"`
	Tracking  *faas.Tracking  `json:"tracking,omitempty"`
}

func (a *API) describeProvisioned(id faas.FunctionID, p faas.Provisioned) Provisioned {
	return Provisioned{Namespace: id.Namespace, Function: id.Name, Provisioned: p, Status: a.Provisioning.Status(id, p.Qualifier)}
}

// provisionedOf lists what is configured of a function; nil is nothing.
func (a *API) provisionedOf(ctx context.Context, id faas.FunctionID) ([]Provisioned, error) {
	all, err := every(func(marker string) (registry.Page[*faas.Provisioned], error) {
		return a.Quotas.ListProvisioned(ctx, id, marker, 50)
	})
	var out []Provisioned
	for _, p := range all {
		out = append(out, a.describeProvisioned(id, *p))
	}
	return out, err
}

// allProvisioned answers with that of every function of the scope, by name.
func (a *API) allProvisioned(w http.ResponseWriter, r *http.Request) error {
	scope, out := a.scope(r), []Provisioned{}
	for _, f := range a.Quotas.AllProvisioning() {
		if f.Function.Scope != scope {
			continue
		}
		for _, p := range f.Configs {
			out = append(out, a.describeProvisioned(f.Function, p))
		}
	}
	slices.SortFunc(out, func(x, y Provisioned) int {
		return cmp.Or(cmp.Compare(x.Function, y.Function), cmp.Compare(x.Qualifier, y.Qualifier))
	})
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *API) listProvisioned(w http.ResponseWriter, r *http.Request) error {
	out, err := a.provisionedOf(r.Context(), a.function(r))
	if err != nil {
		return err
	}
	if out == nil {
		out = []Provisioned{}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (a *API) getProvisioned(w http.ResponseWriter, r *http.Request) error {
	id := a.function(r)
	p, err := a.Quotas.GetProvisioned(r.Context(), id, r.PathValue("qualifier"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.describeProvisioned(id, *p))
	return nil
}

// putProvisioned answers when the setting is stored; the status tells how far the
// instances are.
func (a *API) putProvisioned(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		ProvisionedRequest
		Amount *amountIn `json:"amount"`
	}
	if err := readSettings(w, r, "a provisioned concurrency", &in); err != nil {
		return err
	}
	p := faas.Provisioned{Qualifier: r.PathValue("qualifier"), Amount: faas.Amount{Unit: faas.UnitInstances},
		Schedules: in.Schedules, Tracking: in.Tracking}
	switch {
	case in.Amount != nil:
		amount, err := in.Amount.amount()
		if err != nil {
			return err
		}
		p.Amount = amount
	case len(p.Schedules) == 0 && p.Tracking == nil:
		return faas.Errorf(faas.CodeInvalid, "amount", "amount is missing: say how many instances, or give schedules or tracking")
	}
	id := a.function(r)
	stored, err := a.Quotas.PutProvisioned(r.Context(), id, p)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, a.describeProvisioned(id, *stored))
	return nil
}

func (a *API) deleteProvisioned(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.Quotas.DeleteProvisioned(r.Context(), a.function(r), r.PathValue("qualifier")))
}
