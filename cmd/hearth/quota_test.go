package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hearth/api/native"
	"hearth/faas"
	"hearth/quota"
)

// scripted is a server of the native API that answers what a test says, in order,
// and keeps what it was asked.
type scripted struct {
	t       *testing.T
	answers []any // an int is a status without a body, a native.Error a refusal
	asked   []string
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/hearth/v1/")
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
	if len(s.answers) == 0 {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	switch a := answer.(type) {
	case int:
		w.WriteHeader(a)
		return
	case native.Error:
		w.WriteHeader(http.StatusNotFound)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.t.Error(err)
	}
}

// hearth runs a command line against a server with these answers.
func hearth(t *testing.T, answers []any, args ...string) (code int, stdout, stderr string, asked []string) {
	t.Helper()
	s := &scripted{t: t, answers: answers}
	server := httptest.NewServer(s)
	defer server.Close()
	var out, err bytes.Buffer
	code = Main(append(args, "--server", server.URL), strings.NewReader(""), &out, &err)
	if len(s.answers) > 0 {
		t.Errorf("hearth %s did not ask for %v", strings.Join(args, " "), s.answers)
	}
	return code, out.String(), err.String(), s.asked
}

func instances3(state faas.ProvisionedState, requested, available int) native.Provisioned {
	return native.Provisioned{Function: "f", Provisioned: faas.Provisioned{
		Qualifier: "live", Amount: faas.Amount{Unit: faas.UnitInstances, Value: 3}, Instances: 3,
	}, Status: faas.ProvisionedStatus{Requested: requested, Allocated: requested, Available: available, State: state, Reason: reason(state)}}
}

func reason(state faas.ProvisionedState) string {
	if state == faas.ProvisionedFailed {
		return "init fails"
	}
	return ""
}

func TestQuotaCommands(t *testing.T) {
	ten := native.FunctionQuotas{Name: "f", Namespace: "default", Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 10},
		Use: native.FunctionUse{Guaranteed: &faas.Amount{Unit: faas.UnitExecutions, Value: 4}}}
	off, missing := 0, native.Error{Error: native.ErrorDetail{Code: faas.CodeNotFound, Message: "there is none"}}
	for _, test := range []struct {
		args    string
		answers []any
		code    int
		asked   string // joined by "; "
		said    string // on standard output, or on standard error of a failure
	}{
		{"reserve f 10", []any{ten}, 0, `PUT functions/f/quota/reserved {"unit":"executions","value":10}`,
			"reserved 10 executions for f\n4 executions are guaranteed now"},
		{"reserve f 1280mb", []any{native.FunctionQuotas{Name: "f"}}, 0, `PUT functions/f/quota/reserved {"unit":"MB","value":1280}`, "reserved 1280 MB for f\n"},
		{"reserve f 1", []any{native.FunctionQuotas{Name: "f"}}, 0, `PUT functions/f/quota/reserved {"unit":"executions","value":1}`, "reserved 1 execution for f\n"},
		{"maximum f 1", []any{native.FunctionQuotas{Name: "f"}}, 0, `PUT functions/f/quota/maximum {"value":1}`, "maximum of f: 1 instance\n"},
		{"reserve f 0", []any{native.FunctionQuotas{Name: "f"}}, 0, `PUT functions/f/quota/reserved {"unit":"executions","value":0}`, "switched f off"},
		{"reserve f/g 1", []any{missing}, 4, `PUT functions/f%2Fg/quota/reserved {"unit":"executions","value":1}`, "there is none"},
		{"reserve f many", nil, 2, "", `"many" is neither a number of executions nor a size such as 1280MB`},
		{"reserve f", nil, 2, "", "one function's NAME and how much"},
		{"unreserve f", []any{204}, 0, "DELETE functions/f/quota/reserved", "nothing is reserved for f"},
		{"maximum f 1000", []any{ten}, 0, `PUT functions/f/quota/maximum {"value":1000}`, "maximum of f: 1000 instances\nits reservation of 10 executions bounds it instead"},
		{"maximum f off", []any{native.FunctionQuotas{Maximum: &off}}, 0, `PUT functions/f/quota/maximum {"value":0}`, "maximum of f: off\n"},
		{"maximum f default", []any{204}, 0, "DELETE functions/f/quota/maximum", "the account's function-maximum"},
		{"maximum f default --output json", []any{204}, 0, "DELETE functions/f/quota/maximum", "\"maximum\": null,"},
		{"maximum f 0", nil, 2, "", `"0" is neither a number of instances from 1 nor 'off', or 'default' for the account's`},
		{"maximum f 128MB", nil, 2, "", "neither a number of instances"},
		{"account --memory 256000MB --expansion off", []any{native.AccountQuotas{Account: "1"}}, 0,
			`PATCH quotas {"memoryMB":256000,"expansion":0}`, "account 1"},
		{"account --executions 2000 --function-maximum 500", []any{native.AccountQuotas{}}, 0,
			`PATCH quotas {"executions":2000,"functionMaximum":500}`, "LIMIT"},
		{"account --memory off", nil, 2, "", `--memory: "off" is not a number of MB from 1`},
		{"account --executions 5MB", nil, 2, "", `--executions: "5MB" is not a number of executions from 1`},
		{"account --expansion 99999999999", nil, 2, "", "--expansion"},
		{"account", nil, 2, "", "say what to change"},
		{"provision f live 3", []any{instances3(faas.ProvisionedInProgress, 3, 0)}, 0,
			`PUT functions/f/provisioned/live {"amount":{"unit":"instances","value":3}}`, "f         live       3 instances  3       3          0          IN_PROGRESS"},
		// A status that is still that of the setting before is not taken for the end.
		{"provision f live 3 --wait", []any{instances3(faas.ProvisionedReady, 1, 1), instances3(faas.ProvisionedInProgress, 3, 1), instances3(faas.ProvisionedReady, 3, 3)}, 0,
			`PUT functions/f/provisioned/live {"amount":{"unit":"instances","value":3}}; GET functions/f/provisioned/live; GET functions/f/provisioned/live`, "READY"},
		{"provision f live 3 --wait", []any{instances3(faas.ProvisionedFailed, 3, 1)}, 1,
			`PUT functions/f/provisioned/live {"amount":{"unit":"instances","value":3}}`, "the instances of f:live cannot be made ready: init fails"},
		{"provision f 1 2560MB", []any{native.Provisioned{}}, 0, `PUT functions/f/provisioned/1 {"amount":{"unit":"MB","value":2560}}`, "FUNCTION"},
		{"provision f 1 --track 0.7 --max 5", []any{native.Provisioned{}}, 0, `PUT functions/f/provisioned/1 {"tracking":{"target":0.7,"min":1,"max":5}}`, "FUNCTION"},
		{"provision f 1 --track 0.7", nil, 2, "", "--track needs --max"},
		{"provision f 1 4 --max 5", nil, 2, "", "say --track as well"},
		{"provision f 1 4 --time-zone UTC", nil, 2, "", "say --schedule as well"},
		{"provision f 1", nil, 2, "", "say how many instances"},
		{"provision f 1 0", nil, 2, "", "'hearth quota unprovision' keeps none"},
		{"provision f 1 --track x --max 2", nil, 2, "", `"x" is no value of --track: it takes a number;`},
		{"provision f 1 --track 0.5 --max 2.5", nil, 2, "", `"2.5" is no value of --max: it takes a whole number;`},
		{"provision f", nil, 2, "", "a version or alias as QUALIFIER"},
		{"provision f 1 --schedule noon", nil, 2, "", `"noon" is not NAME=CRON=N`},
		{"unprovision f live", []any{204}, 0, "DELETE functions/f/provisioned/live", "no instances of f:live are kept ready"},
		{"unprovision f live", []any{missing}, 4, "DELETE functions/f/provisioned/live", "there is none"},
		{"provisioned", []any{[]native.Provisioned{instances3(faas.ProvisionedFailed, 3, 1)}}, 0, "GET provisioned", "FAILED\n\nf:live: init fails\n"},
		{"provisioned f", []any{[]native.Provisioned{}}, 0, "GET functions/f/provisioned", "no instances are kept ready"},
		{"provisioned f g", nil, 2, "", "no arguments or one function's NAME"},
		{"nothing", nil, 2, "", "'unprovision'"},
	} {
		code, stdout, stderr, asked := hearth(t, test.answers, append([]string{"quota"}, strings.Fields(test.args)...)...)
		said := stdout
		if test.code != 0 {
			said = stderr
		}
		if code != test.code || strings.Join(asked, "; ") != test.asked || !strings.Contains(said, test.said) {
			t.Errorf("hearth quota %s: exit code %d, want %d\nasked %s\nwant  %s\n%s%s", test.args, code, test.code,
				strings.Join(asked, "; "), test.asked, stdout, stderr)
		}
	}
}

