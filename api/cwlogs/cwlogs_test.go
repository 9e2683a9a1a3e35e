package cwlogs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/auth"
	"hearth/faas"
	"hearth/logs"
)

// world is a handler over a real store whose clock the test moves.
type world struct {
	t       *testing.T
	store   *logs.Store
	handler *Handler
	mu      sync.Mutex
	now     time.Time
	groups  map[string]string // of functions
	streams map[string]*logs.Stream
	pipes   map[string]*os.File
}

func (w *world) GroupOf(id faas.FunctionID) string { return w.groups[id.Name] }

func (w *world) InGroup(scope faas.Scope, group string) (ids []faas.FunctionID) {
	for name, g := range w.groups {
		if g == group {
			ids = append(ids, faas.FunctionID{Scope: scope, Name: name})
		}
	}
	return ids
}

var scope = faas.Scope{Account: "123456789012", Region: "eu-west-1", Namespace: faas.DefaultNamespace}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), groups: map[string]string{},
		streams: map[string]*logs.Stream{}, pipes: map[string]*os.File{}}
	clock := func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }
	var err error
	if w.store, err = logs.Open(t.Context(), logs.Options{Dir: t.TempDir(), Clock: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name, s := range w.streams {
			w.pipes[name].Close()
			s.Close()
		}
		w.store.Close()
	})
	w.handler = New(Options{Logs: w.store, Groups: w, Auth: auth.NewTrusting(scope.Account), Region: scope.Region, Clock: clock, Retention: 7 * 24 * time.Hour})
	return w
}

// print has an instance of a function write lines of one invocation, one millisecond
// after the last ones.
func (w *world) print(function, instance string, lines ...string) {
	w.t.Helper()
	key := function + "/" + instance
	if w.streams[key] == nil {
		in, out, err := os.Pipe()
		if err != nil {
			w.t.Fatal(err)
		}
		w.pipes[key] = out
		w.streams[key] = w.store.Stream(logs.Source{Function: faas.FunctionID{Scope: scope, Name: function}, Version: faas.Latest, Instance: instance}, in)
		if w.groups[function] == "" {
			w.groups[function] = defaultPrefix + function
		}
	}
	w.mu.Lock()
	w.now = w.now.Add(time.Millisecond)
	w.mu.Unlock()
	w.streams[key].Begin("r", "")
	if _, err := w.pipes[key].WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		w.t.Fatal(err)
	}
	w.streams[key].Settle("r")
}

// ask sends an operation and decodes its answer, which has to have that status.
func ask[T any](w *world, op, body string, status int) T {
	w.t.Helper()
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", targetPrefix+op)
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	var out T
	if answer.Code != status || answer.Header().Get("Content-Type") != contentType {
		w.t.Fatalf("%s %s: %d %s %s", op, body, answer.Code, answer.Header(), answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &out); err != nil {
		w.t.Fatalf("%s: %v in %s", op, err, answer.Body)
	}
	return out
}

type refusal struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}

func texts[T eventOut | filteredOut](events []T) string {
	var all []string
	for _, e := range events {
		switch e := any(e).(type) {
		case eventOut:
			all = append(all, strings.TrimSuffix(e.Message, "\n"))
		case filteredOut:
			all = append(all, strings.TrimSuffix(e.Message, "\n"))
		}
	}
	return strings.Join(all, " ")
}

