package registry_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/quota"
	"hearth/registry"
)

func account() quota.Account { return quota.AccountOf(scope()) }

func executions(n int) faas.Amount { return faas.Amount{Unit: faas.UnitExecutions, Value: n} }
func megabytes(n int) faas.Amount  { return faas.Amount{Unit: faas.UnitMemoryMB, Value: n} }
func instances(n int) faas.Amount  { return faas.Amount{Unit: faas.UnitInstances, Value: n} }

func provisioned(qualifier string, a faas.Amount) faas.Provisioned {
	return faas.Provisioned{Qualifier: qualifier, Amount: a}
}

func setMemory(ctx context.Context, r *registry.Registry, name string, mb int) error {
	_, err := r.UpdateConfig(ctx, fn(name), registry.ConfigPatch{MemoryMB: &mb}, "")
	return err
}

func setConcurrency(ctx context.Context, r *registry.Registry, name string, n int) error {
	_, err := r.UpdateConfig(ctx, fn(name), registry.ConfigPatch{InstanceConcurrency: &n}, "")
	return err
}

func provision(ctx context.Context, r *registry.Registry, name, qualifier string, a faas.Amount) error {
	_, err := r.PutProvisioned(ctx, fn(name), provisioned(qualifier, a))
	return err
}

func moveAlias(ctx context.Context, r *registry.Registry, name, alias, version string) error {
	_, err := r.UpdateAlias(ctx, fn(name), alias, registry.AliasPatch{Version: &version})
	return err
}

// quotaWorld has a function f whose versions 1 (128 MB, one call each), 2 (256
// MB) and 3 (256 MB, ten calls each, as $LATEST) the aliases one, two, three and
// both (1 and 2) point at, an alias head at $LATEST, and a function g of 128 MB.
func quotaWorld(t *testing.T) (*world, *registry.Registry) {
	t.Helper()
	w := newWorld()
	r := w.open(t)
	t.Cleanup(func() { r.Close(context.Background()) })
	for _, name := range []string{"f", "g"} {
		in := createInput(name)
		in.Publish = true
		must(r.Create(t.Context(), in))(t)
	}
	synctest.Wait()
	for _, set := range []func() error{
		func() error { return setMemory(t.Context(), r, "f", 256) },
		func() error { return setConcurrency(t.Context(), r, "f", 10) },
	} {
		if err := set(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t)
	}
	for name, version := range map[string]string{"one": "1", "two": "2", "three": "3", "head": faas.Latest} {
		must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: name, Version: version}))(t)
	}
	must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "both", Version: "1", Weights: map[string]float64{"2": 0.25}}))(t)
	return w, r
}

type quotaCase struct {
	name string
	// before must succeed, and do must be refused with the code and the words.
	before []step
	do     step
	code   faas.ErrorCode
	words  []string
}

type step = func(context.Context, *registry.Registry) error

func reserve(name string, a faas.Amount) step {
	return func(ctx context.Context, r *registry.Registry) error { return r.PutReserved(ctx, fn(name), a) }
}

func put(qualifier string, a faas.Amount) step {
	return func(ctx context.Context, r *registry.Registry) error {
		return provision(ctx, r, "f", qualifier, a)
	}
}

func limits(p registry.AccountLimitsPatch) step {
	return func(ctx context.Context, r *registry.Registry) error {
		_, err := r.PutAccountLimits(ctx, scope(), p)
		return err
	}
}

func move(alias, version string) step {
	return func(ctx context.Context, r *registry.Registry) error { return moveAlias(ctx, r, "f", alias, version) }
}

func memory(name string, mb int) step {
	return func(ctx context.Context, r *registry.Registry) error { return setMemory(ctx, r, name, mb) }
}

func putWith(p faas.Provisioned) step {
	return func(ctx context.Context, r *registry.Registry) error {
		_, err := r.PutProvisioned(ctx, fn("f"), p)
		return err
	}
}

func n(i int) *int { return &i }

