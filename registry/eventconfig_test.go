package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/faas"
	"hearth/registry"
)

func arnOf(name string) faas.Destination { return faas.Destination(faas.FunctionARN(fn(name), "")) }

func retries(k int) faas.AsyncConfig { return faas.AsyncConfig{Retries: n(k)} }

func putEvents(name, qualifier string, c faas.AsyncConfig) step {
	return func(ctx context.Context, r *registry.Registry) error {
		_, err := r.PutEventConfig(ctx, fn(name), qualifier, c)
		return err
	}
}

func wantNoEventConfig(t *testing.T, err error) {
	t.Helper()
	wantCode(t, err, faas.CodeNotFound)
	if !errors.Is(err, faas.ErrNoEventConfig) {
		t.Errorf("%v does not wrap ErrNoEventConfig", err)
	}
}

func TestEventConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		_, err := r.GetEventConfig(t.Context(), fn("f"), "")
		wantNoEventConfig(t, err)
		_, err = r.UpdateEventConfig(t.Context(), fn("f"), "one", registry.EventConfigPatch{Retries: n(1)})
		wantNoEventConfig(t, err)
		wantNoEventConfig(t, r.DeleteEventConfig(t.Context(), fn("f"), "1"))
		if c := r.AsyncConfig(fn("f"), "one"); c != (faas.AsyncConfig{}) {
			t.Errorf("defaults: %+v", c)
		}

		told := w.quota.changes(fn("f"))
		put := must(r.PutEventConfig(t.Context(), fn("f"), "", faas.AsyncConfig{Retries: n(0), MaxAgeSeconds: 60, OnFailure: arnOf("g")}))(t)
		if put.Qualifier != faas.Latest || *put.Config.Retries != 0 || !put.Modified.Equal(time.Now()) {
			t.Errorf("put: %+v", put)
		}
		if w.quota.changes(fn("f")) == told {
			t.Error("nobody was told of the change")
		}
		*put.Config.Retries = 2 // the caller's own
		if got := must(r.GetEventConfig(t.Context(), fn("f"), faas.Latest))(t); *got.Config.Retries != 0 || got.Config.OnFailure != arnOf("g") {
			t.Errorf("get: %+v", got)
		}
		if c := r.AsyncConfig(fn("f"), ""); c.MaxRetries() != 0 || c.MaxAge() != time.Minute || c.OnFailure != arnOf("g") {
			t.Errorf("in force: %+v", c)
		}
		if c := r.AsyncConfig(fn("f"), "head"); c != (faas.AsyncConfig{}) {
			t.Errorf("an alias of $LATEST has its own: %+v", c)
		}

		// An update keeps what it does not name; put does not.
		success, none := arnOf("g"), faas.Destination("")
		got := must(r.UpdateEventConfig(t.Context(), fn("f"), "$LATEST", registry.EventConfigPatch{OnSuccess: &success, OnFailure: &none}))(t)
		if c := got.Config; *c.Retries != 0 || c.MaxAgeSeconds != 60 || c.OnSuccess != success || c.OnFailure != "" {
			t.Errorf("update: %+v", got)
		}
		got = must(r.PutEventConfig(t.Context(), fn("f"), "$LATEST", faas.AsyncConfig{MaxAgeSeconds: 90}))(t)
		if got.Config != (faas.AsyncConfig{MaxAgeSeconds: 90}) {
			t.Errorf("put again: %+v", got)
		}
		got = must(r.UpdateEventConfig(t.Context(), fn("f"), "1", registry.EventConfigPatch{Retries: n(1), Create: true}))(t)
		if got.Qualifier != "1" || *got.Config.Retries != 1 {
			t.Errorf("update that creates: %+v", got)
		}

		if err := r.DeleteEventConfig(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		_, err = r.GetEventConfig(t.Context(), fn("f"), "")
		wantNoEventConfig(t, err)
		must(r.GetEventConfig(t.Context(), fn("f"), "1"))(t)
	})
}

