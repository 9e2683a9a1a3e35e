package pool

import (
	"errors"
	"testing"
)

func TestStateRefusesEveryMoveThatIsNotListed(t *testing.T) {
	legal := map[[2]Life]bool{
		{Starting, Initializing}: true, {Starting, Draining}: true,
		{Initializing, Ready}: true, {Initializing, Draining}: true,
		{Ready, Draining}:   true,
		{Draining, Stopped}: true,
	}
	for from := Life(0); from < lives; from++ {
		for to := Life(0); to <= lives; to++ {
			s := state{life: from, limit: 1}
			checkMove(t, s.move(to), legal[[2]Life{from, to}], from.String(), to.String())
			if want := to; legal[[2]Life{from, to}] && s.life != want {
				t.Errorf("%s → %s ended in %s", from, to, s.life)
			} else if !legal[[2]Life{from, to}] && s.life != from {
				t.Errorf("%s → %s was refused and still moved to %s", from, to, s.life)
			}
		}
	}
}

func checkMove(t *testing.T, err error, legal bool, from, to string) {
	t.Helper()
	var illegal *illegalMove
	switch {
	case legal && err != nil:
		t.Errorf("%s → %s: %v", from, to, err)
	case !legal && !errors.As(err, &illegal):
		t.Errorf("%s → %s: error %v, want an illegal move", from, to, err)
	}
}

func TestStateCPUMoves(t *testing.T) {
	legal := map[[2]CPU]bool{
		{Running, Freezing}: true, {Freezing, Frozen}: true, {Freezing, Running}: true,
		{Frozen, Thawing}: true, {Thawing, Running}: true,
	}
	for from := CPU(0); from < cpus; from++ {
		for to := CPU(0); to <= cpus; to++ {
			s := state{life: Ready, cpu: from, limit: 1}
			checkMove(t, s.setCPU(to), legal[[2]CPU{from, to}], from.String(), to.String())
		}
	}
	for _, s := range []state{{life: Ready, n: 1}, {life: Initializing}, {life: Draining}} {
		checkMove(t, s.setCPU(Freezing), false, s.life.String(), "Freezing")
	}
}

func TestStateHoldsAndReleases(t *testing.T) {
	for life := Life(0); life < lives; life++ {
		for n := 0; n <= 2; n++ {
			s := state{life: life, n: n, limit: 2}
			checkMove(t, s.hold(), life == Ready && n < 2, life.String(), "hold")
			s = state{life: life, n: n, limit: 2}
			checkMove(t, s.release(), life >= Ready && n > 0, life.String(), "release")
		}
	}
}

func TestStateKeepsTheFirstCause(t *testing.T) {
	s := state{life: Ready, limit: 1}
	if err := s.drain(CauseTimeout); err != nil {
		t.Fatal(err)
	}
	if err := s.drain(CauseExit); err != nil {
		t.Fatal(err)
	}
	if s.cause != CauseTimeout {
		t.Errorf("cause %q, want the first", s.cause)
	}
	if err := s.move(Stopped); err != nil {
		t.Fatal(err)
	}
	if err := s.drain(CauseExit); err == nil {
		t.Error("a stopped instance was drained")
	}
}
