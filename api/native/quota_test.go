package native

import (
	"cmp"
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"hearth/faas"
	"hearth/registry"
)

// quotas keeps the quotas of functions f and g of the first scope in memory.
type quotas struct {
	limits      faas.AccountLimits
	functions   map[string]*registry.FunctionQuota
	provisioned map[string][]*faas.Provisioned
	use         Usage
	err         error // of every change, where not nil
}

func newQuotas() *quotas {
	return &quotas{
		limits:      faas.DefaultAccountLimits(),
		functions:   map[string]*registry.FunctionQuota{"f": {}, "g": {}},
		provisioned: map[string][]*faas.Provisioned{},
		use:         Usage{Functions: map[faas.FunctionID]FunctionUse{}},
	}
}

func (q *quotas) AccountLimits(context.Context, faas.Scope) (faas.AccountLimits, error) {
	return q.limits, nil
}

func (q *quotas) PutAccountLimits(_ context.Context, _ faas.Scope, p registry.AccountLimitsPatch) (faas.AccountLimits, error) {
	set(&q.limits.MemoryMB, p.MemoryMB)
	set(&q.limits.Executions, p.Executions)
	set(&q.limits.FunctionMaximum, p.FunctionMaximum)
	set(&q.limits.Expansion, p.Expansion)
	return q.limits, q.err
}

func (q *quotas) Unreserved(context.Context, faas.Scope) (memoryMB, executions int, err error) {
	return 100_000, 900, nil
}

func (q *quotas) FunctionQuota(_ context.Context, id faas.FunctionID) (registry.FunctionQuota, error) {
	f, err := q.of(id)
	if err != nil {
		return registry.FunctionQuota{}, err
	}
	return *f, nil
}

func (q *quotas) of(id faas.FunctionID) (*registry.FunctionQuota, error) {
	if f, ok := q.functions[id.Name]; ok {
		return f, nil
	}
	return nil, faas.Errorf(faas.CodeNotFound, id.Name, "function %s does not exist", id.Name)
}

func (q *quotas) change(id faas.FunctionID, change func(*registry.FunctionQuota)) error {
	f, err := q.of(id)
	if err = cmp.Or(err, q.err); err == nil {
		change(f)
	}
	return err
}

func (q *quotas) PutReserved(_ context.Context, id faas.FunctionID, amount faas.Amount) error {
	return q.change(id, func(f *registry.FunctionQuota) { f.Reserved = &amount })
}

func (q *quotas) DeleteReserved(_ context.Context, id faas.FunctionID) error {
	return q.change(id, func(f *registry.FunctionQuota) { f.Reserved = nil })
}

func (q *quotas) PutFunctionMaximum(_ context.Context, id faas.FunctionID, n *int) error {
	return q.change(id, func(f *registry.FunctionQuota) { f.Maximum = n })
}

func (q *quotas) PutProvisioned(_ context.Context, id faas.FunctionID, p faas.Provisioned) (*faas.Provisioned, error) {
	p.Instances, p.Modified = p.Amount.Value, noon
	err := q.change(id, func(*registry.FunctionQuota) { q.provisioned[id.Name] = append(q.provisioned[id.Name], &p) })
	return &p, err
}

func (q *quotas) GetProvisioned(_ context.Context, id faas.FunctionID, qualifier string) (*faas.Provisioned, error) {
	for _, p := range q.provisioned[id.Name] {
		if p.Qualifier == qualifier {
			return p, nil
		}
	}
	return nil, &faas.Error{Code: faas.CodeNotFound, Subject: qualifier, Message: "none", Cause: faas.ErrNoProvisioned}
}

func (q *quotas) DeleteProvisioned(ctx context.Context, id faas.FunctionID, qualifier string) error {
	p, err := q.GetProvisioned(ctx, id, qualifier)
	q.provisioned[id.Name] = slices.DeleteFunc(q.provisioned[id.Name], func(other *faas.Provisioned) bool { return other == p })
	return err
}

// ListProvisioned has pages of one.
func (q *quotas) ListProvisioned(_ context.Context, id faas.FunctionID, marker string, _ int) (registry.Page[*faas.Provisioned], error) {
	if _, err := q.of(id); err != nil {
		return registry.Page[*faas.Provisioned]{}, err
	}
	var page registry.Page[*faas.Provisioned]
	if all := q.provisioned[id.Name]; len(marker) < len(all) {
		page.Items = all[len(marker):][:1]
		if len(all) > len(marker)+1 {
			page.Next = marker + "x"
		}
	}
	return page, nil
}

