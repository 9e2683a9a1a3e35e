package native

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"hearth/auth"
	"hearth/engine/fake"
)

// guarded is an API over a store of keys, with an administrator's.
func guarded(t *testing.T) (*API, *auth.Store, auth.Credentials) {
	t.Helper()
	now := func() time.Time { return noon }
	store, err := auth.Open(t.Context(), auth.StoreOptions{Meta: fake.New().Meta(), Dir: t.TempDir(), Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	_, admin, err := store.Create(t.Context(), auth.NewKey{Account: "000000000000", Name: "root", Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{version: existing()}
	return New(Options{Registry: b, Invoker: b, Instances: b, Logs: b, Runtimes: catalogue{}, Keys: store,
		Auth: auth.NewVerifier(auth.VerifierOptions{Keys: store, Clock: now}), Region: "us-east-1", Now: now}), store, admin
}

func sendAs(a *API, c auth.Credentials, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/hearth/v1/"+path, strings.NewReader(body))
	auth.Sign(r, []byte(body), c, "us-east-1", "hearth", noon)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func TestKeysOfAnAdministrator(t *testing.T) {
	a, _, admin := guarded(t)
	made := decode[NewKey](t, sendAs(a, admin, "POST", "keys", `{"name":"ci","account":"123456789012","lifetime":60,
		"policy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"*"}]}}`), 201)
	if made.Credentials.Secret == "" || made.Credentials.Token == "" || made.Account != "123456789012" || !made.Expires.Equal(noon.Add(time.Minute)) {
		t.Errorf("made %+v", made.Key)
	}
	list := sendAs(a, admin, "GET", "keys", "")
	if all := decode[KeyList](t, list, 200); len(all.Keys) != 2 || all.Keys[1].Name != "ci" || all.Keys[0].LastUsed.IsZero() {
		t.Errorf("listed %+v", all)
	}
	if one := decode[auth.Key](t, sendAs(a, admin, "GET", "keys/"+made.ID, ""), 200); one.ID != made.ID || one.Policy == nil {
		t.Errorf("got %+v", one)
	}
	for _, secret := range []string{made.Credentials.Secret, made.Credentials.Token, admin.Secret} {
		if strings.Contains(list.Body.String(), secret) {
			t.Error("the list has a secret")
		}
	}
	if w := sendAs(a, made.Credentials, "POST", "functions/f/invoke", "{}"); w.Code != 200 {
		t.Errorf("what the policy allows: %d %s", w.Code, w.Body)
	}
	for path, action := range map[string]string{"functions/f": "lambda:GetFunction", "keys": "hearth:ListKeys"} {
		refused := decode[Error](t, sendAs(a, made.Credentials, "GET", path, ""), 403)
		if !strings.Contains(refused.Error.Message, "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: "+action) {
			t.Errorf("%s: %s", path, refused.Error.Message)
		}
	}
	if key := decode[auth.Key](t, sendAs(a, admin, "PATCH", "keys/"+made.ID, `{"disabled":true}`), 200); !key.Disabled {
		t.Error("it is not disabled")
	}
	if w := sendAs(a, made.Credentials, "POST", "functions/f/invoke", "{}"); w.Code != 403 {
		t.Errorf("a disabled key: %d", w.Code)
	}
	if w := sendAs(a, admin, "DELETE", "keys/"+made.ID, ""); w.Code != 204 {
		t.Errorf("deleted: %d %s", w.Code, w.Body)
	}
	for request, code := range map[string]int{
		"DELETE keys/" + made.ID: 404, "GET keys/" + made.ID: 404, "DELETE keys/" + admin.KeyID: 409, "PATCH keys/" + admin.KeyID: 400,
	} {
		method, path, _ := strings.Cut(request, " ")
		if w := sendAs(a, admin, method, path, map[string]string{"PATCH": `{}`}[method]); w.Code != code {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
	for _, body := range []string{`{"account":"1"}`, `{"name":"/"}`, `{"lifetime":-1}`, `{"policy":{}}`, `{"secret":"mine"}`, `[]`, ``} {
		if w := sendAs(a, admin, "POST", "keys", body); w.Code != 400 && body != "" {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// TestCallersOfTheNativeAPI has the words for who is refused before anything is looked at.
func TestCallersOfTheNativeAPI(t *testing.T) {
	a, _, admin := guarded(t)
	unsigned := httptest.NewRequest("GET", "/hearth/v1/functions", nil)
	foreign := httptest.NewRequest("GET", "/hearth/v1/functions", nil)
	auth.Sign(foreign, nil, auth.Credentials{KeyID: "AKIDOFAWS", Secret: "x"}, "us-east-1", "hearth", noon)
	changed := httptest.NewRequest("GET", "/hearth/v1/functions", nil)
	auth.Sign(changed, nil, admin, "us-east-1", "hearth", noon)
	changed.URL.RawQuery = "max=1"
	region := httptest.NewRequest("GET", "/hearth/v1/functions?region=eu-west-1", nil)
	auth.Sign(region, nil, admin, "us-east-1", "hearth", noon)
	lambda := httptest.NewRequest("GET", "/hearth/v1/functions", nil)
	auth.Sign(lambda, nil, admin, "us-east-1", "lambda", noon)
	nowhere := httptest.NewRequest("GET", "/hearth/v1/nowhere", nil)
	for name, c := range map[string]struct {
		r    *http.Request
		says string
	}{
		"unsigned":        {unsigned, "HEARTH_ACCESS_KEY_ID"},
		"unsigned, 404":   {nowhere, "HEARTH_ACCESS_KEY_ID"},
		"unknown key":     {foreign, "there is no key with this id"},
		"changed":         {changed, "does not match the signature you provided"},
		"another region":  {region, `for the region "eu-west-1" and its signature for "us-east-1"`},
		"another service": {lambda, "correct service: 'hearth'"},
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, c.r)
		refused := decode[Error](t, w, 403)
		if !strings.Contains(refused.Error.Message, c.says) || strings.Contains(refused.Error.Message, "\n") {
			t.Errorf("%s: %s", name, refused.Error.Message)
		}
	}
	if w := sendAs(a, admin, "GET", "functions?region=us-east-1", ""); w.Code != 200 {
		t.Errorf("the same region: %d %s", w.Code, w.Body)
	}
}

// TestEveryRouteHasAnAction reads the routes from the source: a route without one
// answers nobody.
func TestEveryRouteHasAnAction(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`\ba\.route\("([^"]+)"`)
	routes := map[string]bool{anyPath: true}
	for _, file := range files {
		if text, err := os.ReadFile(file.Name()); err == nil && !strings.HasSuffix(file.Name(), "_test.go") {
			for _, found := range pattern.FindAllSubmatch(text, -1) {
				routes[string(found[1])] = true
			}
		}
	}
	for route := range routes {
		if _, known := actions[route]; !known {
			t.Errorf("%s has no action", route)
		}
	}
	for route := range actions {
		if !routes[route] {
			t.Errorf("there is no route %s", route)
		}
	}
	if len(routes) < 40 {
		t.Errorf("only %d routes found", len(routes))
	}
}

func FuzzKeyRequest(f *testing.F) {
	f.Add([]byte(`{"policy":{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"a":"true"}}}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var in KeyRequest
		if json.NewDecoder(io.LimitReader(bytes.NewReader(body), 1<<16)).Decode(&in) != nil {
			return
		}
		key, err := in.Key(noon)
		if err == nil && key.Policy != nil && key.Policy.Check() != nil {
			t.Error("a policy that is none was taken")
		}
	})
}
