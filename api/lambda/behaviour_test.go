package lambda

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// lists are the operations with pages: where their elements are in the answer, and
// what names each.
var lists = map[string]struct{ path, query, member, key string }{
	"ListFunctions":                     {"/2015-03-31/functions/", "FunctionVersion=ALL", "Functions", "FunctionArn"},
	"ListVersionsByFunction":            {"/2015-03-31/functions/f/versions", "", "Versions", "Version"},
	"ListAliases":                       {"/2015-03-31/functions/f/aliases", "", "Aliases", "Name"},
	"ListLayers":                        {"/2018-10-31/layers", "", "Layers", "LayerName"},
	"ListLayerVersions":                 {"/2018-10-31/layers/l/versions", "", "LayerVersions", "Version"},
	"ListEventSourceMappings":           {"/2015-03-31/event-source-mappings", "", "EventSourceMappings", "UUID"},
	"ListFunctionEventInvokeConfigs":    {"/2019-09-25/functions/f/event-invoke-config/list", "", "FunctionEventInvokeConfigs", "FunctionArn"},
	"ListFunctionUrlConfigs":            {"/2021-10-31/functions/f/urls", "", "FunctionUrlConfigs", "FunctionArn"},
	"ListProvisionedConcurrencyConfigs": {"/2019-09-30/functions/f/provisioned-concurrency", "List=ALL", "ProvisionedConcurrencyConfigs", "FunctionArn"},
}

// Every list comes in pages that hold each element once, in the order of the whole
// list, and refuses markers and sizes that are none.
func TestPages(t *testing.T) {
	w := newRealWorld(t)
	prepare(t, w)
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/2015-03-31/event-source-mappings", `{"FunctionName":"f","EventSourceArn":"arn:aws:sqs:us-east-1:123456789012:a"}`},
		{"POST", "/2015-03-31/event-source-mappings", `{"FunctionName":"f","EventSourceArn":"arn:aws:sqs:us-east-1:123456789012:b"}`},
		{"POST", "/2018-10-31/layers/l/versions", `{"Content":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`},
		{"POST", "/2018-10-31/layers/l/versions", `{"Content":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`},
		{"POST", "/2018-10-31/layers/m/versions", `{"Content":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`},
		{"PUT", "/2019-09-25/functions/f/event-invoke-config?Qualifier=1", `{"MaximumRetryAttempts":0}`},
		{"PUT", "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=2", `{"ProvisionedConcurrentExecutions":1}`},
		{"POST", "/2021-10-31/functions/f/url?Qualifier=live", `{"AuthType":"NONE"}`},
	} {
		if got := send(w, r.method, r.path, strings.NewReader(r.body)); got.Code >= 300 {
			t.Fatalf("%s %s: %d %s", r.method, r.path, got.Code, got.Body)
		}
	}
	for name, l := range lists {
		page := func(query string) (keys []string, next string) {
			t.Helper()
			got := send(w, "GET", l.path+"?"+strings.Trim(l.query+"&"+query, "&"), nil)
			var body map[string]json.RawMessage
			var items []map[string]any
			if got.Code != 200 || json.Unmarshal(got.Body.Bytes(), &body) != nil || json.Unmarshal(body[l.member], &items) != nil {
				t.Fatalf("%s?%s: %d %s", l.path, query, got.Code, got.Body)
			}
			for _, item := range items {
				keys = append(keys, fmt.Sprint(item[l.key]))
			}
			if body["NextMarker"] != nil && json.Unmarshal(body["NextMarker"], &next) != nil {
				t.Fatalf("%s: marker %s", name, body["NextMarker"])
			}
			return keys, next
		}
		whole, next := page("")
		if len(whole) < 2 || next != "" {
			t.Errorf("%s has %v and the marker %q", name, whole, next)
		}
		var all []string
		marker := ""
		for {
			keys, next := page("MaxItems=1&Marker=" + url.QueryEscape(marker))
			all = append(all, keys...)
			if marker = next; marker == "" || len(all) > len(whole) {
				break
			}
		}
		if !slices.Equal(all, whole) {
			t.Errorf("%s: page by page %v, at once %v", name, all, whole)
		}
		for _, query := range []string{"Marker=%00", "Marker=!", "MaxItems=0", "MaxItems=10001", "MaxItems=x"} {
			if got := send(w, "GET", l.path+"?"+strings.Trim(l.query+"&"+query, "&"), nil); got.Code != 400 {
				t.Errorf("%s?%s: %d %s", name, query, got.Code, got.Body)
			}
		}
	}
	for _, op := range operations {
		if strings.HasPrefix(op.name, "List") && lists[op.name].path == "" && slices.ContainsFunc(op.input.members, func(m member) bool { return m.name == "Marker" }) {
			if e, served := w.endpoints[op.name]; served && e.input != nil {
				t.Errorf("%s has pages and is not in this test", op.name)
			}
		}
	}
}

// revisionState is the part of an answer that TestRevisions looks at.
type revisionState struct {
	RevisionId, State, StateReasonCode, LastUpdateStatus, LastUpdateStatusReasonCode, Version, FunctionArn string
}