func quotaRefusals() []quotaCase {
	tracked := func(t faas.Tracking) faas.Provisioned {
		return faas.Provisioned{Qualifier: "1", Amount: instances(0), Tracking: &t}
	}
	scheduled := func(s ...faas.Schedule) faas.Provisioned {
		return faas.Provisioned{Qualifier: "1", Amount: instances(0), Schedules: s}
	}
	good := faas.Schedule{Name: "a", Cron: "0 8 * * *", Instances: 1}
	with := func(change func(*faas.Schedule)) faas.Schedule { s := good; change(&s); return s }
	const invalid = faas.CodeInvalid
	return []quotaCase{
		{"reservation over the floor", nil, reserve("g", executions(901)), invalid, []string{"900", "901"}},
		{"reservation over the floor in MB", nil, reserve("g", megabytes(115_201)), invalid, []string{"115200", "115201"}},
		{"reservation of both", []step{reserve("g", executions(400))}, reserve("f", executions(501)), invalid, []string{"900"}},
		{"reservation in instances", nil, reserve("f", instances(1)), invalid, []string{"executions", "MB", "instances"}},
		{"reservation below 0", nil, reserve("f", executions(-1)), invalid, []string{"-1"}},
		{"reservation beyond counting", nil, reserve("f", executions(1<<40)), invalid, nil},
		{"reservation that holds no instance", nil, reserve("f", megabytes(255)), invalid, []string{"255", "256"}},
		{"reservation below provisioned", []step{put("1", instances(3))}, reserve("f", executions(2)), invalid,
			[]string{"should not be lower than function's total provisioned concurrency [3 executions]", "2 executions"}},
		{"off with provisioned", []step{put("1", instances(3))}, reserve("f", executions(0)), invalid, []string{"[3 executions]"}},
		{"reservation of nobody", nil, reserve("nobody", executions(1)), faas.CodeNotFound, nil},
		{"account below its reservations", []step{reserve("g", executions(500))}, limits(registry.AccountLimitsPatch{Executions: n(599)}), invalid, []string{"500", "499"}},
		{"account below the floor", nil, limits(registry.AccountLimitsPatch{MemoryMB: n(12_799)}), invalid, []string{"12799", "12800"}},
		{"maximum below 0", nil, func(ctx context.Context, r *registry.Registry) error {
			return r.PutFunctionMaximum(ctx, fn("f"), n(-1))
		}, invalid, []string{"-1"}},
		{"maximum beyond counting", nil, func(ctx context.Context, r *registry.Registry) error {
			return r.PutFunctionMaximum(ctx, fn("f"), n(1<<25))
		}, invalid, nil},
		{"memory that breaks a reservation", []step{reserve("g", megabytes(200))}, memory("g", 256), invalid, []string{"256", "200 MB"}},
		{"memory that breaks the floor", []step{reserve("g", executions(500))}, memory("g", 256), invalid, []string{"256 MB in place of 128 MB", "128000", "115200"}},
		{"concurrency that breaks the floor", []step{reserve("g", megabytes(12_800))}, func(ctx context.Context, r *registry.Registry) error {
			return setConcurrency(ctx, r, "g", 10)
		}, invalid, []string{"10 for each instance in place of 1", "1000", "900"}},
		{"provisioned $LATEST", nil, put(faas.Latest, instances(1)), invalid, []string{"Provisioned Concurrency Configs cannot be applied to unpublished function versions."}},
		{"provisioned nothing", nil, put("", instances(1)), invalid, []string{"unpublished"}},
		{"provisioned alias of $LATEST", nil, put("head", instances(1)), invalid, []string{"unpublished"}},
		{"provisioned version that is not", nil, put("9", instances(1)), faas.CodeNotFound, []string{":f:9"}},
		{"provisioned alias that is not", nil, put("nine", instances(1)), faas.CodeNotFound, []string{"Cannot find alias arn", ":f:nine"}},
		{"provisioned 0", nil, put("1", instances(0)), invalid, []string{"amount.value", "between 1 and", "(value '0')"}},
		{"provisioned in apples", nil, put("1", faas.Amount{Unit: "apples", Value: 1}), invalid, []string{"amount.unit"}},
		{"provisioned no multiple", nil, put("2", megabytes(300)), invalid, []string{"300 MB", "256 MB", "512 MB"}},
		{"provisioned MB of two sizes", nil, put("both", megabytes(256)), invalid, []string{"128 MB", "256 MB"}},
		{"provisioned over the floor", nil, put("1", instances(901)), invalid, []string{"900", "901"}},
		{"provisioned over the floor by concurrency", nil, put("3", instances(91)), invalid, []string{"910"}},
		{"provisioned over the reservation", []step{reserve("f", executions(5))}, put("1", instances(6)), invalid,
			[]string{"Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function", "6 executions", "5 executions"}},
		{"provisioned over the reservation with another", []step{reserve("f", megabytes(1024)), put("2", instances(3))}, put("1", instances(3)), invalid,
			[]string{"1152 MB", "1024 MB"}},
		{"alias of a provisioned version", []step{put("1", instances(1))}, put("one", instances(1)), faas.CodeConflict,
			[]string{"Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version", "1"}},
		{"second version of a provisioned alias", []step{put("both", instances(1))}, put("2", instances(1)), faas.CodeConflict,
			[]string{"Version is pointed by a Provisioned Concurrency alias", "both"}},
		{"alias moves to a provisioned version", []step{put("one", instances(1)), put("2", instances(1))}, move("one", "2"), faas.CodeConflict, []string{"already Provisioned"}},
		{"alias moves to $LATEST", []step{put("one", instances(1))}, move("one", faas.Latest), invalid, []string{"unpublished"}},
		{"alias moves to a larger version", []step{put("one", instances(500))}, move("one", "2"), invalid, []string{"128000", "115200"}},
		{"alias moves over its reservation", []step{reserve("f", megabytes(512)), put("one", instances(4))}, move("one", "2"), invalid, []string{"1024 MB", "512 MB"}},
		{"alias moves to no multiple", []step{put("one", megabytes(384))}, move("one", "2"), invalid, []string{"384 MB", "256 MB"}},
		{"tracking of 0", nil, putWith(tracked(faas.Tracking{Target: 0, Min: 1, Max: 2})), invalid, []string{"tracking.target"}},
		{"tracking of 1", nil, putWith(tracked(faas.Tracking{Target: 1, Min: 1, Max: 2})), invalid, []string{"tracking.target"}},
		{"tracking from 0", nil, putWith(tracked(faas.Tracking{Target: 0.5, Min: 0, Max: 2})), invalid, []string{"tracking.min"}},
		{"tracking backwards", nil, putWith(tracked(faas.Tracking{Target: 0.5, Min: 3, Max: 2})), invalid, []string{"tracking.min", "2"}},
		{"tracking over the floor", nil, putWith(tracked(faas.Tracking{Target: 0.5, Min: 1, Max: 901})), invalid, []string{"901"}},
		{"schedule over the floor", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.Instances = 901 }))), invalid, []string{"901"}},
		{"schedule below 0", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.Instances = -1 }))), invalid, []string{"schedules.1.instances"}},
		{"schedules of one name", nil, putWith(scheduled(good, good)), invalid, []string{"schedules.2.name"}},
		{"schedule without a name", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.Name = "" }))), invalid, []string{"schedules.1.name"}},
		{"schedule without cron", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.Cron = "" }))), invalid, []string{"schedules.1.cron"}},
		{"schedule with half a cron", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.Cron = "0 8" }))), invalid, []string{"schedules.1.cron", "too few fields"}},
		{"schedule nowhere", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.TimeZone = "Local" }))), invalid, []string{"schedules.1.timeZone"}},
		{"schedule that tracks 2", nil, putWith(scheduled(with(func(s *faas.Schedule) { s.Tracking = &faas.Tracking{Target: 2, Min: 1, Max: 1} }))), invalid, []string{"schedules.1.tracking.target"}},
		{"schedules without end", nil, putWith(scheduled(make([]faas.Schedule, 21)...)), invalid, []string{"20"}},
		{"recursion maybe", nil, func(ctx context.Context, r *registry.Registry) error {
			return r.PutRecursionLoop(ctx, fn("f"), "Maybe")
		}, invalid, []string{"recursiveLoop"}},
	}
}

