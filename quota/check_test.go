package quota_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"hearth/faas"
	"hearth/quota"
)

func amountOf(unit faas.Unit, value int) *faas.Amount { return &faas.Amount{Unit: unit, Value: value} }

func TestCheck(t *testing.T) {
	limits := faas.DefaultAccountLimits()
	with := func(change func(*faas.AccountLimits)) faas.AccountLimits {
		l := limits
		change(&l)
		return l
	}
	minus, none := -1, 0
	for _, c := range []struct {
		name     string
		limits   faas.AccountLimits
		function quota.FunctionSettings
		subject  string // of the refusal; empty where there is none
		says     []string
	}{
		{"nothing set", limits, quota.FunctionSettings{MemoryMB: 128, Concurrency: 1}, "", nil},
		{"less memory than the floor", with(func(l *faas.AccountLimits) { l.MemoryMB = 12_799 }), quota.FunctionSettings{}, "memoryMB", []string{"12799", "12800"}},
		{"fewer executions than the floor", with(func(l *faas.AccountLimits) { l.Executions = 99 }), quota.FunctionSettings{}, "executions", []string{"99", "100"}},
		{"exactly the floor", with(func(l *faas.AccountLimits) { l.Executions, l.MemoryMB = 100, 12_800 }), quota.FunctionSettings{}, "", nil},
		{"memory out of range", with(func(l *faas.AccountLimits) { l.MemoryMB = math.MaxInt }), quota.FunctionSettings{}, "memoryMB", nil},
		{"function maximum below 0", with(func(l *faas.AccountLimits) { l.FunctionMaximum = -1 }), quota.FunctionSettings{}, "functionMaximum", nil},
		{"expansion below 0", with(func(l *faas.AccountLimits) { l.Expansion = -1 }), quota.FunctionSettings{}, "expansion", nil},
		{"a maximum below 0", limits, quota.FunctionSettings{Maximum: &minus}, "maximum", []string{"-1"}},
		{"a maximum of 0 is none", limits, quota.FunctionSettings{Maximum: &none}, "", nil},
		{"versions of no sane size", limits, quota.FunctionSettings{MemoryMB: 1<<20 + 1}, "reserved", nil},
		{"versions of no sane concurrency", limits, quota.FunctionSettings{Concurrency: 1<<16 + 1}, "reserved", nil},
		{"exactly one instance", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 256), MemoryMB: 256, Concurrency: 1}, "", nil},
		{"provisioned by a schedule that is 0 now", limits, quota.FunctionSettings{Provisioned: map[string]quota.Provision{"1": {Concurrency: 1}}}, "", nil},
		{"provisioned of no sane size", limits, quota.FunctionSettings{Provisioned: map[string]quota.Provision{"1": {Instances: 1, MemoryMB: 1<<20 + 1}}}, "provisioned", nil},
		{"provisioned of no sane concurrency", limits, quota.FunctionSettings{Provisioned: map[string]quota.Provision{"1": {Instances: 1, Concurrency: 1<<16 + 1}}}, "provisioned", nil},
		{"all but the floor", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 900), MemoryMB: 128, Concurrency: 1}, "", nil},
		{"one more than that", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 901), MemoryMB: 64, Concurrency: 1}, "unreserved.executions", []string{"1000 executions", "100 always", "at most 900", "901", "1 too many"}},
		{"all but the floor in MB", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 115_200), MemoryMB: 128, Concurrency: 1}, "", nil},
		{"1 MB more than that", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 115_201), MemoryMB: 256, Concurrency: 1}, "unreserved.memoryMB", []string{"128000 MB", "12800 always", "at most 115200", "115201"}},
		{"executions for which there is no memory", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 100), MemoryMB: 1769, Concurrency: 1}, "unreserved.memoryMB", []string{"176900"}},
		{"MB for which there are no executions", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 12_800), MemoryMB: 128, Concurrency: 10}, "unreserved.executions", []string{"1000"}},
		{"less than one instance", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 200), MemoryMB: 256, Concurrency: 1}, "reserved", []string{"200", "256"}},
		{"reserved MB of a function that has no version yet", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 512)}, "", nil},
		{"switched off in MB", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 0), MemoryMB: 256, Concurrency: 1}, "", nil},
		{"reserved below 0", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, -1)}, "reserved", nil},
		{"reserved in no such unit", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitStarts, 5)}, "reserved", []string{"starts", "executions", "MB"}},
		{"provisioned inside reserved", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 10), MemoryMB: 128, Concurrency: 2, Provisioned: map[string]quota.Provision{
			"1": {Instances: 2, MemoryMB: 128, Concurrency: 2}, "live": {Instances: 3, MemoryMB: 128, Concurrency: 2}}}, "", nil},
		{"provisioned beyond reserved", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 10), MemoryMB: 128, Concurrency: 2, Provisioned: map[string]quota.Provision{
			"1": {Instances: 3, MemoryMB: 128, Concurrency: 2}, "live": {Instances: 3, MemoryMB: 128, Concurrency: 2}}}, "provisioned", []string{"12 executions", "10 executions"}},
		{"provisioned beyond reserved MB", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitMemoryMB, 512), MemoryMB: 256, Concurrency: 1, Provisioned: map[string]quota.Provision{
			"1": {Instances: 3, MemoryMB: 256, Concurrency: 1}}}, "provisioned", []string{"768 MB", "512 MB"}},
		{"provisioned and switched off", limits, quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 0), MemoryMB: 128, Concurrency: 1, Provisioned: map[string]quota.Provision{
			"1": {Instances: 1, MemoryMB: 128, Concurrency: 1}}}, "provisioned", nil},
		{"provisioned without a reservation", limits, quota.FunctionSettings{Provisioned: map[string]quota.Provision{"1": {Instances: 901, MemoryMB: 128, Concurrency: 1}}}, "unreserved.executions", []string{"outside them (901)"}},
		{"provisioned below 0", limits, quota.FunctionSettings{Provisioned: map[string]quota.Provision{"1": {Instances: -1, MemoryMB: 128}}}, "provisioned", []string{"-1"}},
		{"provisioned without end", limits, quota.FunctionSettings{Provisioned: map[string]quota.Provision{"1": {Instances: 1 << 24, MemoryMB: 1 << 20, Concurrency: 1 << 16}}}, "unreserved.executions", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := quota.Settings{Limits: c.limits, Functions: map[faas.FunctionID]quota.FunctionSettings{functionID("f"): c.function}}
			err := quota.Check(account, settings)
			if c.subject == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				inForce(t, settings)
				return
			}
			var known *faas.Error
			if !errors.As(err, &known) || known.Code != faas.CodeInvalid || known.Subject != c.subject {
				t.Fatalf("got %v, want %s %s", err, faas.CodeInvalid, c.subject)
			}
			for _, word := range c.says {
				if !strings.Contains(known.Message, word) {
					t.Errorf("%q does not say %q", known.Message, word)
				}
			}
		})
	}
}

