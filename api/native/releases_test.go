package native

import (
	"slices"
	"testing"
)

func TestAliases(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		calls              []string
	}{
		{"GET", "aliases", "", 200, nil},
		{"PUT", "aliases/live", `{"version":"1"}`, 200, []string{"UpdateAlias"}},
		{"PUT", "aliases/live", `{"weights":{}}`, 200, []string{"UpdateAlias"}},
		{"PUT", "aliases/new", `{"version":"1","weights":{"2":0.5}}`, 201, []string{"CreateAlias"}},
		{"PUT", "aliases/new", `{"description":"no version"}`, 404, nil},
		{"PUT", "aliases/new", `{"versoin":"1"}`, 400, nil},
		{"DELETE", "aliases/live", "", 204, []string{"DeleteAlias"}},
		{"POST", "versions", `{"description":"d"}`, 201, []string{"Publish"}},
		{"GET", "versions", "", 200, nil},
	} {
		b := &backend{version: existing()}
		got := send(newAPI(b), c.method, "functions/f/"+c.path, c.body)
		if got.Code != c.status || !slices.Equal(b.calls, c.calls) {
			t.Errorf("%s %s %s: %d %s, calls %v", c.method, c.path, c.body, got.Code, got.Body, b.calls)
		}
	}
}
