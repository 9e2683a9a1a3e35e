package cell

import "fmt"

// State is where a cell is in its life. It only moves forward. A claimed cell is
// its claimer's: it ends in an instance or in a kill, and is never parked again.
type State int

const (
	Booting State = iota
	Parked
	Claimed
	Dead
)

func (s State) String() string {
	switch s {
	case Booting:
		return "booting"
	case Parked:
		return "parked"
	case Claimed:
		return "claimed"
	case Dead:
		return "dead"
	}
	return fmt.Sprintf("state %d", int(s))
}

// moves are the legal ones.
var moves = map[State][]State{
	Booting: {Parked, Dead},
	Parked:  {Claimed, Dead},
	Claimed: {Dead},
}

// move changes the state, or refuses.
func (s *State) move(to State) error {
	for _, legal := range moves[*s] {
		if legal == to {
			*s = to
			return nil
		}
	}
	return fmt.Errorf("cell: illegal move from %v to %v", *s, to)
}
