package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/registry"
)

func statement(id string) faas.Statement {
	return faas.Statement{ID: id, Action: faas.ActionInvoke, Principal: "s3.amazonaws.com", SourceAccount: "123456789012"}
}

func permit(qualifier, id string) step {
	return func(ctx context.Context, r *registry.Registry) error {
		return r.AddPermission(ctx, fn("f"), qualifier, statement(id), "")
	}
}

func TestPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		_, err := r.Policy(t.Context(), fn("f"), "")
		wantCode(t, err, faas.CodeNotFound)
		wantCode(t, r.RemovePermission(t.Context(), fn("f"), "", "s", ""), faas.CodeNotFound)
		wantCode(t, r.AddPermission(t.Context(), fn("f"), faas.Latest, statement("s"), ""), faas.CodeInvalid)
		wantCode(t, r.AddPermission(t.Context(), fn("f"), "9", statement("s"), ""), faas.CodeNotFound)
		wantCode(t, r.AddPermission(t.Context(), fn("f"), "", statement("s"), "another"), faas.CodePrecondition)

		for _, qualifier := range []string{"", "1", "one"} {
			var revision string
			for i := range 2 {
				if err := r.AddPermission(t.Context(), fn("f"), qualifier, statement(fmt.Sprint("s", i)), revision); err != nil {
					t.Fatal(err)
				}
				wantCode(t, r.AddPermission(t.Context(), fn("f"), qualifier, statement(fmt.Sprint("s", i)), ""), faas.CodeConflict)
				p := must(r.Policy(t.Context(), fn("f"), qualifier))(t)
				if len(p.Statements) != i+1 || p.RevisionID == revision || p.Qualifier != qualifier {
					t.Errorf("policy of %q: %+v", qualifier, p)
				}
				revision = p.RevisionID
			}
			wantCode(t, r.RemovePermission(t.Context(), fn("f"), qualifier, "s0", "another"), faas.CodePrecondition)
			if err := r.RemovePermission(t.Context(), fn("f"), qualifier, "s0", revision); err != nil {
				t.Fatal(err)
			}
		}
		head := must(r.Get(t.Context(), fn("f"), ""))(t)
		if p := must(r.Policy(t.Context(), fn("f"), faas.Latest))(t); p.RevisionID != head.Version.RevisionID {
			t.Errorf("the policy has revision %s, the function %s", p.RevisionID, head.Version.RevisionID)
		}
		asks := faas.Access{Action: faas.ActionInvoke, Service: "s3.amazonaws.com", SourceAccount: "123456789012"}
		if !r.Permits(fn("f"), "one", asks) || r.Permits(fn("f"), "head", asks) || r.Permits(fn("none"), "", asks) {
			t.Error("permits what it must not, or not what it must")
		}

		// What belonged to a qualifier goes with it; the rest outlives a restart.
		if err := r.DeleteAlias(t.Context(), fn("f"), "one"); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		r = w.open(t)
		defer r.Close(context.Background())
		if p := must(r.Policy(t.Context(), fn("f"), "1"))(t); len(p.Statements) != 1 || p.Statements[0] != statement("s1") {
			t.Errorf("after a restart: %+v", p)
		}
		if r.Permits(fn("f"), "one", asks) {
			t.Error("the policy of a deleted alias still permits")
		}
		long := statement("long")
		long.SourceARN = "arn:aws:s3:::" + strings.Repeat("b", faas.MaxPolicy)
		wantCode(t, r.AddPermission(t.Context(), fn("f"), "", long, ""), faas.CodePolicyLimit)
	})
}

func TestFunctionURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := quotaWorld(t)
		_, err := r.GetURL(t.Context(), fn("f"), "")
		wantCode(t, err, faas.CodeNotFound)
		_, err = r.CreateURL(t.Context(), fn("f"), faas.FunctionURL{Qualifier: "nobody"})
		wantCode(t, err, faas.CodeNotFound)
		_, err = r.CreateURL(t.Context(), fn("none"), faas.FunctionURL{})
		wantCode(t, err, faas.CodeNotFound)
		made := map[string]*faas.FunctionURL{}
		for _, qualifier := range []string{"", "one", "head"} {
			age := 5
			u := faas.FunctionURL{Qualifier: qualifier, Auth: faas.URLAuthNone, Mode: faas.URLBuffered, CORS: &faas.CORS{MaxAgeSeconds: &age}}
			made[qualifier] = must(r.CreateURL(t.Context(), fn("f"), u))(t)
			if !faas.ValidFunctionURLID(made[qualifier].ID) {
				t.Errorf("id %q", made[qualifier].ID)
			}
			_, err = r.CreateURL(t.Context(), fn("f"), u)
			wantCode(t, err, faas.CodeConflict)
		}
		var listed []string
		for marker := ""; ; {
			page := must(r.ListURLs(t.Context(), fn("f"), marker, 1))(t)
			listed = append(listed, page.Items[0].Qualifier)
			if marker = page.Next; marker == "" {
				break
			}
		}
		if strings.Join(listed, ",") != ",head,one" {
			t.Errorf("listed %q", listed)
		}
		iam, none := faas.URLAuthIAM, (*faas.CORS)(nil)
		changed := must(r.UpdateURL(t.Context(), fn("f"), "one", registry.URLPatch{Auth: &iam, CORS: &none}))(t)
		if changed.ID != made["one"].ID || changed.Auth != iam || changed.Mode != faas.URLBuffered || changed.CORS != nil {
			t.Errorf("changed: %+v", changed)
		}
		target, ok := r.ResolveURL(made["one"].ID)
		if !ok || target.Function != fn("f") || target.URL.Qualifier != "one" || target.URL.Auth != iam {
			t.Errorf("resolved %v %+v", ok, target)
		}

		if err := r.DeleteAlias(t.Context(), fn("f"), "one"); err != nil {
			t.Fatal(err)
		}
		if err := r.DeleteURL(t.Context(), fn("f"), "head"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, r.DeleteURL(t.Context(), fn("f"), "head"), faas.CodeNotFound)
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		r = w.open(t)
		defer r.Close(context.Background())
		for qualifier, u := range made {
			if _, ok := r.ResolveURL(u.ID); ok != (qualifier == "") {
				t.Errorf("the URL of %q resolves: %v", qualifier, ok)
			}
		}
		if err := r.Delete(t.Context(), fn("f"), ""); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.ResolveURL(made[""].ID); ok {
			t.Error("the URL of a deleted function resolves")
		}
	})
}