func TestGroupsAndStreams(t *testing.T) {
	w := newWorld(t)
	w.groups["own"], w.groups["too"] = "shared", "shared"
	for _, name := range []string{"b", "a", "own", "too"} {
		w.print(name, "i1", "hello")
	}
	w.print("a", "i2", "hello")
	w.print("gone", "i1", "hello")
	delete(w.groups, "gone")
	groups := ask[groupsOutput](w, "DescribeLogGroups", `{}`, 200)
	var names []string
	for _, g := range groups.LogGroups {
		names = append(names, g.LogGroupName)
		if g.StoredBytes == 0 || g.RetentionInDays != 7 || g.CreationTime < w.now.Add(-time.Second).UnixMilli() ||
			g.Arn != "arn:aws:logs:eu-west-1:123456789012:log-group:"+g.LogGroupName+":*" {
			t.Errorf("%+v", g)
		}
	}
	if got := strings.Join(names, " "); got != "/aws/lambda/a /aws/lambda/b /aws/lambda/gone shared" {
		t.Errorf("the groups are %s", got)
	}
	first := ask[groupsOutput](w, "DescribeLogGroups", `{"logGroupNamePrefix":"/aws/lambda/","limit":2}`, 200)
	rest := ask[groupsOutput](w, "DescribeLogGroups", fmt.Sprintf(`{"logGroupNamePrefix":"/aws/lambda/","limit":2,"nextToken":%q}`, first.NextToken), 200)
	if len(first.LogGroups) != 2 || len(rest.LogGroups) != 1 || rest.LogGroups[0].LogGroupName != "/aws/lambda/gone" || rest.NextToken != "" {
		t.Errorf("in pages: %+v, %+v", first, rest)
	}
	if found := ask[listGroupsOutput](w, "ListLogGroups", `{"logGroupNamePattern":"HARE"}`, 200); len(found.LogGroups) != 1 {
		t.Errorf("by a part of the name: %+v", found)
	}
	streams := ask[streamsOutput](w, "DescribeLogStreams", `{"logGroupName":"/aws/lambda/a","orderBy":"LastEventTime","descending":true,"limit":1}`, 200)
	if len(streams.LogStreams) != 1 || streams.LogStreams[0].LogStreamName != "2026/11/28/[$LATEST]i2" || streams.NextToken == "" {
		t.Errorf("the newest stream: %+v", streams)
	}
	streams = ask[streamsOutput](w, "DescribeLogStreams", fmt.Sprintf(`{"logGroupName":"/aws/lambda/a","orderBy":"LastEventTime","descending":true,"limit":1,"nextToken":%q}`, streams.NextToken), 200)
	if len(streams.LogStreams) != 1 || streams.LogStreams[0].LogStreamName != "2026/11/28/[$LATEST]i1" || streams.NextToken != "" {
		t.Errorf("the one before: %+v", streams)
	}
	if shared := ask[streamsOutput](w, "DescribeLogStreams", `{"logGroupIdentifier":"arn:aws:logs:eu-west-1:123456789012:log-group:shared:*"}`, 200); len(shared.LogStreams) != 2 {
		t.Errorf("a group of two functions: %+v", shared)
	}
}

func TestGetLogEvents(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.print("f", "i1", fmt.Sprintf("l%d", 2*i), fmt.Sprintf("l%d", 2*i+1)) // two of one instant
		w.print("f", "i2", "of another instance")
	}
	get := func(more string) getOutput {
		return ask[getOutput](w, "GetLogEvents", `{"logGroupName":"/aws/lambda/f","logStreamName":"2026/11/28/[$LATEST]i1"`+more+`}`, 200)
	}
	if got := texts(get("").Events); got != "l0 l1 l2 l3 l4 l5 l6 l7 l8 l9" {
		t.Errorf("all: %s", got)
	}
	// Forward from the head, three at a time, also through the middle of an instant.
	page := get(`,"startFromHead":true,"limit":3`)
	var seen []string
	for len(page.Events) > 0 {
		seen = append(seen, texts(page.Events))
		page = get(fmt.Sprintf(`,"limit":3,"nextToken":%q`, page.NextForwardToken))
	}
	if got := strings.Join(seen, "|"); got != "l0 l1 l2|l3 l4 l5|l6 l7 l8|l9" {
		t.Errorf("forward: %s", got)
	}
	// At the end the token stays what it is, and leads on when there is more.
	end := page.NextForwardToken
	if again := get(fmt.Sprintf(`,"nextToken":%q`, end)); again.NextForwardToken != end || len(again.Events) > 0 {
		t.Errorf("at the end: %+v", again)
	}
	w.print("f", "i1", "new")
	if next := get(fmt.Sprintf(`,"nextToken":%q`, end)); texts(next.Events) != "new" {
		t.Errorf("what came later: %+v", next)
	}
	// Backward from the tail.
	page, seen = get(`,"limit":3`), nil
	for len(page.Events) > 0 {
		seen = append(seen, texts(page.Events))
		page = get(fmt.Sprintf(`,"limit":3,"nextToken":%q`, page.NextBackwardToken))
	}
	if got := strings.Join(seen, "|"); got != "l8 l9 new|l5 l6 l7|l2 l3 l4|l0 l1" {
		t.Errorf("backward: %s", got)
	}
	if got := page.NextBackwardToken; get(fmt.Sprintf(`,"nextToken":%q`, got)).NextBackwardToken != got {
		t.Error("at the beginning the token changes")
	}
	// The start is included, the end is not.
	start := get(`,"startFromHead":true`).Events[2].Timestamp
	if got := texts(get(fmt.Sprintf(`,"startTime":%d,"endTime":%d`, start, start+2)).Events); got != "l2 l3" {
		t.Errorf("between two times: %s", got)
	}
	if got := texts(get(fmt.Sprintf(`,"startTime":%d,"endTime":%d,"limit":1,"startFromHead":true`, start, start+2)).Events); got != "l2" {
		t.Errorf("between two times, from the head: %s", got)
	}
}

