package quota

import (
	"strconv"
	"testing"

	"hearth/faas"
)

// TestForgets: what was called once and is idle does not stay for ever, and what
// has a lease or a setting does.
func TestForgets(t *testing.T) {
	al := New(Options{})
	scope := faas.Scope{Account: "1", Region: "r", Namespace: "n"}
	named := func(name, number string) *faas.Version {
		return &faas.Version{ID: faas.VersionID{Function: faas.FunctionID{Scope: scope, Name: name}, Number: number}, Config: faas.Config{MemoryMB: 128}}
	}
	use := func(v *faas.Version) Lease {
		t.Helper()
		l, err := al.Admit(v, Synchronous)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	none := 0
	al.Configure(AccountOf(scope), Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]FunctionSettings{
		{Scope: scope, Name: "set"}: {Maximum: &none}}})
	held := use(named("held", "1"))
	al.Provision(faas.FunctionID{Scope: scope, Name: "provisioned"}, map[string]Provision{"1": {Instances: 1, MemoryMB: 128}})
	a := al.account(AccountOf(scope))
	largest := 0
	for i := range 20 * sweepFunctions {
		use(named("f"+strconv.Itoa(i), "1")).Release()
		use(named("many versions", strconv.Itoa(i))).Release()
		largest = max(largest, len(a.functions))
	}
	if largest > 2*sweepFunctions {
		t.Errorf("%d idle functions were remembered", largest)
	}
	for _, name := range []string{"set", "held", "provisioned"} {
		if a.functions[faas.FunctionID{Scope: scope, Name: name}] == nil {
			t.Errorf("%q was forgotten", name)
		}
	}
	if n := len(a.function(faas.FunctionID{Scope: scope, Name: "many versions"}).versions); n > sweepVersions {
		t.Errorf("%d idle versions were remembered", n)
	}
	held.Release()
	if a.held[executions] != 1 || a.misuses != 0 { // the provisioned target
		t.Errorf("%d executions are held, want 1; %d misuses", a.held[executions], a.misuses)
	}
}
