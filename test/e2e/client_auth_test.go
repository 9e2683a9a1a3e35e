package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestSignedClients has each client work with a server that verifies, by the
// function's ARN as well, and learn why it is refused.
func TestSignedClients(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := Serve(t, "--region", testRegion)
	python := languages[1]
	for _, c := range []struct {
		name string
		new  newClient
	}{
		{"aws-sdk-go-v2", newGoClient},
		{"aws-cli", newCLIClient},
		{"client-lambda", newJSClient},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &life{t: t, ctx: ctx, client: c.new(t, s), name: "signed-" + c.name, lang: python}
			_, err := f.client.create(ctx, function{name: f.name, runtime: python.runtime(t, s), handler: python.handler, zip: python.zip(t, "one")})
			f.ok("create", err)
			f.ok("wait until active", f.client.waitActive(ctx, f.name))
			a, err := f.client.invoke(ctx, "arn:aws:lambda:"+testRegion+":000000000000:function:"+f.name, "$LATEST", `{"a":"b c+d/é"}`)
			if f.ok("invoke by ARN", err); a.functionError != "" || !strings.Contains(a.payload, `"one"`) {
				t.Errorf("it answered %+v", a)
			}
			names, err := f.client.list(ctx)
			if f.ok("list", err); !slices.Contains(names, f.name) {
				t.Errorf("the list has %v", names)
			}
			for code, changed := range map[string]Server{
				"UnrecognizedClientException": {URL: s.URL, KeyID: "HEARTHNOBODY", Secret: s.Secret},
				"InvalidSignatureException":   {URL: s.URL, KeyID: s.KeyID, Secret: s.Secret + "x"},
			} {
				stranger := c.new(t, &changed)
				if _, err := stranger.list(ctx); stranger.errorCode(err) != code {
					t.Errorf("want %s, got %v", code, err)
				}
			}
			f.ok("delete", f.client.remove(ctx, f.name))
		})
	}
	for path, status := range map[string]int{
		"/healthz": 200, "/metrics": 200, "/2015-03-31/functions": 403, "/hearth/v1/status": 403, "/": 403, "/hearth/v1/../v1/status": 403,
	} {
		answer, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if kind := answer.Header.Get("Content-Type"); answer.StatusCode != status || strings.Contains(kind, "html") {
			t.Errorf("%s without a signature: %s, %s", path, answer.Status, kind)
		}
	}
	if _, err := s.Run(ctx, t, "list", "--region", testRegion); err != nil {
		t.Errorf("the command line with the first key: %v", err)
	}
	// By way of a proxy it is somebody else who asks for the metrics.
	for password, status := range map[string]int{"": 401, s.Secret: 200, s.Secret + "x": 401} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Forwarded-For", "192.0.2.1")
		if password != "" {
			request.SetBasicAuth(s.KeyID, password)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != status {
			t.Errorf("metrics with the password %q: %s", fmt.Sprintf("%.3s…", password), answer.Status)
		}
	}
}
