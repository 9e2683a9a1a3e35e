package metric

import "hearth/faas"

// Quotas tells what of an account's quotas is in use.
type Quotas interface {
	// Use returns the quotas of an account in a region and their use. It returns at
	// once and is safe for concurrent use.
	Use(account, region string) Use
}

// Use is the quotas of one account in one region and what of them is in use now.
type Use struct {
	Limits     faas.AccountLimits `json:"limits"`
	MemoryMB   int                `json:"memoryMB"`   // of instances that are busy, starting or provisioned
	Executions int                `json:"executions"` // invocations in flight
	Starts     int                `json:"starts"`     // of instances, in the last 60 s
}
