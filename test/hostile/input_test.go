package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	functionsPath = "/2015-03-31/functions"
	role          = "arn:aws:iam::000000000000:role/hostile"
)

// lambdaFunction is a right CreateFunction request for a language.
func lambdaFunction(l language, name string) map[string]any {
	return map[string]any{
		"FunctionName": name, "Runtime": l.runtime, "Handler": l.handler, "Role": role,
		"Timeout": 20, "MemorySize": 512, "Code": map[string]any{"ZipFile": l.settings["zip"]},
	}
}

// TestInput: what bad requests and bad packages get.
func TestInput(t *testing.T) {
	s := newStage(t)
	t.Run("wrong fields", s.wrongFields)
	t.Run("wrong code", s.wrongCode)
	t.Run("wrong events", s.wrongEvents)
	t.Run("bad custom runtime", s.badCustomRuntime)
	t.Run("create together", s.createTogether)
	t.Run("update during update", s.updateDuringUpdate)
	t.Run("data directory in use", s.dataDirectoryInUse)
}

// wrongFields: every wrong field is named, by both APIs, and nothing is made.
func (s *stage) wrongFields(t *testing.T) {
	t.Run("lambda", func(t *testing.T) { s.wrongLambdaFields(t) })
	t.Run("native", func(t *testing.T) { s.wrongNativeFields(t) })
	t.Run("all at once", func(t *testing.T) {
		in := lambdaFunction(s.languages[0], "a b")
		for name, value := range map[string]any{"Handler": "a b", "MemorySize": 1, "Timeout": 901, "Role": "me"} {
			in[name] = value
		}
		r := s.must(t, http.MethodPost, functionsPath, in)
		for _, field := range []string{"5 validation errors detected", "'functionName'", "'handler'", "'memorySize'", "'timeout'", "'role'"} {
			if !strings.Contains(string(r.body), field) {
				t.Errorf("no %s in %v", field, r)
			}
		}
	})
	r := s.must(t, http.MethodGet, "/hearth/v1/functions", nil)
	if n := strings.Count(string(r.body), `"arn"`); n != len(s.neighbours) {
		t.Errorf("%d functions after nothing but wrong requests: %s", n, r.body)
	}
}

