package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

const queueARN = "arn:aws:sqs:eu-central-1:123456789012:orders"

func queueMapping(function string) faas.EventSourceMapping {
	return faas.EventSourceMapping{
		Function: fn(function), Enabled: true, Tags: map[string]string{"team": "a"},
		Source: faas.MappingSource{Kind: faas.SourceQueue, ARN: queueARN},
	}
}

// mappingsOf returns the mappings that invoke a function.
func mappingsOf(r *registry.Registry, function string) []*faas.EventSourceMapping {
	filter := registry.MappingFilter{Scope: scope(), FunctionARN: faas.FunctionARN(fn(function), "")}
	page, err := r.ListMappings(context.Background(), filter, "", 0)
	if err != nil {
		panic(err) // an empty marker is one
	}
	return page.Items
}

func TestMappings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		_, err := r.CreateMapping(t.Context(), queueMapping("f"))
		wantCode(t, err, faas.CodeInvalid)
		if !strings.Contains(err.Error(), "Function does not exist") {
			t.Errorf("no function: %v", err)
		}
		must(r.Create(t.Context(), createInput("f")))(t)
		must(r.Create(t.Context(), createInput("g")))(t)
		made := must(r.CreateMapping(t.Context(), queueMapping("f")))(t)
		if len(made.UUID) != 36 || *made.Settings.BatchSize != 10 || made.Modified.IsZero() || !made.Enabled {
			t.Errorf("made %+v", made)
		}
		_, err = r.CreateMapping(t.Context(), queueMapping("f"))
		wantCode(t, err, faas.CodeConflict)
		if want := `An event source mapping with SQS arn (" ` + queueARN + ` ") and function (" f ") already exists. ` +
			"Please update or delete the existing mapping with UUID " + made.UUID; !strings.HasSuffix(err.Error(), want) {
			t.Errorf("a second one: %v", err)
		}
		other := must(r.CreateMapping(t.Context(), queueMapping("g")))(t)

		// A change that cannot be changes nothing.
		size, off, g := 20, false, fn("g")
		_, err = r.UpdateMapping(t.Context(), scope(), made.UUID, registry.MappingPatch{Settings: faas.MappingSettings{BatchSize: &size}})
		wantCode(t, err, faas.CodeInvalid)
		_, err = r.UpdateMapping(t.Context(), scope(), made.UUID, registry.MappingPatch{Function: &g})
		wantCode(t, err, faas.CodeConflict)
		size = 7
		updated := must(r.UpdateMapping(t.Context(), scope(), made.UUID, registry.MappingPatch{Settings: faas.MappingSettings{BatchSize: &size}, Enabled: &off}))(t)
		if *updated.Settings.BatchSize != 7 || updated.Enabled || *updated.Settings.WindowSeconds != 0 {
			t.Errorf("updated to %+v", updated)
		}
		if err := r.TagMapping(t.Context(), scope(), made.UUID, map[string]string{"b": "c"}); err != nil {
			t.Fatal(err)
		}
		if err := r.UntagMapping(t.Context(), scope(), made.UUID, []string{"team", "none"}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, r.TagMapping(t.Context(), scope(), made.UUID, map[string]string{"aws:x": "c"}), faas.CodeInvalid)

		// It outlives its function, and the process.
		if err := r.Delete(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		r.Close(context.Background())
		r = w.open(t)
		defer r.Close(context.Background())
		got := must(r.GetMapping(t.Context(), scope(), made.UUID))(t)
		if *got.Settings.BatchSize != 7 || got.Enabled || got.Tags["b"] != "c" || len(got.Tags) != 1 || got.Settings.ReportItems == nil {
			t.Errorf("after the restart: %+v", got)
		}
		on := true
		must(r.UpdateMapping(t.Context(), scope(), made.UUID, registry.MappingPatch{Enabled: &on}))(t)

		page := must(r.ListMappings(t.Context(), registry.MappingFilter{Scope: scope()}, "", 1))(t)
		last := must(r.ListMappings(t.Context(), registry.MappingFilter{Scope: scope()}, page.Next, 1))(t)
		if len(page.Items) != 1 || len(last.Items) != 1 || last.Next != "" || page.Items[0].UUID >= last.Items[0].UUID {
			t.Errorf("pages %+v, %+v", page, last)
		}
		filtered := must(r.ListMappings(t.Context(), registry.MappingFilter{Scope: scope(), FunctionARN: faas.FunctionARN(fn("g"), ""), SourceARN: queueARN}, "", 9))(t)
		if len(filtered.Items) != 1 || filtered.Items[0].UUID != other.UUID {
			t.Errorf("those of g: %+v", filtered)
		}
		elsewhere := scope()
		elsewhere.Region = "eu-west-1"
		_, err = r.GetMapping(t.Context(), elsewhere, made.UUID)
		wantCode(t, err, faas.CodeNotFound)

		must(r.DeleteMapping(t.Context(), scope(), made.UUID))(t)
		_, err = r.DeleteMapping(t.Context(), scope(), made.UUID)
		if wantCode(t, err, faas.CodeNotFound); !errors.Is(err, faas.ErrNoMapping) {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

// Two registries on one store follow each other's mappings.
func TestMappingsOfAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.open(t), w.open(t)
		defer a.Close(context.Background())
		defer b.Close(context.Background())
		must(a.Create(t.Context(), createInput("f")))(t)
		made := must(a.CreateMapping(t.Context(), queueMapping("f")))(t)
		synctest.Wait()
		_, err := b.CreateMapping(t.Context(), queueMapping("f"))
		wantCode(t, err, faas.CodeConflict)
		off := false
		must(b.UpdateMapping(t.Context(), scope(), made.UUID, registry.MappingPatch{Enabled: &off}))(t)
		// a may not have heard of it: its change is made of what b wrote.
		size := 3
		both := must(a.UpdateMapping(t.Context(), scope(), made.UUID, registry.MappingPatch{Settings: faas.MappingSettings{BatchSize: &size}}))(t)
		if both.Enabled || *both.Settings.BatchSize != 3 {
			t.Errorf("both changes: %+v", both)
		}
		must(b.DeleteMapping(t.Context(), scope(), made.UUID))(t)
		synctest.Wait()
		if _, err := a.GetMapping(t.Context(), scope(), made.UUID); !errors.Is(err, faas.ErrNoMapping) {
			t.Errorf("deleted by the other node: %v", err)
		}
	})
}
