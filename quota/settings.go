package quota

import "hearth/faas"

// Account names what one allocator counts: an account in one region, all its
// namespaces together.
type Account struct {
	ID     string `json:"account"`
	Region string `json:"region"`
}

// AccountOf returns the account whose quotas a scope counts in.
func AccountOf(s faas.Scope) Account { return Account{s.Account, s.Region} }

func (a Account) String() string { return a.ID + "/" + a.Region }

// Settings are all the quotas of one account, as they are configured.
type Settings struct {
	Limits faas.AccountLimits
	// Functions has the functions that have a setting of their own.
	Functions map[faas.FunctionID]FunctionSettings
}

// FunctionSettings are the quotas of one function.
type FunctionSettings struct {
	Reserved *faas.Amount // nil is none; 0 switches the function off
	Maximum  *int         // in place of AccountLimits.FunctionMaximum; 0 is no limit
	// Provisioned has the most instances that each provisioned concurrency of the
	// function can come to want, by qualifier.
	Provisioned map[string]Provision
	// MemoryMB and Concurrency are the largest of the function's versions: what a
	// reservation is converted with into the other unit.
	MemoryMB    int
	Concurrency int
}

// Provision is a number of provisioned instances of one size.
type Provision struct {
	Instances   int
	MemoryMB    int // of one of them; of an alias with two versions the larger
	Concurrency int // invocations that one of them may hold
}