func (q *quotas) AllProvisioning() []faas.Provisioning {
	var out []faas.Provisioning
	for name, all := range q.provisioned {
		p := faas.Provisioning{Function: function(name)}
		for _, c := range all {
			p.Configs = append(p.Configs, *c)
		}
		elsewhere := p
		elsewhere.Function.Region = "eu-west-1"
		out = append(out, p, elsewhere)
	}
	return out
}

func (q *quotas) Usage(faas.Scope) Usage { return q.use }

func (q *quotas) Status(faas.FunctionID, string) faas.ProvisionedStatus {
	return faas.ProvisionedStatus{Requested: 3, Allocated: 2, Available: 1, State: faas.ProvisionedInProgress}
}

func function(name string) faas.FunctionID {
	id := existing().ID.Function
	id.Name = name
	return id
}

func newQuotaAPI(q *quotas) *API {
	o := newAPI(&backend{version: existing()}).Options
	o.Quotas, o.QuotaUse, o.Provisioning = q, q, q
	return New(o)
}

func TestAccountQuotas(t *testing.T) {
	q := newQuotas()
	q.functions["f"].Reserved = &faas.Amount{Unit: faas.UnitMemoryMB, Value: 1280}
	q.use = Usage{
		Account: AccountUse{MemoryMB: 640, Executions: 6, Starts: 5},
		Functions: map[faas.FunctionID]FunctionUse{
			function("gone"): {Executions: 1},
			function("f"):    {Executions: 5, Instances: 4, MemoryMB: 512, Guaranteed: &faas.Amount{Unit: faas.UnitMemoryMB, Value: 640}},
		},
	}
	q.provisioned["g"] = []*faas.Provisioned{{Qualifier: "1"}}
	a := newQuotaAPI(q)
	out := decode[AccountQuotas](t, send(a, "PATCH", "quotas", `{"memoryMB":256000,"functionMaximum":0}`), 200)
	want := faas.AccountLimits{MemoryMB: 256_000, Executions: 1000, FunctionMaximum: 0, Expansion: 500}
	if out.Limits != want || q.limits != want {
		t.Errorf("the limits are %+v and %+v", out.Limits, q.limits)
	}
	out = decode[AccountQuotas](t, send(a, "GET", "quotas", ""), 200)
	if out.Limits != want || out.Unreserved != (Unreserved{100_000, 900}) || out.Use != q.use.Account || out.Account != "000000000000" || out.Region != "us-east-1" {
		t.Errorf("the account has %+v", out)
	}
	// A function that is deleted while its last calls go on is in use all the same;
	// one whose provisioned concurrency wants nothing now has a quota all the same.
	if len(out.Functions) != 3 || out.Functions[0].Name != "f" || out.Functions[1].Name != "g" || out.Functions[2].Name != "gone" ||
		out.Functions[0].Reserved.Value != 1280 || out.Functions[0].Use.Guaranteed.Value != 640 ||
		len(out.Functions[1].Provisioned) != 1 || out.Functions[2].Use.Executions != 1 {
		t.Errorf("the functions are %+v", out.Functions)
	}
}

func TestFunctionQuotas(t *testing.T) {
	q := newQuotas()
	a := newQuotaAPI(q)
	out := decode[FunctionQuotas](t, send(a, "PUT", "functions/f/quota/reserved", `{"unit":"MB","value":0}`), 200)
	if out.Reserved == nil || *out.Reserved != (faas.Amount{Unit: faas.UnitMemoryMB}) || out.Maximum != nil {
		t.Errorf("reserved 0 MB: %+v", out)
	}
	out = decode[FunctionQuotas](t, send(a, "PUT", "functions/f/quota/maximum", `{"value":0}`), 200)
	if out.Maximum == nil || *out.Maximum != 0 {
		t.Errorf("no maximum: %+v", out)
	}
	for _, what := range []string{"reserved", "maximum"} {
		if w := send(a, "DELETE", "functions/f/quota/"+what, ""); w.Code != 204 || w.Body.Len() > 0 {
			t.Errorf("delete %s: %d %s", what, w.Code, w.Body)
		}
	}
	out = decode[FunctionQuotas](t, send(a, "GET", "functions/f/quota", ""), 200)
	if out.Reserved != nil || out.Maximum != nil || out.Name != "f" || out.Namespace != "default" {
		t.Errorf("after deletion: %+v", out)
	}
}

