package native

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"hearth/faas"
	"hearth/registry"
)

// maxSettings bounds the body of a request that changes quotas, in bytes.
const maxSettings = 1 << 20

// AccountQuotas are the quotas of an account in one region, and their use.
type AccountQuotas struct {
	Account    string             `json:"account"`
	Region     string             `json:"region"`
	Limits     faas.AccountLimits `json:"limits"`
	Unreserved Unreserved         `json:"unreserved"`
	Use        AccountUse         `json:"use"`
	// Functions has those with something in use or a quota of their own, by name.
	Functions []FunctionQuotas `json:"functions"`
}

// Unreserved is what of an account no function has for itself.
type Unreserved struct {
	MemoryMB   int `json:"memoryMB"`
	Executions int `json:"executions"`
}

// FunctionQuotas are the quotas of one function, and their use.
type FunctionQuotas struct {
	Namespace   string        `json:"namespace"`
	Name        string        `json:"name"`
	Reserved    *faas.Amount  `json:"reserved,omitempty"` // 0 switches the function off
	Maximum     *int          `json:"maximum,omitempty"`  // in place of the account's; 0 is no limit
	Provisioned []Provisioned `json:"provisioned,omitempty"`
	Use         FunctionUse   `json:"use"`
}

// LimitsRequest changes the limits of an account; what is nil stays.
type LimitsRequest struct {
	MemoryMB        *int `json:"memoryMB,omitempty"`
	Executions      *int `json:"executions,omitempty"`
	FunctionMaximum *int `json:"functionMaximum,omitempty"` // 0 is no limit
	Expansion       *int `json:"expansion,omitempty"`       // 0 is no limit
}

func (a *API) routeQuotas() {
	a.route("GET /hearth/v1/quotas", a.quotas)
	a.route("PATCH /hearth/v1/quotas", a.putLimits)
	a.route("GET /hearth/v1/functions/{name}/quota", a.functionQuota)
	a.route("PUT /hearth/v1/functions/{name}/quota/reserved", a.putReserved)
	a.route("DELETE /hearth/v1/functions/{name}/quota/reserved", a.deleteReserved)
	a.route("PUT /hearth/v1/functions/{name}/quota/maximum", a.putMaximum)
	a.route("DELETE /hearth/v1/functions/{name}/quota/maximum", a.deleteMaximum)
	a.route("GET /hearth/v1/provisioned", a.allProvisioned)
	a.route("GET /hearth/v1/functions/{name}/provisioned", a.listProvisioned)
	a.route("GET /hearth/v1/functions/{name}/provisioned/{qualifier}", a.getProvisioned)
	a.route("PUT /hearth/v1/functions/{name}/provisioned/{qualifier}", a.putProvisioned)
	a.route("DELETE /hearth/v1/functions/{name}/provisioned/{qualifier}", a.deleteProvisioned)
}

func (a *API) putLimits(w http.ResponseWriter, r *http.Request) error {
	var in LimitsRequest
	if err := readSettings(w, r, "an account's limits", &in); err != nil {
		return err
	}
	if _, err := a.Quotas.PutAccountLimits(r.Context(), a.scope(r), registry.AccountLimitsPatch(in)); err != nil {
		return err
	}
	return a.quotas(w, r)
}