// A revision id is another after every change and again when the change is done; one
// that is out of date refuses, and so does a change that is under way.
func TestRevisions(t *testing.T) {
	w := newRealWorld(t)
	do := func(method, path, body string, status int) revisionState {
		t.Helper()
		got := send(w, method, path, strings.NewReader(body))
		var d revisionState
		if got.Code != status || json.Unmarshal(got.Body.Bytes(), &d) != nil {
			t.Fatalf("%s %s: %d %s, want %d", method, path, got.Code, got.Body, status)
		}
		return d
	}
	const functions = "/2015-03-31/functions"
	seen := map[string]string{}
	fresh := func(when string, d revisionState) revisionState {
		t.Helper()
		if before, ok := seen[d.RevisionId]; ok || d.RevisionId == "" {
			t.Errorf("the revision id %q of %s was that of %s", d.RevisionId, when, before)
		}
		seen[d.RevisionId] = when
		return d
	}
	made := fresh("create", do("POST", functions, `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`, 201))
	if made.State != "Pending" || made.StateReasonCode != "Creating" || made.LastUpdateStatus != "" {
		t.Errorf("created: %+v", made)
	}
	w.settle(t)
	active := fresh("active", do("GET", functions+"/f/configuration", "", 200))
	if active.State != "Active" || active.StateReasonCode != "" || active.LastUpdateStatus != "Successful" {
		t.Errorf("active: %+v", active)
	}
	do("PUT", functions+"/f/configuration", `{"Timeout":4,"RevisionId":"`+made.RevisionId+`"}`, 412)
	do("PUT", functions+"/f/code", `{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==","RevisionId":"`+made.RevisionId+`"}`, 412)
	do("POST", functions+"/f/versions", `{"RevisionId":"`+made.RevisionId+`"}`, 412)
	changed := fresh("update", do("PUT", functions+"/f/configuration", `{"Timeout":4,"RevisionId":"`+active.RevisionId+`"}`, 200))
	if changed.State != "Active" || changed.LastUpdateStatus != "InProgress" || changed.LastUpdateStatusReasonCode != "Creating" {
		t.Errorf("updated: %+v", changed)
	}
	w.settle(t)
	done := fresh("updated", do("GET", functions+"/f/configuration", "", 200))
	if done.LastUpdateStatus != "Successful" || done.LastUpdateStatusReasonCode != "" {
		t.Errorf("done: %+v", done)
	}

	one := fresh("version 1", do("POST", functions+"/f/versions", `{}`, 201))
	if same := do("POST", functions+"/f/versions", `{}`, 201); same != one || same.Version != "1" || !strings.HasSuffix(same.FunctionArn, ":f:1") {
		t.Errorf("published without a change: %+v, then %+v", one, same)
	}
	if got := send(w, "DELETE", functions+"/f?Qualifier=1", nil); got.Code != 204 {
		t.Fatalf("delete version 1: %d %s", got.Code, got.Body)
	}
	if two := fresh("version 2", do("POST", functions+"/f/versions", `{}`, 201)); two.Version != "2" {
		t.Errorf("the number of a deleted version was given again: %+v", two)
	}
	alias := fresh("alias", do("POST", functions+"/f/aliases", `{"Name":"live","FunctionVersion":"2"}`, 201))
	fresh("alias moved", do("PUT", functions+"/f/aliases/live", `{"Description":"d","RevisionId":"`+alias.RevisionId+`"}`, 200))
	do("PUT", functions+"/f/aliases/live", `{"Description":"e","RevisionId":"`+alias.RevisionId+`"}`, 412)
}

// While an update is under way nothing else of the head changes.
func TestConflictsDuringUpdates(t *testing.T) {
	w := newRealWorld(t)
	block := make(chan struct{})
	w.packages.blockPrepare(block)
	const functions = "/2015-03-31/functions"
	create := `{"FunctionName":"f","Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}`
	expect := func(method, path, body string, status int, want string) {
		t.Helper()
		if got := send(w, method, path, strings.NewReader(body)); got.Code != status || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%s %s: %d %s, want %d %s", method, path, got.Code, got.Body, status, want)
		}
	}
	const pending = "The operation cannot be performed at this time. The function is currently in the following state: Pending"
	expect("POST", functions, create, 201, `"State":"Pending"`)
	expect("PUT", functions+"/f/configuration", `{"Timeout":4}`, 409, pending)
	expect("PUT", functions+"/f/code", `{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}`, 409, pending)
	expect("POST", functions+"/f/versions", `{}`, 409, pending)
	expect("POST", functions, create, 409, "Function already exist: f")
	close(block)
	w.settle(t)
	block = make(chan struct{})
	w.packages.blockPrepare(block)
	defer close(block)
	const updating = "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:us-east-1:123456789012:function:f"
	expect("PUT", functions+"/f/configuration", `{"Timeout":4}`, 200, `"LastUpdateStatus":"InProgress"`)
	expect("PUT", functions+"/f/configuration", `{"Timeout":5}`, 409, updating)
	expect("PUT", functions+"/f/code", `{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}`, 409, updating)
	expect("POST", functions+"/f/versions", `{}`, 409, updating)
	// What is not the head's goes on.
	expect("PUT", "/2017-10-31/functions/f/concurrency", `{"ReservedConcurrentExecutions":5}`, 200, "5")
	expect("GET", functions+"/f", "", 200, `"Timeout":4`)
}
