package stage

import "time"

// What follows is the JSON of Hearth's own API as far as it is needed here,
// written down once more and not imported: other builds of Hearth are measured
// too, and what one does not tell yet is zero.

// Timeline is where the time of one invocation went, by Hearth's own account.
type Timeline struct {
	Queue   time.Duration `json:"queue"`
	Thaw    time.Duration `json:"thaw,omitempty"`
	Sandbox time.Duration `json:"sandbox"`
	Runtime time.Duration `json:"runtime"`
	Code    time.Duration `json:"code"`
	Init    time.Duration `json:"init"`
	Handler time.Duration `json:"handler"`
	Settle  time.Duration `json:"settle"`
	// Way is how the instance of a cold start was started: WayCell, WayEmpty or
	// WayDirect; empty where this Hearth knows one way only.
	Way       string `json:"way,omitempty"`
	WayReason string `json:"wayReason,omitempty"`
}

// Sum is the time that the parts account for.
func (t Timeline) Sum() time.Duration {
	return t.Queue + t.Thaw + t.Sandbox + t.Runtime + t.Code + t.Init + t.Handler + t.Settle
}

// The ways of a cold start.
const (
	WayCell   = "cell"   // a stem cell became the instance
	WayEmpty  = "empty"  // one could have, but none stood by
	WayDirect = "direct" // none can, or there are none
)

// Report is Hearth's record of one invocation.
type Report struct {
	RequestID string        `json:"requestId"`
	Start     string        `json:"start"` // warm or cold
	Cold      string        `json:"cold"`  // why
	Status    string        `json:"status"`
	Duration  time.Duration `json:"duration"`
	Timeline  Timeline      `json:"timeline"`
}

// IsCold says whether the invocation waited for a new instance.
func (r Report) IsCold() bool { return r.Start == "cold" }

// Description is what Hearth tells of a function.
type Description struct {
	Instances struct {
		Starting int `json:"starting"`
		Idle     int `json:"idle"`
		Busy     int `json:"busy"`
	} `json:"instances"`
	Recent []Report `json:"recent"` // newest first, at most 32
}

// Cells is the stock of one class of stem cells.
type Cells struct {
	Runtime    string        `json:"runtime"`
	MemoryMB   int           `json:"memoryMB"`
	Parked     int           `json:"parked"`
	Booting    int           `json:"booting"`
	Wanted     int           `json:"wanted"`
	Hits       uint64        `json:"hits"`
	Misses     uint64        `json:"misses"`
	Refills    uint64        `json:"refills"`
	RefillTime time.Duration `json:"refillTime"`
	RefillCPU  time.Duration `json:"refillCPU"`
}

// Full says whether the stock is what it is meant to be.
func (c Cells) Full() bool { return c.Booting == 0 && c.Parked >= c.Wanted }

// Runtime is a line of the catalogue.
type Runtime struct {
	Name      string `json:"name"`
	Installed bool   `json:"installed"`
	Version   string `json:"version"`
	Path      string `json:"path"`
}

type deployRequest struct {
	Runtime            string            `json:"runtime"`
	Handler            string            `json:"handler"`
	MemoryMB           int               `json:"memoryMB"`
	TimeoutSeconds     int               `json:"timeoutSeconds"`
	InitTimeoutSeconds int               `json:"initTimeoutSeconds,omitempty"`
	Egress             string            `json:"egress"`
	Environment        map[string]string `json:"environment,omitempty"`
	Zip                []byte            `json:"zip"`
}

type limitsRequest struct {
	MemoryMB        int `json:"memoryMB"`
	Executions      int `json:"executions"`
	FunctionMaximum int `json:"functionMaximum"` // 0 is none
	Expansion       int `json:"expansion"`       // 0 is none
}
