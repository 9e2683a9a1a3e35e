package metric

import "fmt"

// State is what a gauge of a series counts.
type State uint8

// The gauges of a series. The instances of a revision are in exactly one of the
// first five; Provisioned is a mark that some of them have.
const (
	Starting    State = iota // instances being started or initialised
	Idle                     // ready, holding no call
	Busy                     // ready, holding some
	Frozen                   // as Idle, and none of its processes runs
	Draining                 // taking no more calls
	Provisioned              // ready and provisioned, holding calls or not
	InFlight                 // calls that an instance holds
	Waiting                  // calls that wait for an instance
	states
)

var stateNames = [states]string{"starting", "idle", "busy", "frozen", "draining", "provisioned", "inFlight", "waiting"}

func (s State) String() string {
	if s < states {
		return stateNames[s]
	}
	return fmt.Sprintf("unknown(%d)", s)
}

// States returns every state, in order.
func States() []State {
	all := make([]State, states)
	for i := range all {
		all[i] = State(i)
	}
	return all
}
