package runtimes

import (
	"sync"

	"hearth/faas"
	"hearth/runtimes/cell"
)

// CellOptions say how many stem cells a Launcher keeps, and for whom.
type CellOptions struct {
	Policy cell.Policy
	// Saturated reports whether the CPUs have no time to spare, Pressure how much of
	// the machine's memory is in use, 0..1. Both return at once; nil is never and 0.
	Saturated func() bool
	Pressure  func() float64
}

// openCells makes the pool of cells, which is filled as functions become known.
func (l *Launcher) openCells(o CellOptions) *cells {
	c := &cells{launcher: l, room: new(lateRoom), told: make(map[faas.FunctionID]map[cell.Class]int)}
	c.Pool = cell.New(cell.Options[*parked]{
		Policy: o.Policy, Boot: c.boot, Room: c.room, Pressure: o.Pressure, Saturated: o.Saturated,
		Busy: func() bool { return l.starting.Load() > 0 }, Logger: l.log,
	})
	return c
}

// Deployed tells the configurations of a function's versions; none where it is no
// more. Cells are kept for those that are deployed. It returns at once, unless an
// interpreter must be looked at for the first time. Safe for concurrent use; of two
// calls for the same function the later one must begin after the other has ended.
func (l *Launcher) Deployed(id faas.FunctionID, configs []faas.Config) {
	if l.cells == nil {
		return
	}
	now := make(map[cell.Class]int)
	for _, config := range configs {
		p, err := l.plan(&faas.Version{ID: faas.VersionID{Function: id}, Config: config}, "")
		if err != nil {
			continue // who starts it gets the error
		}
		if class, reason := l.cells.classOf(p); reason == "" {
			now[class]++
		}
	}
	for class, n := range l.cells.replace(id, now) {
		l.cells.Deploy(class, n)
	}
}

// replace notes the classes of a function and returns what changed.
func (c *cells) replace(id faas.FunctionID, now map[cell.Class]int) map[cell.Class]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := make(map[cell.Class]int)
	for class, n := range now {
		changes[class] += n
	}
	for class, n := range c.told[id] {
		if changes[class] -= n; changes[class] == 0 {
			delete(changes, class)
		}
	}
	if c.told[id] = now; len(now) == 0 {
		delete(c.told, id)
	}
	return changes
}

// lateRoom is the machine's budget, known only after the launcher was made. Until
// then there is no room.
type lateRoom struct {
	mu   sync.Mutex
	room cell.Room
}

func (r *lateRoom) set(room cell.Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room = room
}

func (r *lateRoom) get() cell.Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.room
}

// TakeSpare implements cell.Room.
func (r *lateRoom) TakeSpare() bool {
	room := r.get()
	return room != nil && room.TakeSpare()
}

// GiveSpare implements cell.Room.
func (r *lateRoom) GiveSpare() { r.get().GiveSpare() }

// FillCells begins to keep cells, within the machine's budget.
func (l *Launcher) FillCells(room cell.Room) {
	if l.cells != nil {
		l.cells.room.set(room)
	}
}

// Yield implements pool.Spares.
func (l *Launcher) Yield() bool { return l.cells != nil && l.cells.Yield() }

// CellStats are the classes of cells that are known; none where cells are off.
func (l *Launcher) CellStats() []cell.Stat {
	if l.cells == nil {
		return nil
	}
	return l.cells.Stats()
}

// CellPolicy is how many cells a machine keeps by itself: at most a quarter of its
// instances, and as many as fit into a thirty-second of its memory. most bounds
// those of one class; 0 is by itself.
func CellPolicy(most, maxInstances, memoryMB int) cell.Policy {
	const usual, cellMB = 16, 12
	if most == 0 {
		most = usual
	}
	total := memoryMB / 32 / cellMB
	if memoryMB == 0 {
		total = usual
	}
	if maxInstances > 0 {
		total = min(total, maxInstances/4)
	}
	return cell.Policy{Floor: min(2, most), Most: most, Total: total}
}