// TestEventConfigsThatCannotBe changes nothing, and says why.
func TestEventConfigsThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		elsewhere := fn("g")
		elsewhere.Region = "us-east-1"
		for _, c := range []struct {
			name, qualifier string
			config          faas.AsyncConfig
			code            faas.ErrorCode
			says            string
		}{
			{"nobody", "", retries(1), faas.CodeNotFound, "Function not found"},
			{"f", "99", retries(1), faas.CodeNotFound, ":f:99"},
			{"f", "gone", retries(1), faas.CodeNotFound, ":f:gone"},
			{"f", "one", retries(3), faas.CodeInvalid, "maximumRetryAttempts must have value less than or equal to 2"},
			{"f", "one", retries(-1), faas.CodeInvalid, "maximumRetryAttempts"},
			{"f", "one", faas.AsyncConfig{MaxAgeSeconds: 59}, faas.CodeInvalid, "maximumEventAgeInSeconds"},
			{"f", "one", faas.AsyncConfig{MaxAgeSeconds: 21601}, faas.CodeInvalid, "maximumEventAgeInSeconds"},
			{"f", "one", faas.AsyncConfig{OnSuccess: arnOf("f")}, faas.CodeInvalid, "can't specify the function as a destination for itself"},
			{"f", "one", faas.AsyncConfig{OnFailure: arnOf("f") + ":2"}, faas.CodeInvalid, "for itself"},
			{"f", "one", faas.AsyncConfig{DeadLetter: arnOf("f")}, faas.CodeInvalid, "for itself"},
			{"f", "one", faas.AsyncConfig{OnSuccess: arnOf("nobody")}, faas.CodeInvalid, "There is no function nobody"},
			{"f", "one", faas.AsyncConfig{OnSuccess: arnOf("g") + ":live"}, faas.CodeInvalid, "no version or alias live"},
			{"f", "one", faas.AsyncConfig{OnFailure: faas.Destination(faas.FunctionARN(elsewhere, ""))}, faas.CodeInvalid, "of account 123456789012 and region eu-central-1"},
			{"f", "one", faas.AsyncConfig{OnFailure: "arn:aws:sqs:eu-central-1:123456789012:dead"}, faas.CodeInvalid, "not served as destinations yet"},
		} {
			err := putEvents(c.name, c.qualifier, c.config)(t.Context(), r)
			if !faas.IsCode(err, c.code) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s:%s %+v: %v, want %s %q", c.name, c.qualifier, c.config, err, c.code, c.says)
			}
		}
		if page := must(r.ListEventConfigs(t.Context(), fn("f"), "", 0))(t); len(page.Items) > 0 {
			t.Errorf("left: %+v", page.Items)
		}
		for _, to := range []faas.Destination{arnOf("g"), arnOf("g") + ":1", arnOf("g") + ":$LATEST", "http://127.0.0.1:1/x", "https://example.com"} {
			if err := putEvents("f", "one", faas.AsyncConfig{OnSuccess: to, OnFailure: to, DeadLetter: to})(t.Context(), r); err != nil {
				t.Errorf("%s: %v", to, err)
			}
		}
	})
}

// TestEventConfigsAreListedInPages goes by markers, also past what was deleted.
func TestEventConfigsAreListedInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		want := []string{"$LATEST", "1", "both", "one", "three"}
		for _, q := range want {
			if err := putEvents("f", q, retries(1))(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for marker := ""; ; {
			page := must(r.ListEventConfigs(t.Context(), fn("f"), marker, 2))(t)
			for _, c := range page.Items {
				got = append(got, c.Qualifier)
			}
			if len(got) == 2 {
				if err := r.DeleteEventConfig(t.Context(), fn("f"), "both"); err != nil {
					t.Fatal(err)
				}
			}
			if marker = page.Next; marker == "" {
				break
			}
		}
		if fmt.Sprint(got) != "[$LATEST 1 one three]" {
			t.Errorf("listed %v", got)
		}
		_, err := r.ListEventConfigs(t.Context(), fn("nobody"), "", 0)
		wantCode(t, err, faas.CodeNotFound)
		_, err = r.ListEventConfigs(t.Context(), fn("f"), "no marker", 0)
		wantCode(t, err, faas.CodeInvalid)
	})
}

// TestEventConfigsGoWithWhatTheyBelongTo: nobody inherits them.
func TestEventConfigsGoWithWhatTheyBelongTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("new"), Publish: true}))(t)
		synctest.Wait()
		for _, q := range []string{"", "one", "4"} {
			if err := putEvents("f", q, retries(1))(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		gone := func(qualifier string) {
			t.Helper()
			_, err := r.GetEventConfig(t.Context(), fn("f"), qualifier)
			wantNoEventConfig(t, err)
			if c := r.AsyncConfig(fn("f"), qualifier); c != (faas.AsyncConfig{}) {
				t.Errorf("in force: %+v", c)
			}
		}
		if err := r.DeleteAlias(t.Context(), fn("f"), "one"); err != nil {
			t.Fatal(err)
		}
		must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "one", Version: "1"}))(t)
		gone("one")
		if err := r.Delete(t.Context(), fn("f"), "4"); err != nil {
			t.Fatal(err)
		}
		gone("4")
		if err := r.Delete(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		must(r.Create(t.Context(), createInput("f")))(t)
		gone("")
	})
}

