package pool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/pool"
	"hearth/pool/pooltest"
)

// An instance on which something works after its answer takes no call and is not
// frozen until that is done; nor does a call wait for it that another can serve.
func TestLingering(t *testing.T) {
	const lingers = time.Second
	fake := pooltest.New(func(int, *faas.Version) pooltest.Script { return pooltest.Script{Lingers: lingers} })
	bubble(t, pool.Options{Starter: fake, FreezeAfter: freezeAfter}, func(t *testing.T, ps *pool.Pools) {
		v := version("f", "1", 1)
		first, err := call(ps, v)
		if err != nil {
			t.Fatal(err)
		}
		second, err := call(ps, v)
		if err != nil {
			t.Fatal(err)
		}
		if first.Instance() == second.Instance() {
			t.Error("a call was given to an instance that was not done")
		}
		time.Sleep(lingers - 1)
		wantFrozen(t, ps, v, 0, 0)
		time.Sleep(1)
		wantFrozen(t, ps, v, 2, 0)
		time.Sleep(freezeAfter)
		wantFrozen(t, ps, v, 2, 2)
		if _, err := call(ps, v); err != nil || fake.Starts() != 2 {
			t.Errorf("%v, %d starts", err, fake.Starts())
		}
		for _, r := range fake.Runtimes() { // one of them is not done when it ends
			r.Crash(pool.FailedExit)
		}
		synctest.Wait()
		if n := ps.Function(v.ID.Function); n.Idle+n.Busy != 0 {
			t.Errorf("after all ended: %+v", n)
		}
	})
}