func (s *stage) wrongLambdaFields(t *testing.T) {
	const validation = "1 validation error detected: "
	for _, c := range []struct {
		field string
		value any
		kind  string
		says  string
	}{
		{"FunctionName", "a b", "ValidationException", validation + "Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"MemorySize", 64, "ValidationException", validation + "Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"},
		{"MemorySize", "big", "SerializationException", "STRING_VALUE can not be converted to an Integer"},
		{"Timeout", 901, "ValidationException", validation + "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"},
		{"Timeout", 0, "ValidationException", validation + "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"Handler", "a b", "ValidationException", validation + "Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"Role", "me", "ValidationException", validation + "Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		{"EphemeralStorage", map[string]any{"Size": 1}, "ValidationException", "'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512"},
		{"Environment", map[string]any{"Variables": map[string]string{"1": "secret"}}, "ValidationException", "at 'environment.variables' failed to satisfy constraint"},
		{"Environment", map[string]any{"Variables": map[string]string{"AWS_REGION": "secret"}}, "InvalidParameterValueException", "AWS_REGION"},
		{"Runtime", "cobol85", "InvalidParameterValueException", "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["},
		{"Code", map[string]any{}, "InvalidParameterValueException", "Please provide a source for function code."},
		{"Code", map[string]any{"ZipFile": []byte("no zip")}, "InvalidParameterValueException",
			"Could not unzip uploaded file. Please check your file, then try to upload again."},
		{"Code", map[string]any{"ZipFile": []byte(nil)}, "InvalidParameterValueException", "Please provide a source for function code."},
		{"Code", map[string]any{"ZipFile": pack(t, map[string]string{"../out": "x"})}, "InvalidParameterValueException", "../out"},
	} {
		in := lambdaFunction(s.languages[1], "wrong")
		in[c.field] = c.value
		r := s.must(t, http.MethodPost, functionsPath, in)
		if r.status != http.StatusBadRequest || r.kind != c.kind || !strings.Contains(message(r), c.says) {
			t.Errorf("%s %v: %v\nwant %s: %s", c.field, c.value, r, c.kind, c.says)
		}
		if strings.Contains(string(r.body), "secret") {
			t.Errorf("%s: a value of the environment is in %v", c.field, r)
		}
	}
	for _, body := range []string{"", "{", "[]", `"x"`, `{"FunctionName":`} {
		if r := s.must(t, http.MethodPost, functionsPath, []byte(body)); r.status != http.StatusBadRequest || r.kind == "" || message(r) == "" {
			t.Errorf("body %q: %v", body, r)
		}
	}
}

// message is what an error of the Lambda API says.
func message(r reply) string {
	var body map[string]any
	if json.Unmarshal(r.body, &body) != nil {
		return ""
	}
	text, _ := body["message"].(string)
	capital, _ := body["Message"].(string)
	return text + capital
}

func (s *stage) wrongNativeFields(t *testing.T) {
	for _, c := range []struct {
		field string
		value any
		code  string
	}{
		{"memoryMB", 1, "invalid"},
		{"memoryMB", 0, "invalid"},
		{"memoryMB", "big", "invalid-body"},
		{"timeoutSeconds", 901, "invalid"},
		{"timeoutSeconds", 0, "invalid"},
		{"initTimeoutSeconds", 901, "invalid"},
		{"ephemeralMB", 1, "invalid"},
		{"instanceConcurrency", 0, "invalid"},
		{"instanceConcurrency", 1001, "invalid"},
		{"handler", "a b", "invalid"},
		{"role", "me", "invalid"},
		{"egress", "all", "invalid"},
		{"isolation", "strong", "invalid"},
		{"environment", map[string]string{"AWS_REGION": "secret"}, "invalid"},
		{"logging", map[string]string{"format": "XML"}, "invalid"},
		{"runtime", "cobol85", "invalid"},
		{"memory", 512, "invalid-body"}, // no such field
		{"zip", []byte("no zip"), "invalid-zip"},
		{"zip", "not base64!", "invalid-body"},
	} {
		r := s.must(t, http.MethodPut, "/hearth/v1/functions/wrong", s.languages[1].settings.with(settings{c.field: c.value}))
		var e struct {
			Error struct{ Code, Subject, Message string }
		}
		if err := json.Unmarshal(r.body, &e); err != nil || r.status != http.StatusBadRequest || e.Error.Code != c.code {
			t.Errorf("%s %v: %v, want %s", c.field, c.value, r, c.code)
		}
		if !strings.HasPrefix(e.Error.Subject, c.field) || e.Error.Message == "" || strings.Contains(e.Error.Message, "Go struct") {
			t.Errorf("%s %v is not named: %v", c.field, c.value, r)
		}
		if strings.Contains(string(r.body), "secret") {
			t.Errorf("%s: a value of the environment is in %v", c.field, r)
		}
	}
}

// wrongCode: packages that are zips and still no functions.
func (s *stage) wrongCode(t *testing.T) {
	node, python := s.languages[0], s.languages[1]
	broken := func(l language, more settings) settings { return l.settings.with(more) }
	missing := exited("Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")
	for _, c := range []struct {
		name     string
		settings settings
		want     string // the document, whole
		says     string // or a part of it
	}{
		{name: "node without the module", settings: broken(node, settings{"handler": "other.handler"}), says: `Cannot find module 'other'`},
		{name: "node without the export", settings: broken(node, settings{"handler": "index.other"}), says: "index.other is undefined or not exported"},
		{name: "python without the module", settings: broken(python, settings{"handler": "other.handler"}),
			want: `{"errorMessage":"Unable to import module 'other': No module named 'other'","errorType":"Runtime.ImportModuleError","requestId":"","stackTrace":[]}`},
		{name: "python without the function", settings: broken(python, settings{"handler": "app.other"}),
			want: `{"errorMessage":"Handler 'other' missing on module 'app'","errorType":"Runtime.HandlerNotFound","requestId":"","stackTrace":[]}`},
		{name: "provided without a bootstrap", settings: broken(python, settings{"runtime": "provided.al2023"}), want: missing},
		{name: "provided with a bootstrap that is none", want: exited("Runtime.InvalidEntrypoint", "fork/exec /var/task/bootstrap: exec format error"),
			settings: broken(python, settings{"runtime": "provided.al2023", "zip": pack(t, map[string]string{"bootstrap": "no program"})})},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.undisturbed(t, func() {
				s.deploy(t, "broken", c.settings)
				defer s.remove(t, "broken")
				for call := range 3 { // the later ones meet instances that fail to start
					in := s.mustInvoke(t, "broken", do("count"))
					right := strings.Contains(string(in.Payload), c.says)
					if c.want != "" {
						right = sameJSON(in.Payload, document(in, c.want))
					}
					if in.FunctionError != "Unhandled" || !right {
						t.Errorf("call %d: %q %s", call, in.FunctionError, in.Payload)
					}
				}
			})
		})
	}
}

