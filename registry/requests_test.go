package registry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

// opened runs a test in a bubble on a registry with an active function f.
func opened(t *testing.T, run func(t *testing.T, w *world, r *registry.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.open(t)
		defer r.Close(context.Background())
		must(r.Create(t.Context(), createInput("f")))(t)
		synctest.Wait()
		run(t, w, r)
	})
}

func TestCreateNamesEveryWrongField(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		in := createInput("bad name!")
		in.Config.MemoryMB = 63
		in.Config.TimeoutSeconds = 901
		in.Config.Handler = ""
		in.Config.Environment = map[string]string{"AWS_REGION": "x", "SECRET": "a\x00b"}
		in.Tags = map[string]string{"aws:x": "1"}
		_, err := r.Create(t.Context(), in)
		wantCode(t, err, faas.CodeInvalid)
		var fields faas.FieldErrors
		if !errors.As(err, &fields) {
			t.Fatalf("no FieldErrors in %v", err)
		}
		var got []string
		for _, f := range fields {
			got = append(got, f.Field)
		}
		want := []string{"functionName", "handler", "memorySize", "timeout", "environment.variables", "environment.variables", "tags"}
		if !slices.Equal(got, want) {
			t.Errorf("fields %v, want %v", got, want)
		}
		if strings.Contains(err.Error(), "a\x00b") {
			t.Error("the error shows a secret")
		}
	})
}

func TestCreateRefusals(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		for name, c := range map[string]struct {
			change func(*registry.CreateInput)
			code   faas.ErrorCode
			text   string
		}{
			"exists":          {func(in *registry.CreateInput) { in.Function = fn("f") }, faas.CodeConflict, "already exist"},
			"no zip":          {func(in *registry.CreateInput) { in.Zip = []byte("hello") }, faas.CodeInvalidZip, "unzip"},
			"unknown runtime": {func(in *registry.CreateInput) { in.Config.Runtime = "cobol85" }, faas.CodeInvalid, "cobol85"},
			"missing runtime": {func(in *registry.CreateInput) { in.Config.Runtime = "python3.13" }, faas.CodeRuntime, "hearth runtimes add"},
			"other machine":   {func(in *registry.CreateInput) { in.Config.Architectures = []string{"arm64"} }, faas.CodeInvalid, "x86_64"},
		} {
			in := createInput("new")
			c.change(&in)
			_, err := r.Create(t.Context(), in)
			if !faas.IsCode(err, c.code) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v, want %s with %q", name, err, c.code, c.text)
			}
		}
		synctest.Wait()
		if n := w.packages.count(); n != 1 {
			t.Errorf("%d packages are stored, want that of f", n)
		}
	})
}

func TestStorageLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limits = faas.NativeLimits()
		w.limits.MaxCodeBytes = 250
		r := w.open(t)
		defer r.Close(context.Background())
		in := createInput("a")
		in.Zip = zipOf(strings.Repeat("x", 98))
		must(r.Create(t.Context(), in))(t)
		synctest.Wait()
		in.Function, in.Publish = fn("b"), true
		_, err := r.Create(t.Context(), in)
		wantCode(t, err, faas.CodeStorageLimit)
		in.Publish = false
		must(r.Create(t.Context(), in))(t)
		synctest.Wait()
		_, err = r.Publish(t.Context(), registry.PublishInput{Function: fn("a")})
		wantCode(t, err, faas.CodeStorageLimit)
		// Replacing counts what is replaced; another region counts for itself.
		must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("a"), Zip: zipOf(strings.Repeat("y", 148))}))(t)
		in.Function.Region = "us-east-1"
		must(r.Create(t.Context(), in))(t)
		synctest.Wait()
		if u := must(r.Usage(t.Context(), scope()))(t); u != (registry.Usage{Functions: 2, CodeBytes: 250}) {
			t.Errorf("usage %+v", u)
		}
	})
}

