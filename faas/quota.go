package faas

import (
	"fmt"
	"strings"
	"time"
)

// Unit is what an amount of concurrency is counted in.
type Unit string

// The units of concurrency. Lambda counts executions, Tencent SCF megabytes.
const (
	UnitExecutions Unit = "executions" // invocations in flight
	UnitMemoryMB   Unit = "MB"         // memory of the instances that are busy, starting or provisioned
	UnitInstances  Unit = "instances"
	UnitStarts     Unit = "starts" // of instances, in any 60 s
	UnitEvents     Unit = "events" // that wait in queues
	UnitBytes      Unit = "bytes"
)

// Amount is an amount of concurrency in the unit in which it was set. It is
// converted for display only.
type Amount struct {
	Unit  Unit `json:"unit"`
	Value int  `json:"value"`
}

// String is the amount in words, such as "1 instance" or "1280 MB".
func (a Amount) String() string {
	unit := string(a.Unit)
	if a.Value == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	return fmt.Sprintf("%d %s", a.Value, unit)
}

// AccountLimits are the quotas of one account in one region.
type AccountLimits struct {
	MemoryMB        int `json:"memoryMB"`        // of instances that are busy, starting or provisioned
	Executions      int `json:"executions"`      // invocations in flight
	FunctionMaximum int `json:"functionMaximum"` // instances of one function without a reservation; 0 is no limit
	Expansion       int `json:"expansion"`       // starts of instances in any 60 s; 0 is no limit
}

// What no reservation and no provisioned concurrency may take of an account.
const (
	SharedMemoryMB   = 12_800
	SharedExecutions = 100
)

// ExpansionWindow is the time in which AccountLimits.Expansion starts are allowed.
const ExpansionWindow = time.Minute

// DefaultAccountLimits are those of an account for which nothing was set.
func DefaultAccountLimits() AccountLimits {
	return AccountLimits{MemoryMB: 128_000, Executions: 1000, FunctionMaximum: 300, Expansion: 500}
}

// Provisioned is the provisioned concurrency of a version or an alias: instances
// that are started and initialised in advance and kept.
type Provisioned struct {
	Qualifier string `json:"qualifier"` // a version number or an alias
	// Amount is what was asked for: instances, executions or MB.
	Amount Amount `json:"amount"`
	// Instances is Amount in instances. While a schedule or Tracking rules it is
	// where they start from.
	Instances int        `json:"instances"`
	Schedules []Schedule `json:"schedules,omitempty"`
	Tracking  *Tracking  `json:"tracking,omitempty"`
	Modified  time.Time  `json:"modified"`
}

// Schedule sets the provisioned instances at certain times. One that comes later
// overrides; of two at the same instant, the one that is listed later.
type Schedule struct {
	Name      string    `json:"name"`
	Cron      string    `json:"cron"`               // 5, 6 (seconds first) or 7 fields (year last)
	TimeZone  string    `json:"timeZone,omitempty"` // IANA name; empty is UTC
	Instances int       `json:"instances"`
	Tracking  *Tracking `json:"tracking,omitempty"` // in place of Instances
}

// Tracking keeps the utilisation of provisioned instances near Target: wanted =
// calls in flight / Target, within Min and Max.
type Tracking struct {
	Target float64 `json:"target"` // above 0 and below 1
	Min    int     `json:"min"`    // at least 1
	Max    int     `json:"max"`
}

// Peak is the most instances that the configuration can come to want.
func (p Provisioned) Peak() int {
	peak := p.Instances
	if p.Tracking != nil {
		peak = max(peak, p.Tracking.Max)
	}
	for _, s := range p.Schedules {
		peak = max(peak, s.Instances)
		if s.Tracking != nil {
			peak = max(peak, s.Tracking.Max)
		}
	}
	return peak
}

// Provisioning is what the provisioned concurrency of one function rests on, as
// it is at one moment.
type Provisioning struct {
	Function FunctionID
	Configs  []Provisioned
	// Routes says which versions the calls of each configured qualifier go to now.
	// A qualifier that names nothing callable has none.
	Routes map[string][]Route
}

// Route is a version and the share of calls, above 0 and at most 1, that goes to it.
type Route struct {
	Version *Version
	Weight  float64
}

// ProvisionedCounts are the provisioned instances of one revision.
type ProvisionedCounts struct {
	Target    int // instances wanted
	Allocated int // starting and ready, at most Target
	Ready     int // initialised, busy or not
	// Failure is why they cannot be started, after several failures in a row; nil
	// while they are tried.
	Failure error
}

// ProvisionedState is how far a provisioned concurrency is.
type ProvisionedState string

// The states of a provisioned concurrency.
const (
	ProvisionedInProgress ProvisionedState = "IN_PROGRESS"
	ProvisionedReady      ProvisionedState = "READY"
	ProvisionedFailed     ProvisionedState = "FAILED"
)

// ProvisionedStatus is what became of a Provisioned so far, in instances.
type ProvisionedStatus struct {
	Requested int              `json:"requested"` // wanted now: what is configured, scheduled or tracked
	Allocated int              `json:"allocated"` // starting and ready
	Available int              `json:"available"` // ready
	State     ProvisionedState `json:"state"`
	Reason    string           `json:"reason,omitempty"`
}
