package quota

import (
	"fmt"
	"time"

	"hearth/faas"
)

// refusal is what a limit refused with, as it was at that moment. It is put into
// words after the account's lock was given back.
type refusal struct {
	limit      faas.Limit
	unit       faas.Unit
	value, use int // of the limit
	need       int // more of it, than 0 where it is 1 of its unit

	aside   int  // set aside inside value, or beside it: reservations, targets, the synchronous share
	whole   int  // what value is a part of
	filling bool // what is set aside for the function is not whole yet
	own     bool // the maximum is the function's own, not the account's
	target  bool // there is no provisioned target for one more
	ahead   bool // only the part of the window for starts that no invocation waits for is full
	wait    time.Duration

	function faas.FunctionID
	account  Account
}

// of completes a refusal with whom it refused.
func (r *refusal) of(v *version) {
	r.function, r.account = v.function.id, v.function.account.id
}

func (r refusal) err() error {
	subject := r.account.String()
	switch r.limit {
	case faas.LimitOff, faas.LimitReserved, faas.LimitFunction:
		subject = r.function.String()
	}
	message, raise := r.words()
	return &faas.Error{
		Code:    faas.CodeThrottled,
		Subject: string(r.limit),
		Message: message + "; " + raise,
		Cause: &faas.Refusal{Limit: r.limit, Unit: r.unit, Value: r.value, Use: r.use,
			Subject: subject, Raise: raise},
	}
}

// words says what is wrong and what to do.
func (r refusal) words() (message, raise string) {
	name := r.function.Name
	switch r.limit {
	case faas.LimitOff:
		return fmt.Sprintf("function %s is switched off: its reserved concurrency is 0", name),
			fmt.Sprintf("switch it on with `hearth quota reserve %s N` or `hearth quota unreserve %s`", name, name)
	case faas.LimitReserved:
		return r.reservedWords()
	case faas.LimitFunction:
		raise = "raise it with `hearth quota account --function-maximum N`"
		if r.own {
			raise = fmt.Sprintf("raise it with `hearth quota maximum %s N`", name)
		}
		return fmt.Sprintf("function %s has %d of at most %d instances busy, starting or provisioned", name, r.use, r.value), raise
	case faas.LimitExecutions, faas.LimitMemory:
		return r.accountWords()
	case faas.LimitExpansion:
		return r.expansionWords()
	}
	return fmt.Sprintf("asynchronous invocations may use %d executions of account %s and %d are in use: %d stay free for synchronous ones",
			r.value, r.account, r.use, r.aside),
		"wait until others end, or raise it with `hearth quota account --executions N`"
}

func (r refusal) reservedWords() (message, raise string) {
	name := r.function.Name
	switch {
	case r.target:
		return r.targetWords()
	case r.filling:
		return fmt.Sprintf("the reserved concurrency of function %s is still filling: %d of its %d %s are set aside so far and %d are in use%s",
				name, r.value, r.whole, r.unit, r.use, r.more()),
			"wait: it fills first from whatever ends in the account"
	}
	aside := ""
	if r.aside > 0 {
		aside = fmt.Sprintf(", of which %d for provisioned concurrency", r.aside)
	}
	size := "N"
	if r.unit == faas.UnitMemoryMB {
		size = "SIZE"
	}
	return fmt.Sprintf("function %s uses %d of its %d reserved %s%s%s", name, r.use, r.value, r.unit, aside, r.more()),
		fmt.Sprintf("raise it with `hearth quota reserve %s %s`", name, size)
}

func (r refusal) accountWords() (message, raise string) {
	if r.target {
		return r.targetWords()
	}
	raise = "raise it with `hearth quota account --executions N`"
	if r.unit == faas.UnitMemoryMB {
		raise = "raise it with `hearth quota account --memory MB`"
	}
	message = fmt.Sprintf("account %s uses %d of its %d %s", r.account, r.use, r.value, r.unit)
	if r.aside > 0 {
		message = fmt.Sprintf("account %s uses %d of its %d shared %s (%d less %d that are set aside for reserved and provisioned concurrency)",
			r.account, r.use, r.value, r.unit, r.whole, r.aside)
	}
	message += r.more()
	if r.filling {
		message += fmt.Sprintf("; the provisioned concurrency of function %s is filled first from whatever ends", r.function.Name)
	}
	return message, raise
}

func (r refusal) targetWords() (message, raise string) {
	return fmt.Sprintf("function %s has %d of the %d provisioned instances that are wanted of this version", r.function.Name, r.use, r.value),
		fmt.Sprintf("raise it with `hearth quota provision %s QUALIFIER N`", r.function.Name)
}

func (r refusal) expansionWords() (message, raise string) {
	message = fmt.Sprintf("expansion limited: account %s has started %d of at most %d instances in the last %d s",
		r.account, r.use, r.value, faas.ExpansionWindow/time.Second)
	if r.ahead {
		message = fmt.Sprintf("expansion limited: account %s has started %d of at most %d instances that no invocation waits for in the last %d s",
			r.account, r.use, r.value, faas.ExpansionWindow/time.Second)
	}
	seconds := (r.wait + time.Second - 1) / time.Second
	return message, fmt.Sprintf("wait %d s, or raise it with `hearth quota account --expansion N`", seconds)
}

// more says how much was asked for, where that is not 1.
func (r refusal) more() string {
	if r.need <= 1 {
		return ""
	}
	return fmt.Sprintf(", and %d more are needed", r.need)
}
