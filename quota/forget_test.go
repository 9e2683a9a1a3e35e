package quota

import (
	"strconv"
	"testing"

	"hearth/faas"
)

// A lease that is renewed after its version was forgotten counts where the next
// one counts.
func TestRenewAfterForgetting(t *testing.T) {
	al := New(Options{})
	id := faas.FunctionID{Scope: faas.Scope{Account: "1", Region: "r"}, Name: "f"}
	of := &faas.Version{ID: faas.VersionID{Function: id, Number: "1"}, Config: faas.Config{MemoryMB: 128}}
	lease, err := al.Occupy(of)
	if err != nil {
		t.Fatal(err)
	}
	lease.Release()
	for i := range 2 * sweepVersions {
		other := &faas.Version{ID: faas.VersionID{Function: id, Number: strconv.Itoa(i + 2)}}
		call, err := al.Admit(other, Synchronous)
		if err != nil {
			t.Fatal(err)
		}
		call.Release()
	}
	a := al.account(AccountOf(id.Scope))
	if a.functions[id].versions["1"] != nil {
		t.Fatal("the version was not forgotten")
	}
	if err := lease.Renew(); err != nil {
		t.Fatal(err)
	}
	if v := a.functions[id].versions["1"]; v == nil || v.instances != 1 || a.held[memory] != 128 {
		t.Errorf("the renewed lease counts nowhere: %+v", v)
	}
	if err := lease.Renew(); err == nil || a.misuses != 1 {
		t.Errorf("a lease was renewed that had not ended: %v, %d misuses", err, a.misuses)
	}
	lease.Release()
	if a.held[memory] != 0 {
		t.Errorf("%d MB are held", a.held[memory])
	}
}

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
	known := 0
	al.known.Range(func(of, v any) bool {
		known++
		if v := v.(*version); v.forgotten || v.revision != of || a.function(v.function.id).version(v.number) != v {
			t.Errorf("a forgotten version %s of %s is found", v.number, v.function.id)
		}
		return true
	})
	if known > 2*sweepFunctions+sweepVersions {
		t.Errorf("%d revisions are known", known)
	}
	held.Release()
	if a.held[executions] != 1 || a.misuses != 0 { // the provisioned target
		t.Errorf("%d executions are held, want 1; %d misuses", a.held[executions], a.misuses)
	}
}