func TestCheckAddsUpAllFunctions(t *testing.T) {
	s := quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{}}
	for i := range 9 {
		s.Functions[functionID(fmt.Sprint("f", i))] = quota.FunctionSettings{Reserved: amountOf(faas.UnitExecutions, 100), MemoryMB: 128, Concurrency: 1}
	}
	if err := quota.Check(account, s); err != nil {
		t.Fatal(err)
	}
	s.Functions[functionID("one more")] = quota.FunctionSettings{Provisioned: map[string]quota.Provision{"live": {Instances: 1, MemoryMB: 64}}}
	err := quota.Check(account, s)
	var r *faas.Refusal
	if !errors.As(err, &r) || r.Limit != faas.LimitExecutions || r.Value != 900 || r.Use != 901 {
		t.Errorf("got %v with %+v, want 901 of 900 executions", err, r)
	}
}

// FuzzCheck wants that Check never panics or overflows, and that whatever it passes
// can be put into force with every reservation whole.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{})
	f.Add(binary.LittleEndian.AppendUint64([]byte{1, 3}, math.MaxInt64))
	f.Add([]byte{0, 1, 100, 128, 1, 2, 128, 1, 1, 2, 0, 90, 64, 3, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			n, size := binary.Varint(data)
			if size <= 0 {
				n, size = int64(int8(data[0])), 1
			}
			data = data[size:]
			return int(n)
		}
		s := quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{}}
		if next()%2 != 0 {
			s.Limits = faas.AccountLimits{MemoryMB: next(), Executions: next(), FunctionMaximum: next(), Expansion: next()}
		}
		for i := 0; len(data) > 0 && i < 20; i++ {
			var one quota.FunctionSettings
			one.MemoryMB, one.Concurrency = next(), next()
			if unit := next(); unit%3 != 0 {
				one.Reserved = &faas.Amount{Unit: []faas.Unit{"", faas.UnitExecutions, faas.UnitMemoryMB}[max(unit%3, 0)], Value: next()}
			}
			for j := range max(0, next()%3) {
				if one.Provisioned == nil {
					one.Provisioned = map[string]quota.Provision{}
				}
				one.Provisioned[fmt.Sprint(j+1)] = quota.Provision{Instances: next(), MemoryMB: next(), Concurrency: next()}
			}
			s.Functions[functionID(fmt.Sprint("f", i))] = one
		}
		if err := quota.Check(account, s); err != nil {
			if !faas.IsCode(err, faas.CodeInvalid) {
				t.Fatalf("refused with another code: %v", err)
			}
			return
		}
		inForce(t, s)
	})
}

// inForce configures what Check has passed, with every provisioned target at its
// peak: all must be funded and the floor be free.
func inForce(t *testing.T, s quota.Settings) {
	t.Helper()
	al := quota.New(quota.Options{})
	al.Configure(account, s)
	if r := s.Functions[functionID("f")].Reserved; r != nil && r.Value > 0 {
		if _, err := al.Admit(version("f", "1", 128, 1), quota.Synchronous); err != nil {
			t.Errorf("reserved %s and nothing runs: %v", r, err)
		}
	}
	for id, f := range s.Functions {
		al.Provision(id, f.Provisioned)
	}
	u := al.Usage(account)
	for _, f := range u.Functions {
		if f.Funded != f.Wanted {
			t.Errorf("%s: of %+v wanted only %+v is funded", f.Function.Name, f.Wanted, f.Funded)
		}
	}
	if u.Free.Executions < faas.SharedExecutions || u.Free.MemoryMB < faas.SharedMemoryMB {
		t.Errorf("only %+v is shared", u.Free)
	}
}
