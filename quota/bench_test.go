package quota_test

import (
	"strconv"
	"testing"

	"hearth/faas"
	"hearth/quota"
)

// busy is an allocator that knows many functions, a tenth of them reserved.
func busy(b *testing.B) (*quota.Allocator, *faas.Version) {
	b.Helper()
	al := quota.New(quota.Options{})
	s := quota.Settings{Limits: faas.DefaultAccountLimits(), Functions: map[faas.FunctionID]quota.FunctionSettings{}}
	for i := range 1000 {
		name := "function-" + strconv.Itoa(i)
		if i%10 == 0 {
			s.Functions[functionID(name)] = quota.FunctionSettings{Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 5}, MemoryMB: 128, Concurrency: 1}
		}
		lease, err := al.Admit(version(name, "1", 128, 1), quota.Synchronous)
		if err != nil {
			b.Fatal(err)
		}
		lease.Release()
	}
	al.Configure(account, s)
	return al, version("function-501", "1", 128, 1)
}

func BenchmarkAdmitRelease(b *testing.B) {
	al, v := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		lease, err := al.Admit(v, quota.Synchronous)
		if err != nil {
			b.Fatal(err)
		}
		lease.Release()
	}
}

func BenchmarkOccupyRelease(b *testing.B) {
	al, v := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		lease, err := al.Occupy(v)
		if err != nil {
			b.Fatal(err)
		}
		lease.Release()
	}
}

func BenchmarkAdmitReleaseParallel(b *testing.B) {
	al, v := busy(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			lease, err := al.Admit(v, quota.Synchronous)
			if err != nil {
				b.Error(err)
				return
			}
			lease.Release()
		}
	})
}

func BenchmarkRefusal(b *testing.B) {
	al, v := busy(b)
	zero := faas.AccountLimits{MemoryMB: 12_800}
	al.Configure(account, quota.Settings{Limits: zero})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := al.Admit(v, quota.Synchronous); err == nil {
			b.Fatal("admitted")
		}
	}
}

func BenchmarkStartVoid(b *testing.B) {
	al, v := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		lease, err := al.Start(v, quota.ForCall)
		if err != nil {
			b.Fatal(err)
		}
		lease.Void()
	}
}

// BenchmarkFilling has a hundred reservations, of which the last is not whole: what
// is assumed is taken from it and what is released goes to it.
func BenchmarkFilling(b *testing.B) {
	al, v := busy(b)
	s := quota.Settings{Limits: faas.AccountLimits{Executions: 1000, MemoryMB: 64_000}, Functions: map[faas.FunctionID]quota.FunctionSettings{}}
	for i := range 100 {
		s.Functions[functionID("reserved-"+strconv.Itoa(i))] = quota.FunctionSettings{Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 5}, MemoryMB: 128, Concurrency: 1}
	}
	al.Configure(account, s)
	b.ReportAllocs()
	for b.Loop() {
		al.Assume(v).Release()
	}
}