func TestFilterLogEvents(t *testing.T) {
	w := newWorld(t)
	w.groups["f"], w.groups["g"] = "both", "both"
	for i := range 4 {
		w.print("f", "i1", fmt.Sprintf("f%d ERROR", i), fmt.Sprintf("f%d fine", i))
		w.print("g", "i1", fmt.Sprintf("g%d ERROR", i))
	}
	filter := func(more string) filterOutput {
		return ask[filterOutput](w, "FilterLogEvents", `{"logGroupName":"both"`+more+`}`, 200)
	}
	all := filter("")
	if got := texts(all.Events); got != "f0 ERROR f0 fine g0 ERROR f1 ERROR f1 fine g1 ERROR f2 ERROR f2 fine g2 ERROR f3 ERROR f3 fine g3 ERROR" || all.NextToken != "" {
		t.Errorf("all: %s", got)
	}
	ids := map[string]string{}
	for _, e := range all.Events {
		ids[e.EventID] = e.Message
	}
	if len(ids) != len(all.Events) {
		t.Errorf("%d ids for %d events", len(ids), len(all.Events))
	}
	var pages []string
	for token := ""; ; {
		page := filter(fmt.Sprintf(`,"limit":2,"filterPattern":"ERROR -g1"%s`, token))
		pages = append(pages, texts(page.Events))
		for _, e := range page.Events {
			if ids[e.EventID] != e.Message {
				t.Errorf("%s has another id in this page", e.Message)
			}
		}
		if token = fmt.Sprintf(`,"nextToken":%q`, page.NextToken); page.NextToken == "" {
			break
		}
	}
	if got := strings.Join(pages, "|"); got != "f0 ERROR g0 ERROR|f1 ERROR f2 ERROR|g2 ERROR f3 ERROR|g3 ERROR" {
		t.Errorf("in pages: %s", got)
	}
	at := all.Events[3].Timestamp // f1; both ends are included
	if got := texts(filter(fmt.Sprintf(`,"startTime":%d,"endTime":%d`, at, at+1)).Events); got != "f1 ERROR f1 fine g1 ERROR" {
		t.Errorf("between two times: %s", got)
	}
	if got := texts(filter(`,"logStreamNames":["2026/11/28/[$LATEST]i1"],"filterPattern":"fine"`).Events); got != "f0 fine f1 fine f2 fine f3 fine" {
		t.Errorf("by stream: %s", got)
	}
	if got := texts(filter(`,"logStreamNamePrefix":"2025"`).Events); got != "" {
		t.Errorf("by the prefix of a stream: %s", got)
	}
}

// TestOneInstantOverManyPages reads more lines of one instant than the store gives
// at once, of one function and of two.
func TestOneInstantOverManyPages(t *testing.T) {
	w := newWorld(t)
	const n = 2*maxEvents + 10
	lines := strings.Split(strings.Repeat("x ", n-1)+"x", " ")
	w.groups["g"] = "/aws/lambda/f"
	for _, functions := range []int{1, 2} {
		if functions == 2 {
			w.print("g", "i1", lines...)
			w.print("g", "i1", "last")
		} else {
			w.print("f", "i1", lines...)
		}
		total := 0
		for token, pages := "", 0; ; pages++ {
			page := ask[filterOutput](w, "FilterLogEvents", `{"logGroupName":"/aws/lambda/f"`+token+`}`, 200)
			total += len(page.Events)
			if token = fmt.Sprintf(`,"nextToken":%q`, page.NextToken); page.NextToken == "" || pages > 20 {
				break
			}
		}
		if want := functions*n + functions - 1; total != want {
			t.Errorf("%d functions: %d events of %d", functions, total, want)
		}
	}
}