// TestQuotaRefusals makes every refused request: it says why with the numbers,
// and changes nothing.
func TestQuotaRefusals(t *testing.T) {
	for _, c := range quotaRefusals() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, r := quotaWorld(t)
				for _, do := range c.before {
					if err := do(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				before := fmt.Sprint(dump(t, w))
				err := c.do(t.Context(), r)
				wantCode(t, err, c.code)
				for _, word := range c.words {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%q does not say %q", err, word)
					}
				}
				synctest.Wait()
				if after := fmt.Sprint(dump(t, w)); after != before {
					t.Errorf("before %s\nafter  %s", before, after)
				}
				if err := w.quota.err(); err != nil {
					t.Errorf("in force, and may not be: %v", err)
				}
			})
		})
	}
}

// dump returns everything that is stored.
func dump(t *testing.T, w *world) (all []string) {
	t.Helper()
	entries, err := w.meta.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%s@%d %s", e.Key, e.Revision, e.Value))
	}
	return all
}

func TestAccountLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		if l := must(r.AccountLimits(t.Context(), scope()))(t); l != faas.DefaultAccountLimits() {
			t.Errorf("nothing was set: %+v", l)
		}
		must(r.PutAccountLimits(t.Context(), scope(), registry.AccountLimitsPatch{Executions: n(2000)}))(t)
		l := must(r.PutAccountLimits(t.Context(), scope(), registry.AccountLimitsPatch{FunctionMaximum: n(0)}))(t)
		want := faas.AccountLimits{MemoryMB: 128_000, Executions: 2000, FunctionMaximum: 0, Expansion: 500}
		if l != want || w.quota.of(account()).Limits != want {
			t.Errorf("%+v, in force %+v", l, w.quota.of(account()).Limits)
		}
		other := scope()
		other.Namespace = "other"
		if l := must(r.AccountLimits(t.Context(), other))(t); l != want {
			t.Errorf("another namespace has %+v", l)
		}
		other.Region = "us-east-1"
		if l := must(r.AccountLimits(t.Context(), other))(t); l != faas.DefaultAccountLimits() {
			t.Errorf("another region has %+v", l)
		}
	})
}

func TestUnreserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		for _, do := range []step{reserve("g", executions(100)), put("3", instances(2))} {
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		mb, ex, err := r.Unreserved(t.Context(), scope())
		if wantMB, wantEx := 128_000-100*128-2*256, 1000-100-2*10; err != nil || mb != wantMB || ex != wantEx {
			t.Errorf("%d MB and %d executions, %v; want %d and %d", mb, ex, err, wantMB, wantEx)
		}
	})
}

// TestQuotaReachesTheAllocator follows one function's settings through every
// kind of change that makes them others.
func TestQuotaReachesTheAllocator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		check := func(what string, want quota.FunctionSettings) {
			t.Helper()
			synctest.Wait()
			if got := w.quota.of(account()).Functions[fn("f")]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
		do := func(s step) {
			t.Helper()
			if err := s(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		reserved := executions(100)
		do(reserve("f", reserved))
		want := quota.FunctionSettings{Reserved: &reserved, MemoryMB: 256, Concurrency: 10}
		check("reserved", want)
		do(func(ctx context.Context, r *registry.Registry) error { return r.PutFunctionMaximum(ctx, fn("f"), n(7)) })
		want.Maximum = n(7)
		check("maximum", want)
		do(put("both", executions(9)))
		want.Provisioned = map[string]quota.Provision{"both": {Instances: 9, MemoryMB: 256, Concurrency: 1}}
		check("provisioned", want)
		do(memory("f", 512))
		want.MemoryMB = 512
		check("memory", want)
		do(memory("f", 128))
		want.MemoryMB = 256 // of version 2
		check("less memory", want)
		must(r.UpdateAlias(t.Context(), fn("f"), "both", registry.AliasPatch{Version: new("3"), Weights: &map[string]float64{}}))(t)
		want.Provisioned = map[string]quota.Provision{"both": {Instances: 1, MemoryMB: 256, Concurrency: 10}}
		check("alias moved", want)
		do(func(ctx context.Context, r *registry.Registry) error { return r.DeleteAlias(ctx, fn("f"), "both") })
		want.Provisioned = nil
		check("alias deleted", want)
		do(func(ctx context.Context, r *registry.Registry) error { return r.DeleteReserved(ctx, fn("f")) })
		want.Reserved = nil
		check("unreserved", want)
		do(func(ctx context.Context, r *registry.Registry) error {
			return r.PutFunctionMaximum(ctx, fn("f"), nil)
		})
		check("nothing set", quota.FunctionSettings{})
		do(reserve("f", reserved))
		do(func(ctx context.Context, r *registry.Registry) error { return r.Delete(ctx, fn("f"), "") })
		check("deleted", quota.FunctionSettings{})
	})
}

// TestQuotasAreNotInherited makes a function, an alias and a version's number
// again: none has what the one before had.
func TestQuotasAreNotInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		for _, do := range []step{reserve("f", executions(50)), put("one", instances(2)), put("2", instances(2))} {
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.DeleteAlias(t.Context(), fn("f"), "one"); err != nil {
			t.Fatal(err)
		}
		must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "one", Version: "1"}))(t)
		_, err := r.GetProvisioned(t.Context(), fn("f"), "one")
		wantNoProvisioned(t, err)
		if err := r.Delete(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		_, err = r.FunctionQuota(t.Context(), fn("f"))
		wantCode(t, err, faas.CodeNotFound)
		must(r.Create(t.Context(), createInput("f")))(t)
		if q := must(r.FunctionQuota(t.Context(), fn("f")))(t); q != (registry.FunctionQuota{}) {
			t.Errorf("%+v", q)
		}
		if p, ok := r.Provisioning(fn("f")); ok {
			t.Errorf("%+v", p)
		}
	})
}

