package metric

import "time"

// Cells is what there is of one class of stem cells, and what happened with them
// since the server began.
type Cells struct {
	Runtime  string `json:"runtime"`
	MemoryMB int    `json:"memoryMB,omitempty"` // of the functions that they serve; 0 is any
	Egress   string `json:"egress"`

	Parked  int `json:"parked"`
	Booting int `json:"booting"`
	Wanted  int `json:"wanted"` // that there should be

	Hits        uint64        `json:"hits"`        // starts that found one
	Misses      uint64        `json:"misses"`      // starts that found none, and were direct ones
	Failed      uint64        `json:"failed"`      // that died before they were an instance
	Refills     uint64        `json:"refills"`     // cells made
	RefillTime  time.Duration `json:"refillTime"`  // in all; nanoseconds
	RefillCPU   time.Duration `json:"refillCPU"`   // in all; nanoseconds
	BootsFailed uint64        `json:"bootsFailed"` // that made none
	Died        uint64        `json:"died"`        // while they were parked
	Evicted     uint64        `json:"evicted"`     // to make room for instances
	Shrunk      uint64        `json:"shrunk"`      // because fewer were wanted
}