func (a *API) quotas(w http.ResponseWriter, r *http.Request) error {
	ctx, scope := r.Context(), a.scope(r)
	limits, err := a.Quotas.AccountLimits(ctx, scope)
	if err != nil {
		return err
	}
	out := AccountQuotas{Account: scope.Account, Region: scope.Region, Limits: limits, Functions: []FunctionQuotas{}}
	if out.Unreserved.MemoryMB, out.Unreserved.Executions, err = a.Quotas.Unreserved(ctx, scope); err != nil {
		return err
	}
	usage := a.QuotaUse.Usage(scope)
	out.Use = usage.Account
	for _, id := range a.notable(scope, usage) {
		f, err := a.describeQuota(ctx, id, usage.Functions[id])
		if faas.IsCode(err, faas.CodeNotFound) { // deleted, and its last calls go on
			f, err = FunctionQuotas{Namespace: id.Namespace, Name: id.Name, Use: usage.Functions[id]}, nil
		}
		if err != nil {
			return err
		}
		out.Functions = append(out.Functions, f)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// notable returns the functions of an account that have a quota of their own or
// use something, by name. A provisioned concurrency that wants nothing now, as
// between two schedules, is not in the use.
func (a *API) notable(scope faas.Scope, usage Usage) []faas.FunctionID {
	ids := slices.Collect(maps.Keys(usage.Functions))
	for _, p := range a.Quotas.AllProvisioning() {
		if p.Function.Account == scope.Account && p.Function.Region == scope.Region {
			ids = append(ids, p.Function)
		}
	}
	slices.SortFunc(ids, func(x, y faas.FunctionID) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	return slices.Compact(ids)
}

func (a *API) describeQuota(ctx context.Context, id faas.FunctionID, use FunctionUse) (FunctionQuotas, error) {
	quota, err := a.Quotas.FunctionQuota(ctx, id)
	if err != nil {
		return FunctionQuotas{}, err
	}
	provisioned, err := a.provisionedOf(ctx, id)
	return FunctionQuotas{Namespace: id.Namespace, Name: id.Name, Reserved: quota.Reserved, Maximum: quota.Maximum,
		Provisioned: provisioned, Use: use}, err
}

func (a *API) functionQuota(w http.ResponseWriter, r *http.Request) error {
	id := a.function(r)
	out, err := a.describeQuota(r.Context(), id, a.QuotaUse.Usage(id.Scope).Functions[id])
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// readSettings reads the body of a request that changes settings.
func readSettings(w http.ResponseWriter, r *http.Request, what string, into any) error {
	body, err := readBody(w, r, maxSettings)
	if err != nil {
		return err
	}
	return decodeObject(body, what, into)
}

// amountIn is an amount as it is sent: what is left out must not pass for zero,
// which switches a function off.
type amountIn struct {
	Unit  *faas.Unit `json:"unit"`
	Value *int       `json:"value"`
}

func (in amountIn) amount() (faas.Amount, error) {
	if in.Unit == nil {
		return faas.Amount{}, faas.Errorf(faas.CodeInvalid, "unit", "unit is missing: say %s, %s or, of provisioned concurrency, %s",
			faas.UnitExecutions, faas.UnitMemoryMB, faas.UnitInstances)
	}
	if in.Value == nil {
		return faas.Amount{}, faas.Errorf(faas.CodeInvalid, "value", "value is missing: say how many %s", *in.Unit)
	}
	return faas.Amount{Unit: *in.Unit, Value: *in.Value}, nil
}

func (a *API) putReserved(w http.ResponseWriter, r *http.Request) error {
	var in amountIn
	if err := readSettings(w, r, "a reservation", &in); err != nil {
		return err
	}
	amount, err := in.amount()
	if err != nil {
		return err
	}
	if err := a.Quotas.PutReserved(r.Context(), a.function(r), amount); err != nil {
		return err
	}
	return a.functionQuota(w, r)
}

func (a *API) deleteReserved(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.Quotas.DeleteReserved(r.Context(), a.function(r)))
}

func (a *API) putMaximum(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Value *int `json:"value"`
	}
	if err := readSettings(w, r, "a function's maximum", &in); err != nil {
		return err
	}
	if in.Value == nil {
		return faas.Errorf(faas.CodeInvalid, "value", "value is missing: say how many instances, 0 for no limit")
	}
	if err := a.Quotas.PutFunctionMaximum(r.Context(), a.function(r), in.Value); err != nil {
		return err
	}
	return a.functionQuota(w, r)
}

func (a *API) deleteMaximum(w http.ResponseWriter, r *http.Request) error {
	return noContent(w, a.Quotas.PutFunctionMaximum(r.Context(), a.function(r), nil))
}
