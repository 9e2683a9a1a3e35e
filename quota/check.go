package quota

import (
	"fmt"
	"maps"
	"slices"

	"hearth/faas"
)

// Bounds of what can be configured: beyond every machine, far below overflow.
const (
	maxMemoryMB    = 1 << 30 // of an account
	maxExecutions  = 1 << 24
	maxInstances   = 1 << 24
	maxExpansion   = 1 << 24
	maxInstanceMB  = 1 << 20 // of one instance
	maxConcurrency = 1 << 16 // of one instance
)

// Check says whether settings can be put into force: every value is within its
// bounds, provisioned concurrency fits into the function's reservation, and all
// that is set aside leaves faas.SharedMemoryMB and faas.SharedExecutions of the
// account shared. It is pure; provisioned concurrency counts with its peak.
//
// The error is faas.CodeInvalid and its subject the field that is wrong, one of
// memoryMB, executions, functionMaximum, expansion, reserved, maximum and
// provisioned; or, where the sums leave too little shared, unreserved.executions
// or unreserved.memoryMB with a *faas.Refusal as cause.
func Check(id Account, s Settings) error {
	if err := checkLimits(id, s.Limits); err != nil {
		return err
	}
	var reserved, provisioned amount
	for _, f := range slices.SortedFunc(maps.Keys(s.Functions), compareFunctions) {
		settings := s.Functions[f]
		if err := checkFunction(f, settings); err != nil {
			return err
		}
		peaks, aside := peak(settings), setAside(settings)
		for u := range units {
			reserved[u] = plus(reserved[u], aside[u])
			provisioned[u] = plus(provisioned[u], max(0, peaks[u]-aside[u]))
		}
	}
	return checkShared(id, s.Limits, reserved, provisioned)
}

func checkLimits(id Account, l faas.AccountLimits) error {
	for _, field := range []struct {
		name        string
		value       int
		least, most int
		why         string
	}{
		{"memoryMB", l.MemoryMB, faas.SharedMemoryMB, maxMemoryMB, ": what always stays shared must fit"},
		{"executions", l.Executions, faas.SharedExecutions, maxExecutions, ": what always stays shared must fit"},
		{"functionMaximum", l.FunctionMaximum, 0, maxInstances, "; 0 is no limit"},
		{"expansion", l.Expansion, 0, maxExpansion, "; 0 is no limit"},
	} {
		if field.value < field.least || field.value > field.most {
			return faas.Errorf(faas.CodeInvalid, field.name, "%s of account %s is %d and must be from %d to %d%s",
				field.name, id, field.value, field.least, field.most, field.why)
		}
	}
	return nil
}

func checkFunction(id faas.FunctionID, s FunctionSettings) error {
	if m := s.Maximum; m != nil && (*m < 0 || *m > maxInstances) {
		return faas.Errorf(faas.CodeInvalid, "maximum", "the maximum of function %s is %d instances and must be from 0 to %d; 0 is no limit", id.Name, *m, maxInstances)
	}
	if s.MemoryMB < 0 || s.MemoryMB > maxInstanceMB || s.Concurrency < 0 || s.Concurrency > maxConcurrency {
		return faas.Errorf(faas.CodeInvalid, "reserved", "function %s has instances of %d MB for %d invocations: quotas are kept for up to %d MB and %d", id.Name, s.MemoryMB, s.Concurrency, maxInstanceMB, maxConcurrency)
	}
	for _, qualifier := range slices.Sorted(maps.Keys(s.Provisioned)) {
		p := s.Provisioned[qualifier]
		if p.Instances < 0 || p.Instances > maxInstances || p.MemoryMB < 0 || p.MemoryMB > maxInstanceMB || p.Concurrency < 0 || p.Concurrency > maxConcurrency {
			return faas.Errorf(faas.CodeInvalid, "provisioned", "the provisioned concurrency of %s:%s is %d instances of %d MB for %d invocations each and must be within 0 to %d instances, %d MB and %d", id.Name, qualifier,
				p.Instances, p.MemoryMB, p.Concurrency, maxInstances, maxInstanceMB, maxConcurrency)
		}
	}
	if s.Reserved == nil {
		return nil
	}
	return checkReserved(id, s)
}

func checkReserved(id faas.FunctionID, s FunctionSettings) error {
	r, u, bound := *s.Reserved, executions, maxExecutions
	switch r.Unit {
	case faas.UnitExecutions:
	case faas.UnitMemoryMB:
		u, bound = memory, maxMemoryMB
	default:
		return faas.Errorf(faas.CodeInvalid, "reserved", "the reserved concurrency of function %s is in %q and must be in %s or %s", id.Name, r.Unit, faas.UnitExecutions, faas.UnitMemoryMB)
	}
	switch p := peak(s)[u]; {
	case r.Value < 0 || r.Value > bound:
		return faas.Errorf(faas.CodeInvalid, "reserved", "the reserved concurrency of function %s is %s and must be from 0 to %d", id.Name, r, bound)
	case u == memory && r.Value > 0 && r.Value < s.MemoryMB:
		return faas.Errorf(faas.CodeInvalid, "reserved", "the reserved concurrency of function %s is %s and holds none of its instances of %d MB: reserve at least %d MB, or 0 to switch the function off",
			id.Name, r, s.MemoryMB, s.MemoryMB)
	case p > r.Value:
		return faas.Errorf(faas.CodeInvalid, "provisioned", "the provisioned concurrency of function %s comes to %d %s and its reserved concurrency is %s: provision at most that, or reserve at least %d %s",
			id.Name, p, u.name(), r, p, u.name())
	}
	return nil
}

func checkShared(id Account, l faas.AccountLimits, reserved, provisioned amount) error {
	for _, c := range []struct {
		unit         unit
		limit, floor int
		name, raise  string
	}{
		{executions, l.Executions, faas.SharedExecutions, "executions", "--executions N"},
		{memory, l.MemoryMB, faas.SharedMemoryMB, "memoryMB", "--memory MB"},
	} {
		u, most := c.unit, c.limit-c.floor
		sum := plus(reserved[u], provisioned[u])
		if sum <= most {
			continue
		}
		raise := fmt.Sprintf("raise the account's limit with `hearth quota account %s`", c.raise)
		return &faas.Error{
			Code:    faas.CodeInvalid,
			Subject: "unreserved." + c.name,
			Message: fmt.Sprintf("account %s has %d %s, of which %d always stay shared, so that at most %d can be set aside; reservations (%d) and provisioned concurrency outside them (%d) would take %d, which is %d too many; %s",
				id, c.limit, u.name(), c.floor, most, reserved[u], provisioned[u], sum, sum-most, raise),
			Cause: &faas.Refusal{Limit: limitOf(u), Unit: u.name(), Value: most, Use: sum, Subject: id.String(), Raise: raise},
		}
	}
	return nil
}

// peak is the most that a function's provisioned concurrency can come to want.
func peak(s FunctionSettings) amount {
	var sum amount
	for _, p := range s.Provisioned {
		sum[executions] = plus(sum[executions], times(p.Instances, max(1, p.Concurrency)))
		sum[memory] = plus(sum[memory], times(p.Instances, p.MemoryMB))
	}
	return sum
}

// limitOf is the account's limit in a unit.
func limitOf(u unit) faas.Limit {
	if u == memory {
		return faas.LimitMemory
	}
	return faas.LimitExecutions
}