func TestQuotaSchedules(t *testing.T) {
	_, stdout, _, asked := hearth(t, []any{instances3(faas.ProvisionedReady, 3, 3)}, "quota", "provision", "shop", "live", "2", "--time-zone", "Europe/Berlin",
		"--schedule", "open=0 8 * * 1-5=20", "--schedule", "close=0 18 * * 1-5=0", "--output", "json")
	want := `PUT functions/shop/provisioned/live {"amount":{"unit":"instances","value":2},"schedules":[` +
		`{"name":"open","cron":"0 8 * * 1-5","timeZone":"Europe/Berlin","instances":20},` +
		`{"name":"close","cron":"0 18 * * 1-5","timeZone":"Europe/Berlin","instances":0}]}`
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %v\nwant %s", asked, want)
	}
	var out native.Provisioned
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || out.Instances != 3 {
		t.Errorf("the JSON is %s: %v", stdout, err)
	}
}

func TestQuotaTable(t *testing.T) {
	maximum := 0
	quotas := native.AccountQuotas{
		Account: "000000000000", Region: "us-east-1", Limits: faas.DefaultAccountLimits(),
		Unreserved: native.Unreserved{MemoryMB: 126_720, Executions: 990}, Use: native.AccountUse{MemoryMB: 640, Executions: 5, Starts: 7},
		Functions: []native.FunctionQuotas{
			{Namespace: "default", Name: "a", Reserved: &faas.Amount{Unit: faas.UnitMemoryMB, Value: 1280},
				Use: native.FunctionUse{Executions: 5, Instances: 5, MemoryMB: 640, Guaranteed: &faas.Amount{Unit: faas.UnitMemoryMB, Value: 640}}},
			{Namespace: "default", Name: "b", Reserved: &faas.Amount{Unit: faas.UnitExecutions}},
			{Namespace: "shop", Name: "c", Maximum: &maximum, Provisioned: []native.Provisioned{instances3(faas.ProvisionedInProgress, 3, 2)}},
		},
	}
	code, stdout, stderr, _ := hearth(t, []any{quotas}, "quota")
	want := `account 000000000000  region us-east-1

LIMIT               VALUE                   IN USE  NOT RESERVED
account-memory      128000 MB               640 MB  126720 MB
account-executions  1000                    5       990
function-maximum    300 instances           -       -
expansion           500 starts in any 60 s  7       -

FUNCTION  IN FLIGHT  INSTANCES  MEMORY  RESERVED                  MAXIMUM  PROVISIONED
a         5          5          640 MB  1280 MB (640 guaranteed)  -        -
b         0          0          0 MB    0 (switched off)          -        -
shop/c    0          0          0 MB    -                         off      live 2/3
`
	if code != 0 || stdout != want {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, stdout, stderr, want)
	}
}