func TestProvisioned(t *testing.T) {
	q := newQuotas()
	a := newQuotaAPI(q)
	out := decode[Provisioned](t, send(a, "PUT", "functions/f/provisioned/live", `{"amount":{"unit":"instances","value":3}}`), 202)
	if out.Qualifier != "live" || out.Function != "f" || out.Instances != 3 || out.Status.Available != 1 || out.Status.State != faas.ProvisionedInProgress {
		t.Errorf("put answered %+v", out)
	}
	body := `{"schedules":[{"name":"day","cron":"0 8 * * *","timeZone":"Europe/Berlin","instances":9}],"tracking":{"target":0.7,"min":1,"max":5}}`
	out = decode[Provisioned](t, send(a, "PUT", "functions/f/provisioned/1", body), 202)
	if out.Amount != (faas.Amount{Unit: faas.UnitInstances}) || len(out.Schedules) != 1 || out.Schedules[0].Cron != "0 8 * * *" || out.Tracking.Max != 5 {
		t.Errorf("put answered %+v", out)
	}
	decode[Provisioned](t, send(a, "PUT", "functions/g/provisioned/live", `{"amount":{"unit":"MB","value":256}}`), 202)
	if got := decode[Provisioned](t, send(a, "GET", "functions/f/provisioned/live", ""), 200); got.Amount.Value != 3 {
		t.Errorf("get answered %+v", got)
	}
	for path, want := range map[string]string{"functions/f/provisioned": "f:live f:1", "provisioned": "f:1 f:live g:live"} {
		var got []string
		for _, p := range decode[[]Provisioned](t, send(a, "GET", path, ""), 200) {
			got = append(got, p.Function+":"+p.Qualifier)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s lists %v, want %s", path, got, want)
		}
	}
	if quota := decode[FunctionQuotas](t, send(a, "GET", "functions/f/quota", ""), 200); len(quota.Provisioned) != 2 {
		t.Errorf("the function's quotas are %+v", quota)
	}
	if w := send(a, "DELETE", "functions/f/provisioned/1", ""); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	if w := send(a, "GET", "functions/g/provisioned", ""); w.Code != 200 || w.Body.String() == "null\n" {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
}

func TestQuotaRefusals(t *testing.T) {
	beyond := faas.Errorf(faas.CodeInvalid, "reserved", "no room")
	for _, test := range []struct {
		name, method, path, body string
		err                      error
		status                   int
		code                     faas.ErrorCode
		subject                  string
	}{
		{"no unit", "PUT", "functions/f/quota/reserved", `{"value":1}`, nil, 400, faas.CodeInvalid, "unit"},
		{"no value is not 0", "PUT", "functions/f/quota/reserved", `{"unit":"MB"}`, nil, 400, faas.CodeInvalid, "value"},
		{"misspelt", "PUT", "functions/f/quota/reserved", `{"unit":"MB","values":1}`, nil, 400, faas.CodeInvalidBody, "values"},
		{"not a number", "PUT", "functions/f/quota/reserved", `{"unit":"MB","value":"much"}`, nil, 400, faas.CodeInvalidBody, "value"},
		{"a fraction", "PUT", "functions/f/quota/reserved", `{"unit":"MB","value":1.5}`, nil, 400, faas.CodeInvalidBody, "value"},
		{"empty", "PUT", "functions/f/quota/reserved", "", nil, 400, faas.CodeInvalidBody, "body"},
		{"beyond the account", "PUT", "functions/f/quota/reserved", `{"unit":"MB","value":1}`, beyond, 400, faas.CodeInvalid, "reserved"},
		{"no such function", "PUT", "functions/h/quota/reserved", `{"unit":"MB","value":1}`, nil, 404, faas.CodeNotFound, "h"},
		{"no maximum", "PUT", "functions/f/quota/maximum", `{}`, nil, 400, faas.CodeInvalid, "value"},
		{"unknown limit", "PATCH", "quotas", `{"memory":1}`, nil, 400, faas.CodeInvalidBody, "memory"},
		{"two documents", "PATCH", "quotas", `{}{}`, nil, 400, faas.CodeInvalidBody, "body"},
		{"no amount", "PUT", "functions/f/provisioned/1", `{}`, nil, 400, faas.CodeInvalid, "amount"},
		{"half an amount", "PUT", "functions/f/provisioned/1", `{"amount":{"unit":"MB"}}`, nil, 400, faas.CodeInvalid, "value"},
		{"unknown in a schedule", "PUT", "functions/f/provisioned/1", `{"schedules":[{"at":"noon"}]}`, nil, 400, faas.CodeInvalidBody, "at"},
		{"none there", "GET", "functions/f/provisioned/1", "", nil, 404, faas.CodeNotFound, "1"},
		{"none to delete", "DELETE", "functions/f/provisioned/1", "", nil, 404, faas.CodeNotFound, "1"},
		{"no such function's", "GET", "functions/h/provisioned", "", nil, 404, faas.CodeNotFound, "h"},
		{"a region that is none", "GET", "quotas?region=a/b", "", nil, 400, faas.CodeInvalid, "region"},
		{"too large", "PATCH", "quotas", strings.Repeat(" ", maxSettings+1), nil, 413, faas.CodeTooLarge, "body"},
		{"a fraction of a limit", "PATCH", "quotas", `{"expansion":1.5}`, nil, 400, faas.CodeInvalidBody, "expansion"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newQuotas()
			q.err = test.err
			out := decode[Error](t, send(newQuotaAPI(q), test.method, test.path, test.body), test.status)
			if out.Error.Code != test.code || out.Error.Subject != test.subject || out.Error.Message == "" {
				t.Errorf("the error is %+v", out.Error)
			}
			if q.functions["f"].Reserved != nil || len(q.provisioned) > 0 && len(q.provisioned["f"]) > 0 {
				t.Error("something changed all the same")
			}
		})
	}
}

