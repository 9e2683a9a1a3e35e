package registry

import "hearth/faas"

// AccountLimitsPatch changes the limits of an account; nil keeps one as it is.
type AccountLimitsPatch struct {
	MemoryMB        *int
	Executions      *int
	FunctionMaximum *int // 0 is no limit
	Expansion       *int // 0 is no limit
}

// FunctionQuota are the quotas that were set for one function.
type FunctionQuota struct {
	Reserved *faas.Amount // nil is none
	Maximum  *int         // nil is the account's; 0 is no limit
}