func TestQuotaCompletion(t *testing.T) {
	d := native.Description{Versions: []string{faas.Latest, "1", "12"}, Aliases: []faas.Alias{{Name: "live"}}}
	for _, test := range []struct{ prefix, want string }{{"", "live 1 12"}, {"1", "1 12"}, {"$", ""}} {
		_, stdout, _, asked := hearthCompletes(t, d, test.prefix)
		if got := strings.Join(stdout, " "); got != test.want || fmt.Sprint(asked) != "[GET functions/f]" {
			t.Errorf("%q is completed to %q, want %q; asked %v", test.prefix, got, test.want, asked)
		}
	}
}

// What the server need not be asked for is offered without one.
func TestWordsAreCompleted(t *testing.T) {
	t.Setenv("HEARTH_SERVER", "http://127.0.0.1:1")
	for line, want := range map[string]string{
		"quota maximum f ": "default\noff\n:4\n", "quota --output ": "text\njson\n:4\n", "explain ": ":4\n",
		"quota provision f live --time-zone ": ":4\n",
	} {
		var out, err bytes.Buffer
		Main(append([]string{"__complete"}, strings.Split(line, " ")...), strings.NewReader(""), &out, &err)
		if out.String() != want {
			t.Errorf("%q is completed to %q, want %q", line, out.String(), want)
		}
	}
}