// What a field must be is said in JSON's words.
func TestWrongTypesAreNamed(t *testing.T) {
	for body, want := range map[string]string{
		`{"expansion":1.5}`:  "expansion must be a whole number, not number 1.5",
		`{"expansion":"x"}`:  "expansion must be a whole number, not string",
		`{"executions":[1]}`: "executions must be a whole number, not array",
	} {
		out := decode[Error](t, send(newQuotaAPI(newQuotas()), "PATCH", "quotas", body), 400)
		if out.Error.Message != want {
			t.Errorf("%s: %q, want %q", body, out.Error.Message, want)
		}
	}
}

// A throttle tells programs as well which limit it was.
func TestThrottleCarriesItsRefusal(t *testing.T) {
	refusal := &faas.Refusal{Limit: faas.LimitReserved, Unit: faas.UnitExecutions, Value: 5, Use: 5, Subject: "f", Raise: "reserve more"}
	b := &backend{err: &faas.Error{Code: faas.CodeThrottled, Subject: string(refusal.Limit), Message: "5 of 5", Cause: refusal}}
	w := send(newAPI(b), "POST", "functions/f/invoke", "{}")
	out := decode[Error](t, w, 429)
	if out.Error.Refusal == nil || *out.Error.Refusal != *refusal || w.Header().Get("Retry-After") == "" {
		t.Errorf("answered %v %s", w.Header(), w.Body)
	}
	w = httptest.NewRecorder()
	writeError(w, newAPI(b).Logger, faas.Errorf(faas.CodeInvalid, "name", "wrong"))
	if strings.Contains(w.Body.String(), "refusal") {
		t.Errorf("an error of another kind has one: %s", w.Body)
	}
}

// No body makes a server error, and none that is refused changes anything.
func FuzzQuotaBodies(f *testing.F) {
	for _, body := range []string{"", "{}", "null", `{"unit":"MB","value":1}`, `{"unit":null,"value":0}`, `{"value":1e99}`, `{"amount":{}}`,
		`{"amount":{"unit":"instances","value":1},"schedules":[{"instances":-1}],"tracking":{"target":1e308}}`, `{"memoryMB":-1}`, "[]", `{"value":1}x`} {
		for route := range quotaChanges {
			f.Add(route, body)
		}
	}
	f.Fuzz(func(t *testing.T, route int, body string) {
		if route < 0 || route >= len(quotaChanges) {
			return
		}
		q := newQuotas()
		method, path, _ := strings.Cut(quotaChanges[route], " ")
		w := send(newQuotaAPI(q), method, path, body)
		changed := q.functions["f"].Reserved != nil || q.functions["f"].Maximum != nil || len(q.provisioned["f"]) > 0 || q.limits != faas.DefaultAccountLimits()
		if w.Code >= 500 || w.Code >= 300 && changed {
			t.Errorf("%s with %q: %d %s, changed %v", quotaChanges[route], body, w.Code, w.Body, changed)
		}
	})
}

var quotaChanges = []string{"PATCH quotas", "PUT functions/f/quota/reserved", "PUT functions/f/quota/maximum", "PUT functions/f/provisioned/1"}