func TestPreconditions(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		head := must(r.Get(t.Context(), fn("f"), ""))(t).Version
		_, err := r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("x"), RevisionID: "other"})
		wantCode(t, err, faas.CodePrecondition)
		_, err = r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{}, "other")
		wantCode(t, err, faas.CodePrecondition)
		_, err = r.Publish(t.Context(), registry.PublishInput{Function: fn("f"), RevisionID: "other"})
		wantCode(t, err, faas.CodePrecondition)
		_, err = r.Publish(t.Context(), registry.PublishInput{Function: fn("f"), CodeSHA256: codeOf(zipOf("x")).SHA256})
		wantCode(t, err, faas.CodeInvalid)

		text := "the first"
		v := must(r.Publish(t.Context(), registry.PublishInput{
			Function: fn("f"), RevisionID: head.RevisionID, CodeSHA256: head.Code.SHA256, Description: &text,
		}))(t)
		if v.ID.Number != "1" || v.Config.Description != text || v.RevisionID == head.RevisionID || v.Revision == head.Revision {
			t.Errorf("%+v", v)
		}
		if again := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t); again != v {
			t.Errorf("publishing again made %s", again.ID)
		}
		must(r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{Description: &text}, head.RevisionID))(t)
		synctest.Wait()
		if v := must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t); v.ID.Number != "2" {
			t.Errorf("a new description makes a new version, got %s", v.ID)
		}
	})
}

func TestUpdateCodeDryRunAndPublish(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		before := must(r.Get(t.Context(), fn("f"), ""))(t).Version
		v := must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("dry"), DryRun: true}))(t)
		synctest.Wait()
		if v.Code != codeOf(zipOf("dry")) || must(r.Get(t.Context(), fn("f"), ""))(t).Version != before || w.packages.has(v.Code) {
			t.Errorf("a dry run must answer and change nothing: %+v", v)
		}
		_, err := r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: []byte("no"), DryRun: true})
		wantCode(t, err, faas.CodeInvalidZip)

		v = must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("2"), Publish: true}))(t)
		if v.ID.Number != "1" || v.State != faas.StatePending {
			t.Errorf("%+v", v)
		}
		synctest.Wait()
		if v := must(r.Resolve(fn("f"), "1"))(t); v.State != faas.StateActive || v.Code != codeOf(zipOf("2")) {
			t.Errorf("%+v", v)
		}
		if got := must(r.OpenCode(t.Context(), fn("f"), "1"))(t); string(got) != "PK2" {
			t.Errorf("OpenCode: %q", got)
		}
	})
}

func TestPatchTakesZeroAsGiven(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		zero := 0
		_, err := r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{MemoryMB: &zero}, "")
		wantCode(t, err, faas.CodeInvalid)
		env := map[string]string{}
		must(r.UpdateConfig(t.Context(), fn("f"), registry.ConfigPatch{Environment: &env}, ""))(t)
		synctest.Wait()
		if e := must(r.Get(t.Context(), fn("f"), ""))(t).Version.Config.Environment; e == nil || len(e) != 0 {
			t.Errorf("environment %#v, want empty and not nil", e)
		}
		r.Close(context.Background())
		r = w.open(t)
		defer r.Close(context.Background())
		if e := must(r.Get(t.Context(), fn("f"), ""))(t).Version.Config.Environment; e == nil {
			t.Error("an environment set to nothing was read back as never set")
		}
	})
}

func TestVersionNumbersAreNeverReused(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		publish := func() string {
			return must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t).ID.Number
		}
		publish()
		if err := r.Delete(t.Context(), fn("f"), "1"); err != nil {
			t.Fatal(err)
		}
		if n := publish(); n != "2" {
			t.Errorf("after a version was deleted: %s", n)
		}
		if err := r.Delete(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		r.Close(context.Background())
		r = w.open(t)
		defer r.Close(context.Background())
		must(r.Create(t.Context(), createInput("f")))(t)
		synctest.Wait()
		if n := publish(); n != "3" {
			t.Errorf("after the function was deleted: %s", n)
		}
	})
}