// hearthCompletes asks for the second argument of 'quota provision', as a shell does.
func hearthCompletes(t *testing.T, d native.Description, prefix string) (code int, offered []string, stderr string, asked []string) {
	t.Helper()
	s := &scripted{t: t, answers: []any{d}}
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("HEARTH_SERVER", server.URL)
	var out, err bytes.Buffer
	code = Main([]string{"__complete", "quota", "provision", "f", prefix}, strings.NewReader(""), &out, &err)
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, ":") { // what the shell is to do
			offered = append(offered, strings.TrimSpace(line))
		}
	}
	return code, offered, err.String(), s.asked
}

func FuzzParseAmount(f *testing.F) {
	for _, text := range []string{"", "0", "10", "1280MB", "1280mb", "MB", "-1", "+1", "1.5", "99999999999999999999", "١", "1 MB", "ſMB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := parseAmount(text, faas.UnitInstances)
		if err != nil {
			return
		}
		if amount.Value < 0 || amount.Unit != faas.UnitInstances && amount.Unit != faas.UnitMemoryMB {
			t.Errorf("%q is %+v", text, amount)
		}
		again, err := parseAmount(strings.ReplaceAll(strings.TrimSuffix(strings.TrimSuffix(amount.String(), "s"), " instance"), " ", ""), faas.UnitInstances)
		if err != nil || again != amount {
			t.Errorf("%q is %v, which reads back as %v, %v", text, amount, again, err)
		}
	})
}

func FuzzParseSchedule(f *testing.F) {
	for _, text := range []string{"", "a", "a=b", "a=b=1", "a==1", "=b=1", "a=TZ=UTC 0 0 * * *=3", "a=b=-1", "a=b=1 "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSchedule(text)
		if err != nil {
			return
		}
		if s.Name == "" || strings.Contains(s.Name, "=") || s.Cron == "" || s.Instances < 0 || !strings.HasPrefix(text, s.Name+"="+s.Cron+"=") {
			t.Errorf("%q is %+v", text, s)
		}
	})
}

