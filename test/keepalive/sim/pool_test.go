package sim

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/keepalive"
	"hearth/pool"
	"hearth/pool/pooltest"
	"hearth/test/keepalive/workload"
)

// counts are what both forms of the simulation must agree on.
type counts struct{ calls, cold, scaled, loads int }

// TestTheSimulationIsThePool runs one load through the events of this package and
// through the real pool with a fake sandbox on a virtual clock.
func TestTheSimulationIsThePool(t *testing.T) {
	params := workload.Published(5, 40, 2)
	params.Thin = 600
	params.Timers = .4
	l := workload.Generate(params)
	for i := range l.Apps {
		a := &l.Apps[i]
		a.MemoryMB = float64(int(a.MemoryMB))
		a.Cold = min(9*time.Second, max(250*time.Millisecond, a.Cold))
	}
	for _, tt := range []struct {
		name   string
		policy keepalive.Policy
	}{{"fixed", keepalive.Fixed(5 * time.Minute)}, {"hybrid", keepalive.DefaultHybrid}, {"default", keepalive.Auto}} {
		t.Run(tt.name, func(t *testing.T) {
			want := map[int]counts{}
			ahead := 0
			for _, s := range Run(l.Pointers(), Setup{Policy: tt.policy, To: l.Span, Linger: time.Second}).Apps {
				want[s.App.ID] = counts{s.Calls, s.Cold, s.Scaled, s.Loads}
				ahead += s.Ahead
			}
			if _, ok := tt.policy.(keepalive.Fixed); !ok && ahead == 0 {
				t.Error("nothing was started ahead: the test shows little")
			}
			got := onPool(t, l, tt.policy)
			for id, w := range want {
				if got[id] != w {
					t.Errorf("app %d: %+v in the pool, %+v in the simulation", id, got[id], w)
				}
			}
		})
	}
}

// onPool runs the load on the real pool.
func onPool(t *testing.T, l *workload.Load, policy keepalive.Policy) map[int]counts {
	got := map[int]counts{}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		add := func(id int, c counts) {
			mu.Lock()
			defer mu.Unlock()
			sum := got[id]
			got[id] = counts{sum.calls + c.calls, sum.cold + c.cold, sum.scaled + c.scaled, sum.loads + c.loads}
		}
		ps := pool.New(pool.Options{KeepAlive: policy, Starter: pooltest.New(func(_ int, v *faas.Version) pooltest.Script {
			id, _ := strconv.Atoi(v.ID.Function.Name)
			add(id, counts{loads: 1})
			return pooltest.Script{InitTime: l.Apps[id].Cold, Handle: func(ctx context.Context, e *faas.Event) (faas.Outcome, error) {
				took, _ := time.ParseDuration(e.RequestID)
				time.Sleep(took)
				return faas.Outcome{}, nil
			}}
		})})
		var calls sync.WaitGroup
		began := time.Now()
		versions := map[int]*faas.Version{}
		for e := range workload.All(l.Pointers()) {
			v := versions[e.App.ID]
			if v == nil {
				v = &faas.Version{ID: faas.VersionID{Function: faas.FunctionID{Name: strconv.Itoa(e.App.ID)}, Number: faas.Latest}, Revision: "1",
					Config: faas.Config{MemoryMB: int(e.App.MemoryMB), TimeoutSeconds: 900, InstanceConcurrency: 1}}
				versions[e.App.ID] = v
			}
			time.Sleep(time.Until(began.Add(e.At)))
			calls.Go(func() {
				h, err := ps.Acquire(context.Background(), v)
				if err != nil {
					t.Error(err)
					return
				}
				defer h.Release()
				c := counts{calls: 1}
				switch h.Cold() {
				case "":
				case faas.ColdScaleOut:
					c.scaled = 1
				default:
					c.cold = 1
				}
				add(e.App.ID, c)
				if _, err := h.Deliver(&faas.Event{RequestID: e.Duration().String()}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Until(began.Add(l.Span)))
		mu.Lock()
		atEnd := map[int]counts{}
		for id, c := range got {
			atEnd[id] = c
		}
		mu.Unlock()
		calls.Wait()
		if err := ps.Close(context.Background()); err != nil {
			t.Error(err)
		}
		got = atEnd
	})
	return got
}
