package pool

import "fmt"

// Life is how far an instance is. It only moves forward.
type Life uint8

// The lives of an instance, in order.
const (
	Starting     Life = iota // its sandbox is being made
	Initializing             // its runtime runs the code outside the handler
	Ready                    // it takes invocations
	Draining                 // it takes no more; it is killed when it holds none
	Stopped                  // nothing of it runs
	lives
)

var lifeNames = [lives]string{"Starting", "Initializing", "Ready", "Draining", "Stopped"}

func (l Life) String() string { return nameOf(lifeNames[:], int(l)) }

// CPU says whether the processes of an instance get to run.
type CPU uint8

// The states of an instance's CPU.
const (
	Running CPU = iota
	Freezing
	Frozen
	Thawing
	cpus
)

var cpuNames = [cpus]string{"Running", "Freezing", "Frozen", "Thawing"}

func (c CPU) String() string { return nameOf(cpuNames[:], int(c)) }

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

// Cause is why an instance stopped, or is about to. The first cause wins.
type Cause string

// The causes of an instance's end.
const (
	CauseInit     Cause = "init"     // its start or its init failed
	CauseTimeout  Cause = "timeout"  // an invocation overran its limit
	CauseExit     Cause = "exit"     // the runtime ended, or broke its protocol
	CauseOOM      Cause = "oom"      // it ran out of memory
	CauseIdle     Cause = "idle"     // it was idle for longer than the policy keeps it
	CauseRoom     Cause = "room"     // another instance needed its room
	CauseFreeze   Cause = "freeze"   // it could not be frozen or thawed
	CauseDeploy   Cause = "deploy"   // its revision was replaced or deleted
	CauseShutdown Cause = "shutdown" // Hearth is stopping
	// CauseTerminated: the user ended the invocation that it held.
	CauseTerminated Cause = "terminated"
)

// legalLife lists every legal move of life; all else is refused.
var legalLife = [lives][lives]bool{
	Starting:     {Initializing: true, Draining: true},
	Initializing: {Ready: true, Draining: true},
	Ready:        {Draining: true},
	Draining:     {Stopped: true},
}

// legalCPU lists every legal move of cpu; all else is refused. Freezing goes back
// to Running when a call came meanwhile.
var legalCPU = [cpus][cpus]bool{
	Running:  {Freezing: true},
	Freezing: {Frozen: true, Running: true},
	Frozen:   {Thawing: true},
	Thawing:  {Running: true},
}

// state is the three independent variables of an instance: how far it is, how
// many invocations it holds, and whether its CPU runs. Idle is Ready with none.
// All are guarded by the pool's lock; what is done to the processes so that cpu
// becomes true is ordered by the instance's cpuMu (freeze.go). While nobody has
// that, cpu is Running, Frozen, or Freezing where the freezer has not come yet.
type state struct {
	life  Life
	n     int
	limit int // how many invocations it may hold
	cpu   CPU
	cause Cause // "" before Draining
}

// illegalMove is a move that the tables above do not list: a fault of the pool.
type illegalMove struct{ what, from, to string }

func (e *illegalMove) Error() string {
	return fmt.Sprintf("pool: illegal move of an instance's %s from %s to %s", e.what, e.from, e.to)
}

func (s *state) move(to Life) error {
	if to >= lives || !legalLife[s.life][to] {
		return &illegalMove{"life", s.life.String(), to.String()}
	}
	s.life = to
	return nil
}

// drain takes the instance out of service. Draining one that drains already
// keeps its first cause.
func (s *state) drain(cause Cause) error {
	if s.life == Draining {
		return nil
	}
	if err := s.move(Draining); err != nil {
		return err
	}
	s.cause = cause
	return nil
}

// hold adds one invocation.
func (s *state) hold() error {
	if s.life != Ready || s.n >= s.limit {
		return &illegalMove{"invocations", fmt.Sprintf("%s/%d", s.life, s.n), fmt.Sprint(s.n + 1)}
	}
	s.n++
	return nil
}

// release takes one invocation away. It is legal after the end as well: an
// instance may stop while it holds some.
func (s *state) release() error {
	if s.life < Ready || s.n <= 0 {
		return &illegalMove{"invocations", fmt.Sprintf("%s/%d", s.life, s.n), fmt.Sprint(s.n - 1)}
	}
	s.n--
	return nil
}

// setCPU moves cpu. Only an idle instance begins to freeze.
func (s *state) setCPU(to CPU) error {
	if to >= cpus || !legalCPU[s.cpu][to] || (to == Freezing && !s.idle()) {
		return &illegalMove{"cpu", s.cpu.String(), to.String()}
	}
	s.cpu = to
	return nil
}

func (s *state) idle() bool { return s.life == Ready && s.n == 0 }
