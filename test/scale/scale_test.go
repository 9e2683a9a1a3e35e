package scale

import (
	"fmt"
	"testing"
	"time"
)

// hold is longer than the machine takes to start all the instances of a test.
const hold = 30 * time.Second

// Test300NodeInstances is the default function maximum, with real instances: 300
// calls in flight run in 300 of them, and one more is refused by name.
func Test300NodeInstances(t *testing.T) {
	const maximum = 300
	w := start(t)
	w.deployNode(t, "", "holder")
	ran, refused := split(t, w.flood(t, repeat(maximum+1, "holder", hold)))
	if len(ran) != maximum || len(refused) != 1 {
		t.Fatalf("%d ran and %d were refused", len(ran), len(refused))
	}
	distinct(t, ran)
	all(t, refused, "function-maximum", "instances", maximum, maximum)
	// They are idle now, and no cause of any refusal.
	again, left := split(t, w.flood(t, repeat(maximum, "holder", time.Second)))
	if len(again) != maximum {
		t.Errorf("%d of %d ran on the idle instances; refused %+v", len(again), maximum, left)
	}
	known := byInstance(ran)
	for _, r := range again {
		if known[r.Instance] == nil {
			t.Fatalf("instance %s was started while %d were idle", r.Instance, maximum)
		}
	}
}

// distinct checks that every call ran in an instance of its own.
func distinct(t *testing.T, ran []result) {
	t.Helper()
	groups := byInstance(ran)
	if len(groups) != len(ran) {
		t.Errorf("%d calls ran in %d instances", len(ran), len(groups))
	}
	apart(t, groups)
}

// apart checks that no instance ran two calls at the same time.
func apart(t *testing.T, groups map[string][]result) {
	t.Helper()
	for id, of := range groups {
		if overlap(of) {
			t.Errorf("instance %s ran overlapping calls: %v", id, of)
		}
	}
}

// Test1000StaticInstances raises every limit to the machine's own.
func Test1000StaticInstances(t *testing.T) {
	const n = 1000
	w := start(t, "--max-instances", fmt.Sprint(n))
	w.hearth(t, "quota", "account", "--executions", "1100", "--memory", "140800", "--function-maximum", "off", "--expansion", "off")
	w.deployStatic(t, "", "holder")
	ran, refused := split(t, w.flood(t, repeat(n, "holder", 2*hold)))
	if len(ran) != n || len(refused) != 0 {
		t.Fatalf("%d ran and %d were refused", len(ran), len(refused))
	}
	distinct(t, ran)
}

// TestTightestLimit floods twenty functions four times, each time with another
// limit the tightest: what runs equals it, and all others are told its name.
func TestTightestLimit(t *testing.T) {
	const functions = 20
	names := make([]string, functions)
	for i := range names {
		names[i] = fmt.Sprint("f", i)
	}
	for _, c := range []struct {
		name  string
		limit [][]string // commands that set it
		each  int        // calls of each function
		runs  int        // of all
		by    string
		unit  string
		value int
		use   int
	}{
		{"account", [][]string{{"account", "--memory", "12800"}}, 10, 100, "account-memory", "MB", 12800, 12800},
		{"reserved", each(names, func(f string) []string { return []string{"reserve", f, "5"} }), 10, 100, "reserved", "executions", 5, 5},
		{"function maximum", [][]string{{"account", "--function-maximum", "10"}}, 12, 200, "function-maximum", "instances", 10, 10},
		{"window", [][]string{{"account", "--expansion", "30"}}, 3, 30, "expansion", "starts", 30, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t)
			w.deployNode(t, "", names...)
			for _, command := range c.limit {
				w.hearth(t, append([]string{"quota"}, command...)...)
			}
			var calls []call
			for _, name := range names {
				calls = append(calls, repeat(c.each, name, hold/3)...)
			}
			ran, refused := split(t, w.flood(t, calls))
			if len(ran) != c.runs || len(refused) != len(calls)-c.runs {
				t.Errorf("%d ran and %d were refused, of %d calls with room for %d", len(ran), len(refused), len(calls), c.runs)
			}
			apart(t, byInstance(ran))
			all(t, refused, c.by, c.unit, c.value, c.use)
		})
	}
}

func each(names []string, command func(string) []string) [][]string {
	var all [][]string
	for _, name := range names {
		all = append(all, command(name))
	}
	return all
}

// TestManyCallsInOneInstance holds 200 calls in one instance of concurrency 200,
// from its cold start on, and needs a second one for the 201st.
func TestManyCallsInOneInstance(t *testing.T) {
	const concurrency = 200
	for _, c := range []struct{ calls, instances int }{{concurrency, 1}, {concurrency + 1, 2}} {
		t.Run(fmt.Sprint(c.calls), func(t *testing.T) {
			w := start(t)
			w.deployNode(t, fmt.Sprint("instance_concurrency = ", concurrency), "many")
			ran, refused := split(t, w.flood(t, repeat(c.calls, "many", hold/3)))
			if len(ran) != c.calls || len(refused) != 0 {
				t.Fatalf("%d ran and %d were refused", len(ran), len(refused))
			}
			if n := len(byInstance(ran)); n != c.instances {
				t.Errorf("%d calls ran in %d instances", c.calls, n)
			}
		})
	}
}