func TestAliases(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		publishTwo(t, r)
		a := must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "live", Version: "1", Weights: map[string]float64{"2": 0.25}}))(t)
		if a.Function != fn("f") || a.RevisionID == "" {
			t.Errorf("%+v", a)
		}
		count := map[string]int{}
		for range 10000 {
			count[must(r.Resolve(fn("f"), "live"))(t).ID.Number]++
		}
		if share := float64(count["2"]) / 10000; math.Abs(share-0.25) > 0.03 || len(count) != 2 {
			t.Errorf("calls went %v", count)
		}
		wantCode(t, r.Delete(t.Context(), fn("f"), "1"), faas.CodeConflict)
		wantCode(t, r.Delete(t.Context(), fn("f"), "2"), faas.CodeConflict)
		wantCode(t, r.Delete(t.Context(), fn("f"), faas.Latest), faas.CodeInvalid)
		wantCode(t, r.Delete(t.Context(), fn("f"), "live"), faas.CodeInvalid)

		_, err := r.UpdateAlias(t.Context(), fn("f"), "live", registry.AliasPatch{RevisionID: "other"})
		wantCode(t, err, faas.CodePrecondition)
		latest := faas.Latest
		_, err = r.UpdateAlias(t.Context(), fn("f"), "live", registry.AliasPatch{Version: &latest})
		wantCode(t, err, faas.CodeInvalid)
		none := map[string]float64{}
		b := must(r.UpdateAlias(t.Context(), fn("f"), "live", registry.AliasPatch{Version: &latest, Weights: &none, RevisionID: a.RevisionID}))(t)
		if b.RevisionID == a.RevisionID || len(b.Weights) != 0 || b.Version != faas.Latest {
			t.Errorf("%+v", b)
		}
		if v := must(r.Get(t.Context(), fn("f"), "live"))(t).Version; v.ID.Number != faas.Latest {
			t.Errorf("%+v", v)
		}
		_, err = r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "live", Version: "1"})
		wantCode(t, err, faas.CodeConflict)
		_, err = r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "12", Version: "1"})
		wantCode(t, err, faas.CodeInvalid)
		_, err = r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: "x", Version: "9"})
		wantCode(t, err, faas.CodeNotFound)
	})
}

func publishTwo(t *testing.T, r *registry.Registry) {
	t.Helper()
	must(r.Publish(t.Context(), registry.PublishInput{Function: fn("f")}))(t)
	must(r.UpdateCode(t.Context(), registry.UpdateCodeInput{Function: fn("f"), Zip: zipOf("second"), Publish: true}))(t)
	synctest.Wait()
}

func TestNotFoundSaysWhat(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		for _, c := range []struct {
			name, qualifier string
			want            error
			text            string
		}{
			{"none", "", faas.ErrNoFunction, "arn:aws:lambda:eu-central-1:123456789012:function:none"},
			{"none", "live", faas.ErrNoFunction, "arn:aws:lambda:eu-central-1:123456789012:function:none:live"},
			{"f", "live", faas.ErrNoQualifier, "arn:aws:lambda:eu-central-1:123456789012:function:f:live"},
			{"f", "7", faas.ErrNoQualifier, "arn:aws:lambda:eu-central-1:123456789012:function:f:7"},
		} {
			_, err := r.Resolve(fn(c.name), c.qualifier)
			_, err2 := r.Get(t.Context(), fn(c.name), c.qualifier)
			for _, err := range []error{err, err2} {
				if !errors.Is(err, c.want) || !faas.IsCode(err, faas.CodeNotFound) || !strings.HasSuffix(err.Error(), "Function not found: "+c.text) {
					t.Errorf("%s:%s: %v", c.name, c.qualifier, err)
				}
			}
		}
		_, err := r.GetAlias(t.Context(), fn("f"), "live")
		if !errors.Is(err, faas.ErrNoQualifier) || !strings.Contains(err.Error(), "Cannot find alias arn: ") {
			t.Error(err)
		}
	})
}

