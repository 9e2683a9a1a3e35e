package provision_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/provision"
)

var (
	fn = faas.FunctionID{Name: "f"}
	v1 = version("f", "1", "r1", 128, 1)
	v2 = version("f", "2", "r2", 256, 1)
)

func to(v *faas.Version) []faas.Route { return []faas.Route{{Version: v, Weight: 1}} }

// configured is the provisioning of fn with one configuration, "live".
func configured(c faas.Provisioned, routes []faas.Route) faas.Provisioning {
	c.Qualifier = "live"
	return faas.Provisioning{Function: fn, Configs: []faas.Provisioned{c}, Routes: map[string][]faas.Route{"live": routes}}
}

func status(t *testing.T, r *provision.Reconciler, requested, allocated, available int, state faas.ProvisionedState) {
	t.Helper()
	got := r.Status(fn, "live")
	if got.Requested != requested || got.Allocated != allocated || got.Available != available || got.State != state {
		t.Errorf("status %+v, want %d requested, %d allocated, %d available, %s", got, requested, allocated, available, state)
	}
}

func TestAliasMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.initTime = func() time.Duration { return time.Second }
		w.put(configured(faas.Provisioned{Instances: 3}, to(v1)))
		r := w.start() // what is configured at start needs no Changed
		defer r.Close()
		synctest.Wait()
		status(t, r, 3, 3, 0, faas.ProvisionedInProgress)
		time.Sleep(time.Second)
		synctest.Wait()
		status(t, r, 3, 3, 3, faas.ProvisionedReady)

		w.put(configured(faas.Provisioned{Instances: 3}, to(v2)))
		status(t, r, 3, 0, 0, faas.ProvisionedInProgress)
		r.Changed(fn)
		synctest.Wait()
		if w.target("r1") != 0 || w.target("r2") != 3 || len(w.charged[fn]) != 1 || w.charged[fn]["2"].MemoryMB != 256 {
			t.Errorf("after the move: %d and %d instances, charged %v", w.target("r1"), w.target("r2"), w.charged[fn])
		}
		status(t, r, 3, 3, 0, faas.ProvisionedInProgress)
		time.Sleep(time.Second)
		synctest.Wait()
		status(t, r, 3, 3, 3, faas.ProvisionedReady)

		w.put(configured(faas.Provisioned{Instances: 3}, []faas.Route{{Version: v2, Weight: 0.6}, {Version: v1, Weight: 0.4}}))
		r.Changed(fn)
		synctest.Wait()
		if w.target("r1") != 1 || w.target("r2") != 2 {
			t.Errorf("by weight: %d and %d instances", w.target("r1"), w.target("r2"))
		}

		w.remove(fn)
		r.Changed(fn)
		synctest.Wait()
		if w.target("r1") != 0 || w.target("r2") != 0 || len(w.charged[fn]) != 0 {
			t.Errorf("after the deletion: %d and %d instances, charged %v", w.target("r1"), w.target("r2"), w.charged[fn])
		}
	})
}

// TestSchedule: a day of a window that ends with 0, in another zone.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begin := time.Now() // midnight UTC of 1 January 2000
		w.put(configured(faas.Provisioned{Instances: 0, Modified: begin, Schedules: []faas.Schedule{
			{Name: "open", Cron: "0 30 9 * * * *", TimeZone: "Asia/Shanghai", Instances: 5},
			{Name: "more", Cron: "0 30 9 * * * *", TimeZone: "Asia/Shanghai", Instances: 7},
			{Name: "close", Cron: "0 0 18 * * * *", TimeZone: "Asia/Shanghai", Instances: 0},
		}}, to(v1)))
		r := w.start()
		defer r.Close()
		for _, c := range []struct {
			at   time.Duration
			want int
		}{
			{0, 0}, {90*time.Minute - time.Second, 0}, {90 * time.Minute, 7},
			{10*time.Hour - time.Second, 7}, {10 * time.Hour, 0}, {25*time.Hour + 30*time.Minute, 7},
		} {
			time.Sleep(time.Until(begin.Add(c.at)))
			synctest.Wait()
			if got := w.target("r1"); got != c.want {
				t.Errorf("after %s: %d instances, want %d", c.at, got, c.want)
			}
		}
		status(t, r, 7, 7, 7, faas.ProvisionedReady)
	})
}

func TestTracking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		many := version("f", "3", "r3", 128, 10) // one instance holds ten calls
		w.put(configured(faas.Provisioned{Tracking: &faas.Tracking{Target: 0.5, Min: 1, Max: 20}}, to(many)))
		r := w.start()
		defer r.Close()
		begin := time.Now()
		for _, c := range []struct {
			at         time.Duration
			busy, want int
		}{
			{0, 41, 1}, {10*time.Second - 1, 41, 1}, {10 * time.Second, 41, 9}, {20 * time.Second, 0, 9},
			{610*time.Second - 1, 0, 9}, {610 * time.Second, 0, 1},
		} {
			w.mu.Lock()
			w.demand["r3"] = c.busy
			w.mu.Unlock()
			// A change of something else is no look of tracking's.
			r.Changed(fn)
			time.Sleep(time.Until(begin.Add(c.at)))
			synctest.Wait()
			if got := w.target("r3"); got != c.want {
				t.Errorf("after %s: %d instances, want %d", c.at, got, c.want)
			}
		}
	})
}