// TestEventConfigsReachOtherNodes: what one registry wrote, another that watches
// the same store has in force, and one that starts later too.
func TestEventConfigsReachOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		other := w.open(t)
		c := faas.AsyncConfig{Retries: n(0), MaxAgeSeconds: 300, Delay: faas.RetryMinute, TimeoutSeconds: 7200,
			OnSuccess: arnOf("g"), OnFailure: "https://example.com/failed", DeadLetter: arnOf("g") + ":1"}
		if err := putEvents("f", "one", c)(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		inForce := func(r *registry.Registry) {
			t.Helper()
			got := r.AsyncConfig(fn("f"), "one")
			if got.Retries == nil || *got.Retries != 0 {
				t.Fatalf("in force: %+v", got)
			}
			if got.Retries = c.Retries; got != c {
				t.Errorf("in force %+v, want %+v", got, c)
			}
		}
		inForce(other)
		other.Close(context.Background())
		r.Close(context.Background())
		later := w.open(t)
		defer later.Close(context.Background())
		inForce(later)
	})
}

// TestDeadLetterTargets: a version keeps the one with which it was published,
// unless the qualifier has one of its own.
func TestDeadLetterTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := quotaWorld(t)
		set := func(to faas.Destination) error {
			_, err := r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{DeadLetter: &to}, "")
			synctest.Wait()
			return err
		}
		for to, says := range map[faas.Destination]string{
			arnOf("f"):      "for itself",
			arnOf("nobody"): "There is no function nobody",
			"arn:aws:sqs:eu-central-1:123456789012:dead": "not served as destinations yet",
		} {
			if err := set(to); !faas.IsCode(err, faas.CodeInvalid) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, want %q", to, err, says)
			}
		}
		if err := set(arnOf("g")); err != nil {
			t.Fatal(err)
		}
		v := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t)
		if v.ID.Number != "4" {
			t.Fatalf("published %s: the target is part of the configuration", v.ID.Number)
		}
		if err := set(""); err != nil {
			t.Fatal(err)
		}
		must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "four", Version: "4"}))(t)
		if err := putEvents("f", "two", faas.AsyncConfig{DeadLetter: "https://example.com/dead"})(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		for qualifier, want := range map[string]faas.Destination{"": "", "3": "", "4": arnOf("g"), "four": arnOf("g"), "two": "https://example.com/dead"} {
			if got := r.AsyncConfig(fn("f"), qualifier).DeadLetter; got != want {
				t.Errorf("%q: %q, want %q", qualifier, got, want)
			}
		}
		in := createInput("new")
		in.Config.DeadLetter = arnOf("new")
		_, err := r.Create(t.Context(), in)
		wantCode(t, err, faas.CodeInvalid)
		in.Config.DeadLetter = arnOf("g")
		must(r.Create(t.Context(), in))(t)
		if got := r.AsyncConfig(fn("new"), "").DeadLetter; got != arnOf("g") {
			t.Errorf("created with %q", got)
		}
	})
}

// eventConfig asks the registry and the model the same, at random.
func (d *driver) eventConfig(name string, f *modelFunction) {
	qualifier := d.qualifier(f)
	if d.rnd.IntN(4) == 0 {
		qualifier = faas.Latest
	}
	_, set := f.eventConfig(qualifier)
	k := d.rnd.IntN(3)
	var err error
	switch d.rnd.IntN(3) {
	case 0:
		d.note("put events %s:%s %d", name, qualifier, k)
		err = putEvents(name, qualifier, retries(k))(d.t.Context(), d.r)
		set = true // or is there no such thing
	case 1:
		d.note("update events %s:%s %d", name, qualifier, k)
		_, err = d.r.UpdateEventConfig(d.t.Context(), fn(name), qualifier, registry.EventConfigPatch{Retries: &k})
	default:
		d.note("delete events %s:%s", name, qualifier)
		err = d.r.DeleteEventConfig(d.t.Context(), fn(name), qualifier)
		k = -1
	}
	if f == nil || !f.named(qualifier) || !set {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	if delete(f.events, qualifier); k >= 0 {
		f.events[qualifier] = k
	}
}

func (f *modelFunction) eventConfig(qualifier string) (retries int, set bool) {
	if f == nil {
		return 0, false
	}
	retries, set = f.events[qualifier]
	return retries, set
}

// named reports whether the qualifier names a version or an alias.
func (f *modelFunction) named(qualifier string) bool {
	return f.has(qualifier) || f.aliases[qualifier] != modelAlias{}
}

// checkEvents compares the settings of asynchronous invocations with the model's.
func (d *driver) checkEvents(name string, f *modelFunction) {
	d.t.Helper()
	page, err := d.r.ListEventConfigs(d.t.Context(), fn(name), "", 0)
	d.expect(err, "")
	if len(page.Items) != len(f.events) {
		d.failf("events of %s: %+v, the model says %v", name, page.Items, f.events)
	}
	for _, c := range page.Items {
		want, set := f.events[c.Qualifier]
		if !set || *c.Config.Retries != want || d.r.AsyncConfig(fn(name), c.Qualifier).MaxRetries() != want {
			d.failf("events of %s:%s: %+v, the model says %v", name, c.Qualifier, c.Config, f.events)
		}
	}
}
