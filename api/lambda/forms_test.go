package lambda

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// request is how a test calls an operation on the function f so that it succeeds.
type request struct {
	query string
	body  string
	// version is what has to be named, where that is not the function: 1 or live.
	qualifier string
	// whole is an operation on a function as a whole: no version in its name.
	whole bool
	// beside is an operation whose qualifier has to be beside the name.
	beside bool
	// unchecked is one that the fake invoker answers, whatever the function.
	unchecked bool
}

// requests has every operation with a function in its path that is served. The test
// below fails where one is missing.
var requests = map[string]request{
	"AddPermission":                      {body: `{"StatementId":"s","Action":"lambda:InvokeFunction","Principal":"s3.amazonaws.com"}`, qualifier: "live"},
	"CreateAlias":                        {body: `{"Name":"new","FunctionVersion":"1"}`, whole: true},
	"CreateFunctionUrlConfig":            {body: `{"AuthType":"NONE"}`, qualifier: "live"},
	"DeleteAlias":                        {whole: true},
	"DeleteFunction":                     {qualifier: "2"},
	"DeleteFunctionCodeSigningConfig":    {whole: true},
	"DeleteFunctionConcurrency":          {whole: true},
	"DeleteFunctionEventInvokeConfig":    {qualifier: "live"},
	"DeleteFunctionUrlConfig":            {qualifier: "url"},
	"DeleteProvisionedConcurrencyConfig": {qualifier: "live", beside: true},
	"GetAlias":                           {whole: true},
	"GetFunction":                        {qualifier: "live"},
	"GetFunctionCodeSigningConfig":       {whole: true},
	"GetFunctionConcurrency":             {whole: true},
	"GetFunctionConfiguration":           {qualifier: "1"},
	"GetFunctionEventInvokeConfig":       {qualifier: "live"},
	"GetFunctionRecursionConfig":         {whole: true},
	"GetFunctionUrlConfig":               {qualifier: "url"},
	"GetPolicy":                          {qualifier: "1"},
	"GetProvisionedConcurrencyConfig":    {qualifier: "live", beside: true},
	"GetRuntimeManagementConfig":         {qualifier: "1"},
	"Invoke":                             {body: `{}`, qualifier: "live", unchecked: true},
	"InvokeAsync":                        {body: `{}`, unchecked: true},
	"ListAliases":                        {whole: true},
	"ListDurableExecutionsByFunction":    {qualifier: "1"},
	"ListFunctionEventInvokeConfigs":     {whole: true},
	"ListFunctionUrlConfigs":             {whole: true},
	"ListProvisionedConcurrencyConfigs":  {query: "List=ALL", whole: true},
	"ListVersionsByFunction":             {whole: true},
	"PublishVersion":                     {body: `{}`, whole: true},
	"PutFunctionConcurrency":             {body: `{"ReservedConcurrentExecutions":5}`, whole: true},
	"PutFunctionEventInvokeConfig":       {body: `{"MaximumRetryAttempts":1}`, qualifier: "1"},
	"PutFunctionRecursionConfig":         {body: `{"RecursiveLoop":"Allow"}`, whole: true},
	"PutProvisionedConcurrencyConfig":    {body: `{"ProvisionedConcurrentExecutions":1}`, qualifier: "2", beside: true},
	"PutRuntimeManagementConfig":         {body: `{"UpdateRuntimeOn":"Auto"}`, qualifier: "1"},
	"RemovePermission":                   {qualifier: "1"},
	"UpdateAlias":                        {body: `{"Description":"d"}`, whole: true},
	"UpdateFunctionCode":                 {body: `{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}`, whole: true},
	"UpdateFunctionConfiguration":        {body: `{"Description":"d"}`, whole: true},
	"UpdateFunctionEventInvokeConfig":    {body: `{"MaximumRetryAttempts":1}`, qualifier: "live"},
	"UpdateFunctionUrlConfig":            {body: `{"AuthType":"NONE"}`, qualifier: "url"},
	// Served, and not on any function: as Lambda, without a capacity provider.
	"GetFunctionScalingConfig": {}, "PutFunctionScalingConfig": {},
	// What it names is never there.
	"PutFunctionCodeSigningConfig": {},
}