// Every refusal names commands that raise the limit; each of them is one of ours,
// flags included.
func TestRefusalsNameCommandsThatExist(t *testing.T) {
	scope := faas.Scope{Account: "000000000000", Region: "us-east-1", Namespace: "default"}
	v := &faas.Version{ID: faas.VersionID{Function: faas.FunctionID{Scope: scope, Name: "f"}, Number: "1"},
		Config: faas.Config{MemoryMB: 128, InstanceConcurrency: 1}}
	reserved := func(unit faas.Unit, n int) quota.FunctionSettings {
		return quota.FunctionSettings{Reserved: &faas.Amount{Unit: unit, Value: n}, MemoryMB: 128, Concurrency: 1}
	}
	one := 1
	large := faas.AccountLimits{MemoryMB: 128_000, Executions: 1000}
	seen := map[faas.Limit]bool{}
	for _, c := range []struct {
		limits   faas.AccountLimits
		settings quota.FunctionSettings
		kind     quota.Kind
		limit    faas.Limit
	}{
		{large, reserved(faas.UnitExecutions, 0), quota.Synchronous, faas.LimitOff},
		{large, reserved(faas.UnitExecutions, 1), quota.Synchronous, faas.LimitReserved},
		{large, reserved(faas.UnitMemoryMB, 128), quota.Synchronous, faas.LimitReserved},
		{faas.AccountLimits{MemoryMB: 128_000, Executions: 1000, FunctionMaximum: 1}, quota.FunctionSettings{}, quota.Synchronous, faas.LimitFunction},
		{large, quota.FunctionSettings{Maximum: &one}, quota.Synchronous, faas.LimitFunction},
		{faas.AccountLimits{MemoryMB: 128_000, Executions: 100}, quota.FunctionSettings{}, quota.Synchronous, faas.LimitExecutions},
		{faas.AccountLimits{MemoryMB: 12_800, Executions: 1000}, quota.FunctionSettings{}, quota.Synchronous, faas.LimitMemory},
		{faas.AccountLimits{MemoryMB: 128_000, Executions: 1000, Expansion: 10}, quota.FunctionSettings{}, quota.Synchronous, faas.LimitExpansion},
		{faas.AccountLimits{MemoryMB: 128_000, Executions: 100}, quota.FunctionSettings{}, quota.Asynchronous, faas.LimitSynchronous},
	} {
		allocator := quota.New(quota.Options{})
		allocator.Configure(quota.AccountOf(scope), quota.Settings{Limits: c.limits,
			Functions: map[faas.FunctionID]quota.FunctionSettings{v.ID.Function: c.settings}})
		var err error
		for range 1001 {
			if _, err = allocator.Admit(v, c.kind); err == nil {
				_, err = allocator.Start(v, quota.ForCall)
			}
			if err != nil {
				break
			}
		}
		var refusal *faas.Refusal
		if !errors.As(err, &refusal) || refusal.Limit != c.limit {
			t.Errorf("%s was expected to refuse, not %v", c.limit, err)
			continue
		}
		seen[c.limit] = true
		parts := strings.Split(refusal.Raise, "`")
		if len(parts) < 3 {
			t.Errorf("%s names no command: %s", c.limit, refusal.Raise)
		}
		for i := 1; i < len(parts); i += 2 {
			checkCommand(t, parts[i])
		}
	}
	for _, limit := range faas.RefusingLimits() {
		if limit != faas.LimitMachine && !seen[limit] {
			t.Errorf("%s was not tried", limit)
		}
	}
}

// checkCommand reports a command line, as a message has it, that there is none of.
func checkCommand(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	cmd, args, err := newRoot(&terminal{}).Find(words[1:])
	if err != nil || words[0] != "hearth" || cmd.Name() != words[2] {
		t.Errorf("there is no command %q: %v", line, err)
		return
	}
	var flags, values []string
	for _, arg := range args {
		if flag, ok := strings.CutPrefix(arg, "--"); ok {
			flags = append(flags, flag)
		} else if len(flags) == 0 {
			values = append(values, arg)
		}
	}
	for _, flag := range flags {
		if cmd.Flags().Lookup(flag) == nil {
			t.Errorf("%q: there is no flag --%s", line, flag)
		}
	}
	if err := cmd.Args(cmd, values); err != nil {
		t.Errorf("%q: %v", line, err)
	}
}