func TestTags(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		many := map[string]string{}
		for i := range 50 {
			many[fmt.Sprint("key ", i)] = "v"
		}
		if err := r.Tag(t.Context(), fn("f"), many); err != nil {
			t.Fatal(err)
		}
		revision := must(r.Get(t.Context(), fn("f"), ""))(t).Version.RevisionID
		wantCode(t, r.Tag(t.Context(), fn("f"), map[string]string{"one more": ""}), faas.CodeInvalid)
		if err := r.Untag(t.Context(), fn("f"), []string{"key 7", "none"}); err != nil {
			t.Fatal(err)
		}
		f := must(r.Get(t.Context(), fn("f"), ""))(t)
		if len(f.Tags) != 49 || f.Version.RevisionID != revision {
			t.Errorf("%d tags", len(f.Tags))
		}
		wantCode(t, r.Tag(t.Context(), fn("none"), nil), faas.CodeNotFound)
	})
}

func TestLists(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		publishTwo(t, r)
		for _, name := range []string{"b", "a-1", "z", "A"} {
			must(r.Create(t.Context(), createInput(name)))(t)
		}
		other := createInput("other")
		other.Function.Namespace = "team"
		must(r.Create(t.Context(), other))(t)
		synctest.Wait()
		for _, max := range []int{1, 2, 3, 50} {
			heads := pages(t, func(marker string) (registry.Page[*faas.Version], error) {
				return r.List(t.Context(), scope(), false, marker, max)
			})
			if want := "A:$LATEST a-1:$LATEST b:$LATEST f:$LATEST z:$LATEST"; heads != want {
				t.Errorf("max %d: %s, want %s", max, heads, want)
			}
			all := pages(t, func(marker string) (registry.Page[*faas.Version], error) {
				return r.List(t.Context(), scope(), true, marker, max)
			})
			if want := "A:$LATEST a-1:$LATEST b:$LATEST f:$LATEST f:1 f:2 z:$LATEST"; all != want {
				t.Errorf("max %d: %s, want %s", max, all, want)
			}
			versions := pages(t, func(marker string) (registry.Page[*faas.Version], error) {
				return r.ListVersions(t.Context(), fn("f"), marker, max)
			})
			if want := "f:$LATEST f:1 f:2"; versions != want {
				t.Errorf("max %d: %s, want %s", max, versions, want)
			}
		}
		for _, marker := range []string{"!", "Zg==", "Zjp4", "AAAA"} {
			_, err := r.List(t.Context(), scope(), false, marker, 0)
			wantCode(t, err, faas.CodeInvalid)
		}
	})
}

func pages(t *testing.T, list func(marker string) (registry.Page[*faas.Version], error)) string {
	t.Helper()
	var got []string
	for marker, n := "", 0; ; n++ {
		page := must(list(marker))(t)
		for _, v := range page.Items {
			got = append(got, v.ID.Function.Name+":"+v.ID.Number)
		}
		if page.Next == "" || n > 100 {
			return strings.Join(got, " ")
		}
		marker = page.Next
	}
}

func TestListAliases(t *testing.T) {
	opened(t, func(t *testing.T, w *world, r *registry.Registry) {
		publishTwo(t, r)
		for name, version := range map[string]string{"c": "1", "a": "2", "b": "1", "d": faas.Latest} {
			must(r.CreateAlias(t.Context(), faas.Alias{Function: fn("f"), Name: name, Version: version}))(t)
		}
		must(r.UpdateAlias(t.Context(), fn("f"), "a", registry.AliasPatch{Weights: &map[string]float64{"1": 0.5}}))(t)
		var got []string
		for marker := ""; ; {
			page := must(r.ListAliases(t.Context(), fn("f"), "1", marker, 2))(t)
			for _, a := range page.Items {
				got = append(got, a.Name)
			}
			if marker = page.Next; marker == "" {
				break
			}
		}
		if !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("aliases of version 1: %v", got)
		}
		if err := r.DeleteAlias(t.Context(), fn("f"), "c"); err != nil {
			t.Error(err)
		}
		wantCode(t, r.DeleteAlias(t.Context(), fn("f"), "c"), faas.CodeNotFound)
	})
}
