package pool_test

import (
	"sync"
	"testing"
	"time"

	"hearth/faas"
	"hearth/quota"
)

// caps is a small exact quota: instances of each function and their memory, busy,
// starting or provisioned, and starts in any 60 s. The zero value admits all. What
// the real allocator adds to it (reservations, guarantees, order of names) is none
// of the pool's business.
type caps struct {
	t         *testing.T
	instances int           // of one function; 0 is no cap
	memoryMB  int           // of all; 0 is no cap
	starts    int           // in any 60 s; 0 is no cap
	ceiling   quota.Ceiling // of every function

	mu       sync.Mutex
	used     map[faas.FunctionID]int
	usedMB   int
	began    []time.Time
	targets  map[faas.VersionID]int
	marks    map[faas.VersionID]int
	again    error // what Again answers
	leases   int
	purposes map[quota.Purpose]int
}

func newCaps(t *testing.T) *caps {
	return &caps{t: t, used: map[faas.FunctionID]int{}, targets: map[faas.VersionID]int{},
		marks: map[faas.VersionID]int{}, purposes: map[quota.Purpose]int{}}
}

// provision charges a number of provisioned instances, marked or not, and reports
// whether the function is above its cap now.
func (c *caps) provision(v *faas.Version, n int) (above bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chargeLocked(v, n-c.targets[v.ID])
	c.targets[v.ID] = n
	if c.marks[v.ID] > n {
		c.t.Errorf("%d marks where %d are configured", c.marks[v.ID], n)
	}
	return c.instances > 0 && c.used[v.ID.Function] > c.instances
}

// room is how many more instances the caps allow.
func (c *caps) room(v *faas.Version) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := 1000
	if c.instances > 0 {
		room = c.instances - c.used[v.ID.Function]
	}
	if c.memoryMB > 0 {
		room = min(room, (c.memoryMB-c.usedMB)/v.Config.MemoryMB)
	}
	return max(0, room)
}

func (c *caps) chargeLocked(v *faas.Version, n int) {
	c.used[v.ID.Function] += n
	c.usedMB += n * v.Config.MemoryMB
}

func (c *caps) Admit(*faas.Version, quota.Kind) (quota.Lease, error) {
	return quota.Unlimited{}.Admit(nil, 0)
}

func (c *caps) Occupy(v *faas.Version) (quota.InstanceLease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grantLocked(v)
}

func (c *caps) grantLocked(v *faas.Version) (quota.StartLease, error) {
	switch {
	case c.instances > 0 && c.used[v.ID.Function] >= c.instances:
		return nil, refusal(faas.LimitFunction, faas.UnitInstances, c.instances, c.used[v.ID.Function])
	case c.memoryMB > 0 && c.usedMB+v.Config.MemoryMB > c.memoryMB:
		return nil, refusal(faas.LimitMemory, faas.UnitMemoryMB, c.memoryMB, c.usedMB)
	}
	return c.leaseLocked(v), nil
}

func (c *caps) leaseLocked(v *faas.Version) *capLease {
	c.chargeLocked(v, 1)
	c.leases++
	return &capLease{caps: c, version: v, give: func() { c.chargeLocked(v, -1) }}
}

func (c *caps) Start(v *faas.Version, purpose quota.Purpose) (quota.StartLease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mark := purpose == quota.ForProvisioned || purpose == quota.Adopt
	if mark && c.marks[v.ID] >= c.targets[v.ID] {
		return nil, refusal(faas.LimitMemory, faas.UnitInstances, c.targets[v.ID], c.marks[v.ID])
	}
	if purpose != quota.Adopt {
		if err := c.expandLocked(); err != nil {
			return nil, err
		}
	}
	c.purposes[purpose]++
	if !mark {
		lease, err := c.grantLocked(v)
		if err != nil {
			c.began = c.began[:len(c.began)-1]
			c.purposes[purpose]--
		}
		return lease, err
	}
	c.marks[v.ID]++
	c.leases++
	return &capLease{caps: c, version: v, give: func() { c.marks[v.ID]-- }}, nil
}

func (c *caps) expandLocked() error {
	now := time.Now()
	for len(c.began) > 0 && now.Sub(c.began[0]) >= time.Minute {
		c.began = c.began[1:]
	}
	if c.starts > 0 && len(c.began) >= c.starts {
		return refusal(faas.LimitExpansion, faas.UnitStarts, c.starts, len(c.began))
	}
	c.began = append(c.began, now)
	return nil
}

func (c *caps) Assume(v *faas.Version) quota.InstanceLease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaseLocked(v)
}

func (c *caps) Ceiling(*faas.Version) quota.Ceiling { return c.ceiling }

// out is how many leases are out.
func (c *caps) out() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leases
}

func refusal(limit faas.Limit, unit faas.Unit, value, use int) error {
	return &faas.Error{Code: faas.CodeThrottled, Subject: string(limit), Message: "no more",
		Cause: &faas.Refusal{Limit: limit, Unit: unit, Value: value, Use: use}}
}

type capLease struct {
	caps    *caps
	version *faas.Version
	give    func()
	ended   bool
}

func (l *capLease) Release() {
	l.caps.mu.Lock()
	defer l.caps.mu.Unlock()
	if l.ended {
		l.caps.t.Error("a lease was released twice")
		return
	}
	l.ended = true
	l.caps.leases--
	l.give()
}

func (l *capLease) Renew() error {
	l.caps.mu.Lock()
	defer l.caps.mu.Unlock()
	if !l.ended {
		l.caps.t.Error("a lease was renewed that had not ended")
	}
	again, err := l.caps.grantLocked(l.version)
	if err == nil {
		*l = *again.(*capLease)
	}
	return err
}

func (l *capLease) Void() { l.Release() }

func (l *capLease) Again() error {
	l.caps.mu.Lock()
	defer l.caps.mu.Unlock()
	if l.ended {
		l.caps.t.Error("a lease that was released started again")
	}
	return l.caps.again
}