// TestAgain: what a pool gave up is tried again when it is configured again, and
// only then.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.initTime = func() time.Duration { return time.Second }
		w.put(configured(faas.Provisioned{Instances: 2, Modified: time.Unix(1, 0)}, to(v1)))
		r := w.start()
		defer r.Close()
		synctest.Wait()
		fail := func(err error) {
			w.mu.Lock()
			w.marks["r1"].failure = err
			w.mu.Unlock()
		}
		fail(faas.Errorf(faas.CodeInitFailing, "f", "The init of the function failed five times: ReferenceError."))
		got := r.Status(fn, "live")
		if got.State != faas.ProvisionedFailed || got.Reason != "version 1: The init of the function failed five times: ReferenceError." {
			t.Errorf("status %+v", got)
		}
		r.Changed(fn)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.marks["r1"].told; got != 1 {
			t.Errorf("the pool was told %d times, nothing had changed", got)
		}
		w.put(configured(faas.Provisioned{Instances: 2, Modified: time.Unix(2, 0)}, to(v1)))
		r.Changed(fn)
		time.Sleep(time.Second)
		synctest.Wait()
		status(t, r, 2, 2, 2, faas.ProvisionedReady)

		fail(&faas.Error{Code: faas.CodeThrottled, Message: "The account has 128000 of 128000 MB in use.", Cause: &faas.Refusal{Limit: faas.LimitMemory}})
		w.mu.Lock()
		w.marks["r1"].ready = 1
		w.mu.Unlock()
		got = r.Status(fn, "live")
		if got.State != faas.ProvisionedFailed || !strings.Contains(got.Reason, "account-memory") || !strings.Contains(got.Reason, "tried again") {
			t.Errorf("status %+v", got)
		}
		fail(errors.New("plain"))
		if got = r.Status(fn, "live"); got.Reason != "version 1: plain" {
			t.Errorf("status %+v", got)
		}
	})
}

// TestRecreated: a function that was deleted and made again between two looks has
// the same numbers with other content.
func TestRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(configured(faas.Provisioned{Instances: 2}, to(v1)))
		r := w.start()
		defer r.Close()
		synctest.Wait()
		w.put(configured(faas.Provisioned{Instances: 2}, to(version("f", "1", "other", 512, 1))))
		r.Changed(fn)
		synctest.Wait()
		if w.target("r1") != 0 || w.target("other") != 2 || w.charged[fn]["1"].MemoryMB != 512 {
			t.Errorf("%d and %d instances, charged %v", w.target("r1"), w.target("other"), w.charged[fn])
		}
	})
}

func TestStatusOfSharedVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.initTime = func() time.Duration { return time.Minute }
		w.put(faas.Provisioning{Function: fn,
			Configs: []faas.Provisioned{{Qualifier: "live", Instances: 3}, {Qualifier: "1", Instances: 2}, {Qualifier: "void", Instances: 2}},
			Routes:  map[string][]faas.Route{"live": to(v1), "1": to(v1)},
		})
		r := w.start()
		defer r.Close()
		synctest.Wait()
		w.mu.Lock()
		w.marks["r1"].ready = 4
		w.mu.Unlock()
		status(t, r, 3, 3, 3, faas.ProvisionedReady)
		if got := r.Status(fn, "1"); got.Requested != 2 || got.Available != 1 || got.State != faas.ProvisionedInProgress {
			t.Errorf("the second has %+v", got)
		}
		if got := r.Status(fn, "void"); got.Requested != 2 || got.Allocated != 0 || got.State != faas.ProvisionedInProgress || got.Reason == "" {
			t.Errorf("one without a version has %+v", got)
		}
		if got := r.Status(fn, "none"); got.Requested != 0 || got.State != faas.ProvisionedInProgress {
			t.Errorf("one that is not configured has %+v", got)
		}
		time.Sleep(time.Minute)
	})
}

// TestSubscribe: a change while the configurations are read for the first time is
// not missed.
func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var changed func(faas.FunctionID)
		first := changesWhileRead{source{w}, func() {
			w.put(configured(faas.Provisioned{Instances: 2}, to(v1)))
			changed(fn)
		}}
		r := provision.New(provision.Options{Source: first, Pools: pools{w}, Quota: charges{w},
			Subscribe: func(f func(faas.FunctionID)) { changed = f }})
		defer r.Close()
		synctest.Wait()
		status(t, r, 2, 2, 2, faas.ProvisionedReady)
	})
}

// changesWhileRead is a source that changes after its list was made.
type changesWhileRead struct {
	source
	change func()
}

func (c changesWhileRead) AllProvisioning() []faas.Provisioning {
	all := c.source.AllProvisioning()
	c.change()
	return all
}

func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWorld(t).start()
		r.Close()
		r.Close()
		r.Changed(fn)
	})
}
