package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

func TestCreateBecomesActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.packages.block = make(chan struct{})
		r := w.open(t)
		defer r.Close(context.Background())
		v := must(r.Create(t.Context(), createInput("f")))(t)
		if v.State != faas.StatePending || v.StateCode != "Creating" || v.Update != faas.UpdateNone || v.ID.Number != faas.Latest {
			t.Errorf("after Create: %+v", v)
		}
		if v.Config.MemoryMB != 128 || v.Config.TimeoutSeconds != 3 || v.Config.Logging.Group != "/aws/lambda/f" {
			t.Errorf("defaults are missing: %+v", v.Config)
		}
		_, err := r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{}, "")
		wantCode(t, err, faas.CodeConflict)
		_, err = r.Publish(t.Context(), registry.PublishInput{Function: fn("f")})
		wantCode(t, err, faas.CodeConflict)

		close(w.packages.block)
		synctest.Wait()
		got := must(r.Get(t.Context(), fn("f"), ""))(t).Version
		if got.State != faas.StateActive || got.StateCode != "" || got.StateReason != "" || got.Update != faas.UpdateSuccessful {
			t.Errorf("after activation: %+v", got)
		}
		if got.RevisionID == v.RevisionID || got.Revision != v.Revision {
			t.Error("activation must change RevisionID and keep Revision")
		}
	})
}

func TestBrokenPackageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		defer r.Close(context.Background())
		in := createInput("f")
		in.Zip, in.Publish = zipOf("broken"), true
		must(r.Create(t.Context(), in))(t)
		synctest.Wait()
		for _, q := range []string{"", "1"} {
			v := must(r.Get(t.Context(), fn("f"), q))(t).Version
			if v.State != faas.StateFailed || v.StateCode != "InvalidZipFileException" || v.StateReason != "the archive ends too early" {
				t.Errorf("%q: %+v", q, v)
			}
		}
		_, err := r.Publish(t.Context(), registry.PublishInput{Function: fn("f")})
		wantCode(t, err, faas.CodeConflict)

		v := must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("good")}))(t)
		if v.State != faas.StatePending {
			t.Errorf("a failed function begins again as Pending: %+v", v)
		}
		synctest.Wait()
		if v := must(r.Get(t.Context(), fn("f"), ""))(t).Version; v.State != faas.StateActive {
			t.Errorf("%+v", v)
		}
		if v := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t); v.ID.Number != "2" {
			t.Errorf("published %s, want 2", v.ID.Number)
		}
	})
}

func TestUpdateSwapsWhenReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		defer r.Close(context.Background())
		must(r.Create(t.Context(), createInput("f")))(t)
		synctest.Wait()
		before := must(r.Resolve(fn("f"), ""))(t)

		w.stage.block = make(chan struct{})
		memory := 256
		v := must(r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{MemoryMB: &memory}, ""))(t)
		if v.State != faas.StateActive || v.Update != faas.UpdateInProgress || v.UpdateCode != "Creating" || v.Config.MemoryMB != 256 {
			t.Errorf("after UpdateConfig: %+v", v)
		}
		synctest.Wait()
		if got := must(r.Resolve(fn("f"), ""))(t); got != before {
			t.Error("calls must go to the old revision until the new one is prepared")
		}
		_, err := r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{}, "")
		wantCode(t, err, faas.CodeUpdating)
		_, err = r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("x")})
		wantCode(t, err, faas.CodeUpdating)
		_, err = r.Publish(t.Context(), registry.PublishInput{Function: fn("f")})
		wantCode(t, err, faas.CodeUpdating)
		if w.stage.hasRetired(before.Revision) {
			t.Error("the old revision was retired before the swap")
		}

		swapped := false
		w.stage.mu.Lock()
		w.stage.onRetire = func(old *faas.Version) {
			now, err := r.Resolve(fn("f"), "")
			swapped = err == nil && old == before && now.Revision == v.Revision
		}
		w.stage.mu.Unlock()
		close(w.stage.block)
		synctest.Wait()
		if !swapped {
			t.Error("Retire must be told of the old revision, after the swap")
		}
		got := must(r.Get(t.Context(), fn("f"), ""))(t).Version
		if got.Update != faas.UpdateSuccessful || got.UpdateCode != "" || got.RevisionID == v.RevisionID {
			t.Errorf("after the update: %+v", got)
		}
	})
}

func TestFailedUpdateKeepsServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		must(r.Create(t.Context(), createInput("f")))(t)
		synctest.Wait()
		before := must(r.Resolve(fn("f"), ""))(t)
		must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("broken")}))(t)
		synctest.Wait()
		head := must(r.Get(t.Context(), fn("f"), ""))(t).Version
		if head.State != faas.StateActive || head.Update != faas.UpdateFailed || head.UpdateCode != "InvalidZipFileException" {
			t.Errorf("%+v", head)
		}
		r.Close(context.Background())
		r = w.open(t) // the serving version is durable
		defer r.Close(context.Background())
		if got := must(r.Resolve(fn("f"), ""))(t); got.Revision != before.Revision {
			t.Error("a failed update must leave the old revision serving")
		}
		must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("good")}))(t)
		synctest.Wait()
		if got := must(r.Resolve(fn("f"), ""))(t); got.Code != codeOf(zipOf("good")) {
			t.Errorf("%+v", got)
		}
		if !w.stage.hasRetired(before.Revision) {
			t.Error("the revision that served was not retired")
		}
	})
}

func TestCloseInterruptsAndNewResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.packages.block = make(chan struct{})
		r := w.open(t)
		must(r.Create(t.Context(), createInput("f")))(t)
		synctest.Wait()
		r.Close(context.Background())
		_, err := r.Create(t.Context(), createInput("g"))
		wantCode(t, err, faas.CodeShuttingDown)
		close(w.packages.block)
		r = w.open(t)
		defer r.Close(context.Background())
		synctest.Wait()
		if v := must(r.Get(t.Context(), fn("f"), ""))(t).Version; v.State != faas.StateActive {
			t.Errorf("%+v", v)
		}
	})
}

func TestDeleteDuringUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		defer r.Close(context.Background())
		must(r.Create(t.Context(), createInput("f")))(t)
		synctest.Wait()
		old := must(r.Resolve(fn("f"), ""))(t)
		w.stage.block = make(chan struct{})
		next := must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("new")}))(t)
		synctest.Wait()
		if err := r.Delete(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		close(w.stage.block)
		synctest.Wait()
		if !w.stage.hasRetired(old.Revision) || !w.stage.hasRetired(next.Revision) {
			t.Error("both revisions must be retired")
		}
		if _, err := r.Resolve(fn("f"), ""); !errors.Is(err, faas.ErrNoFunction) {
			t.Errorf("Resolve: %v", err)
		}
		if n := w.packages.count(); n != 0 {
			t.Errorf("%d packages are left", n)
		}
	})
}