// TestRefusals has CloudWatch Logs' words: "The specified log group does not exist."
// and "… log stream does not exist." as in the AWS CLI's and Terraform's issues,
// "Invalid filter pattern…" as in aws-toolkit-jetbrains#3219, DefangLabs/defang#1008
// and awslogs#210; those of validation are the model's constraints, unverified.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.print("f", "i1", "x")
	const group, stream = `"logGroupName":"/aws/lambda/f"`, `"logStreamName":"2026/11/28/[$LATEST]i1"`
	for request, want := range map[string]refusal{
		`FilterLogEvents {"logGroupName":"/aws/lambda/g"}`:                      {"ResourceNotFoundException", "The specified log group does not exist."},
		`DescribeLogStreams {"logGroupName":"f"}`:                               {"ResourceNotFoundException", "The specified log group does not exist."},
		`GetLogEvents {` + group + `,"logStreamName":"2026/11/28/[$LATEST]i2"}`: {"ResourceNotFoundException", "The specified log stream does not exist."},
		`GetLogEvents {` + group + `,"logStreamName":"i1"}`:                     {"ResourceNotFoundException", "The specified log stream does not exist."},
		`FilterLogEvents {` + group + `,"logStreamNames":["x"]}`:                {"ResourceNotFoundException", "The specified log stream does not exist."},
		`FilterLogEvents {}`: {"InvalidParameterException", "1 validation error detected: Value '' at 'logGroupName'"},
		`FilterLogEvents {` + group + `,"logGroupIdentifier":"x"}`:                               {"InvalidParameterException", "mutually exclusive"},
		`FilterLogEvents {` + group + `,"logStreamNames":["x"],"logStreamNamePrefix":"x"}`:       {"InvalidParameterException", "mutually exclusive"},
		`FilterLogEvents {"logGroupIdentifier":"arn:aws:s3:::x"}`:                                {"InvalidParameterException", "logGroupIdentifier is invalid"},
		`FilterLogEvents {` + group + `,"limit":10001}`:                                          {"InvalidParameterException", "Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"},
		`DescribeLogGroups {"limit":0}`:                                                          {"InvalidParameterException", "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		`DescribeLogGroups {"nextToken":"!"}`:                                                    {"InvalidParameterException", "The specified nextToken is invalid."},
		`DescribeLogGroups {"nextToken":"eA"}`:                                                   {"InvalidParameterException", "The specified nextToken is invalid."},
		`GetLogEvents {` + group + `,` + stream + `,"nextToken":"f/x"}`:                          {"InvalidParameterException", "The specified nextToken is invalid."},
		`GetLogEvents {` + group + `,` + stream + `,"nextToken":"x"}`:                            {"InvalidParameterException", "The specified nextToken is invalid."},
		`FilterLogEvents {` + group + `,"nextToken":"1.99999999999"}`:                            {"InvalidParameterException", "The specified nextToken is invalid."},
		`DescribeLogStreams {` + group + `,"orderBy":"Size"}`:                                    {"InvalidParameterException", "enum value set: [LogStreamName, LastEventTime]"},
		`DescribeLogStreams {` + group + `,"orderBy":"LastEventTime","logStreamNamePrefix":"2"}`: {"InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix."},
		`FilterLogEvents {` + group + `,"filterPattern":"a:b"}`:                                  {"InvalidParameterException", "Invalid filter pattern: Invalid character(s) in term 'a:b'"},
		`FilterLogEvents {` + group + `,"filterPattern":"{ $.a = 1"}`:                            {"InvalidParameterException", "If a filter pattern starts with '{' it must end with '}'"},
		`FilterLogEvents {`:                {"SerializationException", "not the JSON of FilterLogEvents"},
		`FilterLogEvents {"limit":"many"}`: {"SerializationException", "limit"},
		`PutLogEvents {}`:                  {"UnknownOperationException", "Logs_20140328.PutLogEvents is not served"},
		`StartLiveTail {}`:                 {"UnknownOperationException", "Logs_20140328.StartLiveTail is not served"},
		`FilterLogEvents {` + group + `,"filterPattern":"` + strings.Repeat("x", maxPattern+1) + `"}`:    {"InvalidParameterException", "less than or equal to 1024"},
		`FilterLogEvents {"logGroupName":"` + strings.Repeat("x", maxBody) + `"}`:                        {"RequestEntityTooLargeException", "1048576"},
		`GetLogEvents {` + group + `,` + stream + `,"nextToken":"b/` + strings.Repeat("z", 20) + `.1"}`:  {"InvalidParameterException", "The specified nextToken is invalid."},
		`GetLogEvents {` + group + `,` + stream + `,"startTime":99999999999999999,"nextToken":"f/-1.0"}`: {"InvalidParameterException", "The specified nextToken is invalid."},
		`DescribeLogGroups {"logGroupNamePrefix":"a","logGroupNamePattern":"b"}`:                         {"InvalidParameterException", "mutually exclusive"},
		`FilterLogEvents {` + group + `,"filterPattern":"[ip, user]"}`:                                   {"InvalidParameterException", "patterns of columns"},
	} {
		op, body, _ := strings.Cut(request, " ")
		got := ask[refusal](w, op, body, 400)
		if got.Type != want.Type || !strings.Contains(got.Message, want.Message) {
			t.Errorf("%.200s: %+v\nwant %+v", request, got, want)
		}
	}
}

