package pool_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// stock is spares that are taken from a pool's room and give way.
type stock struct {
	pools *pool.Pools

	mu     sync.Mutex
	spares int
	yields int
}

func (s *stock) fill() (n int) {
	for s.pools.TakeSpare() {
		s.mu.Lock()
		s.spares++
		s.mu.Unlock()
		n++
	}
	return n
}

func (s *stock) Yield() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spares == 0 {
		return false
	}
	s.spares--
	s.yields++
	s.pools.GiveSpare()
	return true
}

// Spares take the room that instances leave, and give it back before an idle
// instance is stopped or a call refused.
func TestSparesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starter := pooltest.New(nil)
		s := &stock{}
		s.pools = pool.New(pool.Options{Starter: starter, Spares: s, MaxInstances: 3})
		defer s.pools.Close(t.Context())
		call := func(name string) *pool.Hold {
			t.Helper()
			hold, err := s.pools.Acquire(t.Context(), spareVersion(name))
			if err != nil {
				t.Fatal(err)
			}
			return hold
		}
		first := call("a")
		if n := s.fill(); n != 2 {
			t.Fatalf("%d spares beside an instance, where there is room for 3", n)
		}
		first.Release()
		second, third := call("b"), call("c") // the idle instance of a stays
		if s.yields != 2 || starter.Running() != 3 {
			t.Errorf("%d spares gave way, %d instances run", s.yields, starter.Running())
		}
		if s.pools.TakeSpare() {
			t.Error("a spare took room that is not there")
		}
		fourth := call("d") // now it goes
		synctest.Wait()
		if starter.Running() != 3 {
			t.Errorf("%d instances run", starter.Running())
		}
		if _, err := s.pools.Acquire(t.Context(), spareVersion("e")); !faas.IsCode(err, faas.CodeNoCapacity) {
			t.Errorf("a fourth call on a machine for three: %v", err)
		}
		second.Release()
		third.Release()
		fourth.Release()
	})
}

func spareVersion(name string) *faas.Version {
	return &faas.Version{ID: faas.VersionID{Function: faas.FunctionID{Name: name}, Number: "1"}, Revision: "r",
		Config: faas.Config{MemoryMB: 128, TimeoutSeconds: 3, InitTimeoutSeconds: 10, InstanceConcurrency: 1}}
}