// wrongEvents: what no function gets to see.
func (s *stage) wrongEvents(t *testing.T) {
	path := functionsPath + "/" + s.neighbours[0].name + "/invocations"
	for _, c := range []struct {
		name, path string
		event      []byte
		status     int
		kind       string
	}{
		{"no JSON", path, []byte("{"), http.StatusBadRequest, "InvalidRequestContentException"},
		{"too large", path, []byte(`"` + strings.Repeat("x", 6<<20) + `"`), http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
		{"no such function", functionsPath + "/nobody/invocations", []byte("{}"), http.StatusNotFound, "ResourceNotFoundException"},
		{"no such version", path + "?Qualifier=7", []byte("{}"), http.StatusNotFound, "ResourceNotFoundException"},
		{"no such operation", "/2015-03-31/dysfunctions", []byte("{}"), http.StatusNotFound, ""},
	} {
		r := s.must(t, http.MethodPost, c.path, c.event)
		if r.status != c.status || c.kind != "" && r.kind != c.kind || message(r) == "" {
			t.Errorf("%s: %v, want %d %s", c.name, r, c.status, c.kind)
		}
	}
}

// badCustomRuntime: a bootstrap that answers with no JSON, for a request that
// is not its own, and not at all.
func (s *stage) badCustomRuntime(t *testing.T) {
	s.undisturbed(t, func() {
		s.deploy(t, "custom", settings{"runtime": "provided.al2023", "handler": "none", "memoryMB": 512, "timeoutSeconds": 10,
			"egress": "none", "zip": packDir(t, "shell", nil)})
		defer s.remove(t, "custom")
		// Lambda passes on what a custom runtime answers; the native API, whose
		// payload must be JSON, does so as a string.
		for _, event := range []string{"plain", "wrong-id"} {
			if in := s.mustInvoke(t, "custom", event); in.FunctionError != "" || !sameJSON(in.Payload, `"{\"open\":"`) {
				t.Errorf("%s: answered %s %s", event, in.FunctionError, in.Payload)
			}
		}
		r := s.must(t, http.MethodPost, functionsPath+"/custom/invocations", "plain")
		if r.status != http.StatusOK || string(r.body) != `{"open":` {
			t.Errorf("the Lambda API answered %v", r)
		}
		in := s.mustInvoke(t, "custom", "exit")
		if want := document(in, exited("Runtime.ExitError", "Runtime exited with error: exit status 9")); !sameJSON(in.Payload, want) {
			t.Errorf("exit answered %s", in.Payload)
		}
	})
}

// createTogether: of many creations of one name exactly one succeeds.
func (s *stage) createTogether(t *testing.T) {
	const tries = 8
	replies := make([]reply, tries)
	var all sync.WaitGroup
	for i := range replies {
		all.Go(func() {
			in := lambdaFunction(s.languages[1], "together")
			in["Description"] = fmt.Sprint(i)
			r, err := s.call(http.MethodPost, functionsPath, in)
			if err != nil {
				t.Error(err)
			}
			replies[i] = r
		})
	}
	all.Wait()
	created := -1
	for i, r := range replies {
		switch {
		case r.status == http.StatusCreated && created < 0:
			created = i
		case r.status == http.StatusConflict && r.kind == "ResourceConflictException" &&
			sameJSON(r.body, `{"Type":"User","message":"Function already exist: together"}`):
		default:
			t.Errorf("creation %d: %v", i, r)
		}
	}
	r := s.must(t, http.MethodGet, functionsPath+"/together/configuration", nil)
	var f struct{ Description string }
	if err := json.Unmarshal(r.body, &f); err != nil || f.Description != fmt.Sprint(created) {
		t.Errorf("creation %d succeeded, and the function is %v", created, r)
	}
}

// updateDuringUpdate: the second is refused while the first initialises its
// instance, and what the first set is there at the end.
func (s *stage) updateDuringUpdate(t *testing.T) {
	l := s.languages[1]
	code := pack(t, map[string]string{"app.py": "import os, time\ntime.sleep(float(os.environ.get('INIT', '0')))\n" +
		"def handler(event, context):\n    return os.environ.get('NAME', '')\n"})
	s.undisturbed(t, func() {
		s.deploy(t, "updated", l.settings.with(settings{"zip": code}))
		defer s.remove(t, "updated")
		s.mustInvoke(t, "updated", nil) // an instance: the update waits for the next one
		path := functionsPath + "/updated/configuration"
		update := func(name string) reply {
			return s.must(t, http.MethodPut, path, map[string]any{"Environment": map[string]any{
				"Variables": map[string]string{"INIT": "2", "NAME": name}}})
		}
		if r := update("first"); r.status != http.StatusOK || !strings.Contains(string(r.body), `"LastUpdateStatus":"InProgress"`) {
			t.Fatalf("the first update: %v", r)
		}
		r := update("second")
		const busy = "The operation cannot be performed at this time. An update is in progress for resource: " +
			"arn:aws:lambda:us-east-1:000000000000:function:updated"
		if r.status != http.StatusConflict || r.kind != "ResourceConflictException" || message(r) != busy {
			t.Errorf("an update during an update: %v", r)
		}
		if got := result[string](t, s.mustInvoke(t, "updated", nil)); got != "" {
			t.Errorf("during the update the function answered %q", got)
		}
		s.updated(t, path)
		if got := result[string](t, s.mustInvoke(t, "updated", nil)); got != "first" {
			t.Errorf("after the update the function answered %q", got)
		}
	})
}

// updated waits until the update of a function has ended well.
func (s *stage) updated(t *testing.T, path string) {
	t.Helper()
	eventually(t, "the update ends", func() bool {
		return strings.Contains(string(s.must(t, http.MethodGet, path, nil).body), `"LastUpdateStatus":"Successful"`)
	})
}

// dataDirectoryInUse: a second server is told who holds it.
func (s *stage) dataDirectoryInUse(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := s.Run(ctx, t, "up", "--listen", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), s.Data) || strings.Contains(err.Error(), "panic") {
		t.Errorf("a second server on the same data directory: %v", err)
	}
}