// prepare makes the function f with version 1, the alias live of it, and what the
// requests are about.
func prepare(t *testing.T, w *realWorld) {
	t.Helper()
	functions := "/2015-03-31/functions"
	for _, r := range []struct{ method, path, body string }{
		{"POST", functions, `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::123456789012:role/r","Publish":true,"Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`},
		{"PUT", functions + "/f/configuration", `{"Description":"second"}`},
		{"POST", functions + "/f/versions", `{}`},
		{"POST", functions + "/f/aliases", `{"Name":"live","FunctionVersion":"1"}`},
		{"POST", functions + "/f/aliases", `{"Name":"url","FunctionVersion":"1"}`},
		{"POST", functions + "/f/policy?Qualifier=1", `{"StatementId":"s1","Action":"lambda:InvokeFunction","Principal":"s3.amazonaws.com"}`},
		{"POST", "/2021-10-31/functions/f/url?Qualifier=url", `{"AuthType":"NONE"}`},
		{"PUT", "/2019-09-25/functions/f/event-invoke-config?Qualifier=live", `{"MaximumRetryAttempts":0}`},
		{"PUT", "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=live", `{"ProvisionedConcurrentExecutions":1}`},
	} {
		w.settle(t)
		if got := send(w, r.method, r.path, strings.NewReader(r.body)); got.Code >= 300 {
			t.Fatalf("%s %s: %d %s", r.method, r.path, got.Code, got.Body)
		}
	}
	w.settle(t)
}

// call sends an operation with a name in its path.
func (r request) call(w http.Handler, op *operation, name, qualifier string) *httptest.ResponseRecorder {
	path := strings.NewReplacer("{FunctionName}", url.PathEscape(name), "{Name}", "live", "{StatementId}", "s1").Replace(op.path)
	query := r.query
	if qualifier != "" {
		query += "&Qualifier=" + url.QueryEscape(qualifier)
	}
	return send(w, op.method, path+"?"+strings.TrimPrefix(query, "&"), strings.NewReader(r.body))
}

// Every operation takes a function in every form that Lambda takes, the qualifier
// in the name or beside it, and says the same of one that is not there.
func TestEveryFormOfAName(t *testing.T) {
	w := newRealWorld(t)
	for i := range operations {
		op := &operations[i]
		_, served := w.endpoints[op.name]
		served = served || op.name == opInvoke || op.name == opInvokeAsync
		if !strings.Contains(op.path, "{FunctionName}") || !served {
			continue
		}
		r, ok := requests[op.name]
		if !ok {
			t.Errorf("%s has no request in this test", op.name)
			continue
		}
		if r != (request{}) {
			t.Run(op.name, func(t *testing.T) { everyForm(t, op, r) })
		}
	}
}

func everyForm(t *testing.T, op *operation, r request) {
	const partial, arn = "123456789012:function:f", "arn:aws:lambda:us-east-1:123456789012:function:f"
	type form struct{ name, qualifier string }
	forms := []form{{"f", r.qualifier}, {"function:f", r.qualifier}, {partial, r.qualifier}, {arn, r.qualifier}}
	if r.qualifier != "" {
		for _, name := range []string{"f", partial, arn} {
			forms = append(forms, form{name + ":" + r.qualifier, r.qualifier})
			if !r.beside {
				forms = append(forms, form{name + ":" + r.qualifier, ""})
			}
		}
	}
	for _, form := range forms {
		w := newRealWorld(t)
		prepare(t, w)
		got := r.call(w, op, form.name, form.qualifier)
		if got.Code >= 300 {
			t.Errorf("%+v: %d %s", form, got.Code, got.Body)
		}
		if got.Body.Len() > 0 && !json.Valid(got.Body.Bytes()) {
			t.Errorf("%+v: %s", form, got.Body)
		}
	}
	if r.unchecked {
		return
	}
	w := newRealWorld(t)
	prepare(t, w)
	for _, c := range []struct {
		form   form
		status []int
	}{
		{form{"nobody", r.qualifier}, []int{404, 400}},
		{form{"f:live", "1"}, []int{400}}, // two qualifiers
		{form{"a b", ""}, []int{400}},
		{form{"f:none", ""}, []int{404, 400}},
		{form{"arn:aws:lambda:eu-west-1:123456789012:function:f", r.qualifier}, []int{404, 400}},
		{form{"arn:aws:lambda:us-east-1:000000000001:function:f", r.qualifier}, []int{403, 404}},
		{form{strings.Repeat("n", 141), ""}, []int{400}},
	} {
		if c.form.qualifier == "1" && r.whole {
			continue // it has no qualifier beside the name
		}
		got := r.call(w, op, c.form.name, c.form.qualifier)
		deleted := strings.HasPrefix(op.name, "Delete") && got.Code == 204 // what is not there is deleted, here and there
		if !slices.Contains(c.status, got.Code) && !deleted {
			t.Errorf("%.60s %s: %d %s, want %v", c.form.name, c.form.qualifier, got.Code, got.Body, c.status)
		}
		if got.Code >= 400 && got.Header()[headerErrorType] == nil {
			t.Errorf("%+v: no error type", c.form)
		}
	}
}