// TestCallers has signatures verified, in the JSON protocol's own form: status 400.
func TestCallers(t *testing.T) {
	w := newWorld(t)
	w.print("f", "i1", "x")
	c := auth.Credentials{KeyID: "HEARTHBOB", Secret: "secret"}
	policy, err := auth.ParsePolicy([]byte(`{"Statement":[{"Effect":"Allow","Action":"logs:FilterLogEvents","Resource":"arn:aws:logs:*:*:log-group:/aws/lambda/f:*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w.handler.auth = auth.NewVerifier(auth.VerifierOptions{Clock: w.handler.now,
		Keys: auth.Ring{c.KeyID: auth.KeyOf(c, auth.NewKey{Account: scope.Account, Name: "bob", Policy: policy})}})
	for _, test := range []struct {
		op, body, service string
		want              refusal
	}{
		{"FilterLogEvents", `{"logGroupName":"/aws/lambda/f"}`, "logs", refusal{}},
		{"FilterLogEvents", `{"logGroupName":"/aws/lambda/f"}`, "", refusal{"MissingAuthenticationTokenException", "Missing Authentication Token"}},
		{"PutLogEvents", `{}`, "", refusal{"MissingAuthenticationTokenException", "Missing Authentication Token"}},
		{"FilterLogEvents", `{"logGroupName":"/aws/lambda/f"}`, "lambda", refusal{"InvalidSignatureException", "Credential should be scoped to correct service: 'logs'. "}},
		{"FilterLogEvents", `{"logGroupName":"/aws/lambda/g"}`, "logs", refusal{"AccessDeniedException",
			"User: arn:aws:iam::123456789012:user/bob is not authorized to perform: logs:FilterLogEvents on resource: arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/g:log-stream: because no identity-based policy allows the logs:FilterLogEvents action"}},
		{"DescribeLogGroups", `{}`, "logs", refusal{"AccessDeniedException",
			"User: arn:aws:iam::123456789012:user/bob is not authorized to perform: logs:DescribeLogGroups on resource: arn:aws:logs:eu-west-1:123456789012:log-group::log-stream: because no identity-based policy allows the logs:DescribeLogGroups action"}},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(test.body))
		r.Header.Set("X-Amz-Target", targetPrefix+test.op)
		if test.service != "" {
			auth.Sign(r, []byte(test.body), c, scope.Region, test.service, w.handler.now())
		}
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		var got refusal
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got != test.want || (answer.Code == 200) != (test.want == refusal{}) {
			t.Errorf("%s %s for %q: %d %s", test.op, test.body, test.service, answer.Code, answer.Body)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("GetLogEvents", []byte(`{"logGroupName":"/aws/lambda/f","logStreamName":"2026/11/28/[1]i","nextToken":"b/0.1","startTime":-5,"limit":1}`))
	f.Add("FilterLogEvents", []byte(`{"logGroupName":"/aws/lambda/f","filterPattern":"{ $.a[0] = \"x\" }","nextToken":"zz.5"}`))
	store, err := logs.Open(f.Context(), logs.Options{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { store.Close() })
	w := &world{groups: map[string]string{"f": "/aws/lambda/f"}}
	h := New(Options{Logs: store, Groups: w, Auth: auth.NewTrusting(scope.Account)})
	f.Fuzz(func(t *testing.T, op string, body []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header["X-Amz-Target"] = []string{targetPrefix + op}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if answer.Code == http.StatusInternalServerError || !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%s %q: %d %s", op, body, answer.Code, answer.Body)
		}
	})
}
