package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestServerFindings(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		want         []finding
	}{
		{"nothing", `{"losses":[]}`, []finding{{Area: "server", Name: "stored events", OK: true, Detail: "nothing was found damaged"}}},
		{"damage", `{"losses":[{"at":"2026-11-28T01:02:03Z","what":"page 7 cannot be read","events":3,"requestIds":["a","b"]}]}`,
			[]finding{{Area: "server", Name: "stored events", Detail: "page 7 cannot be read; events lost: 3, of them a b"}}},
		{"not Hearth", `<html>`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/hearth/v1/losses" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.Write([]byte(test.answer))
			}))
			defer server.Close()
			got := serverFindings(t.Context(), newClient(values{"server": server.URL}))
			if len(got) != len(test.want) {
				t.Fatalf("%+v", got)
			}
			for i, f := range got {
				want := test.want[i]
				if f.Area != want.Area || f.Name != want.Name || f.OK != want.OK || !strings.Contains(f.Detail, want.Detail) || f.OK == (f.Fix != "") {
					t.Errorf("%+v, want %+v", f, want)
				}
			}
		})
	}
	if got := serverFindings(t.Context(), newClient(values{"server": "http://127.0.0.1:1"})); got != nil {
		t.Errorf("without a server: %+v", got)
	}
}