func wantNoProvisioned(t *testing.T, err error) {
	t.Helper()
	wantCode(t, err, faas.CodeNotFound)
	if !errors.Is(err, faas.ErrNoProvisioned) {
		t.Errorf("%v does not wrap ErrNoProvisioned", err)
	}
}

// TestQuotasSurviveARestart reads back everything that was set.
func TestQuotasSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		p := faas.Provisioned{Qualifier: "both", Amount: executions(4), Tracking: &faas.Tracking{Target: 0.7, Min: 1, Max: 9},
			Schedules: []faas.Schedule{{Name: "day", Cron: "0 8 * * *", TimeZone: "UTC", Instances: 3}}}
		for _, do := range []step{reserve("f", megabytes(10_240)), putWith(p), limits(registry.AccountLimitsPatch{Expansion: n(30)}),
			func(ctx context.Context, r *registry.Registry) error { return r.PutFunctionMaximum(ctx, fn("g"), n(0)) },
			func(ctx context.Context, r *registry.Registry) error {
				return r.PutRecursionLoop(ctx, fn("g"), registry.RecursionAllow)
			}} {
			if err := do(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		say := func(r *registry.Registry) string {
			f := must(r.FunctionQuota(t.Context(), fn("f")))(t)
			g := must(r.FunctionQuota(t.Context(), fn("g")))(t)
			p := must(r.GetProvisioned(t.Context(), fn("f"), "both"))(t)
			return fmt.Sprintf("%+v %+v %+v %+v %+v %s %s", *f.Reserved, *g.Maximum, p.Schedules, *p.Tracking, p.Amount,
				must(r.RecursionLoop(t.Context(), fn("g")))(t), must(r.RecursionLoop(t.Context(), fn("f")))(t))
		}
		before, told := say(r), w.quota.of(account())
		r.Close(context.Background())
		w.quota = newBook()
		r = w.open(t)
		defer r.Close(context.Background())
		if now := w.quota.of(account()); !reflect.DeepEqual(now, told) {
			t.Errorf("told when New returned %+v, before %+v", now, told)
		}
		if after := say(r); after != before || !strings.HasSuffix(after, "Allow Terminate") {
			t.Errorf("before %s\nafter  %s", before, after)
		}
	})
}

// TestSumsHoldUnderLoad has many callers reserve, provision and change memory at
// once: what is in force never takes what is to stay shared.
func TestSumsHoldUnderLoad(t *testing.T) {
	seed := seeds.One(t)
	w := newWorld()
	r := w.open(t)
	defer r.Close(context.Background())
	const functions = 6
	for i := range functions {
		in := createInput(fmt.Sprint("f", i))
		in.Publish = true
		must(r.Create(t.Context(), in))(t)
		until(t, "active", func() bool { return settled(r, in.Function) })
	}
	rounds := 40
	if seeds.Long() {
		rounds *= 10
	}
	var callers sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[faas.ErrorCode]int{}
	for c := range 8 {
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(c)))
			for range rounds {
				err := randomQuota(t.Context(), r, rnd, fmt.Sprint("f", rnd.IntN(functions)))
				mu.Lock()
				outcomes[codeOrNone(err)]++
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	if err := w.quota.err(); err != nil {
		t.Errorf("in force, and may not be: %v", err)
	}
	for code, count := range outcomes {
		switch code {
		case "", faas.CodeInvalid, faas.CodeUpdating, faas.CodeNotFound:
		default:
			t.Errorf("%d times %s", count, code)
		}
	}
	if outcomes[""] == 0 || outcomes[faas.CodeInvalid] == 0 {
		t.Errorf("the test is void: %v", outcomes)
	}
}

func codeOrNone(err error) faas.ErrorCode {
	if err == nil {
		return ""
	}
	return faas.CodeOf(err)
}

func randomQuota(ctx context.Context, r *registry.Registry, rnd *rand.Rand, name string) error {
	switch rnd.IntN(5) {
	case 0:
		return r.PutReserved(ctx, fn(name), executions(50+rnd.IntN(300)))
	case 1:
		return r.DeleteReserved(ctx, fn(name))
	case 2:
		return provision(ctx, r, name, "1", instances(1+rnd.IntN(200)))
	case 3:
		return r.DeleteProvisioned(ctx, fn(name), "1")
	default:
		return setMemory(ctx, r, name, []int{128, 256, 512, 1024}[rnd.IntN(4)])
	}
}
