package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hearth/engine/fake"
	"hearth/faas"
)

func openStore(t *testing.T, meta Meta, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), StoreOptions{Meta: meta, Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func create(t *testing.T, s *Store, in NewKey) (Key, Credentials) {
	t.Helper()
	if in.Account == "" {
		in.Account = "123456789012"
	}
	k, c, err := s.Create(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return k, c
}

// TestKeysLast makes keys, uses them, and finds all of it again in another run.
func TestKeysLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meta, dir := fake.New().Meta(), t.TempDir()
		s := openStore(t, meta, dir)
		p := policy(t, `{"Statement":[{"Effect":"Allow","Action":"logs:*","Resource":"*"}]}`)
		admin, _ := create(t, s, NewKey{Name: "root", Admin: true})
		k, c := create(t, s, NewKey{Name: "ci", Regions: []string{"eu-west-1"}, Policy: p, Expires: time.Now().Add(time.Hour)})
		if len(c.KeyID) != 20 || !strings.HasPrefix(c.KeyID, idPrefix) || len(c.Secret) != 40 || c.Token == "" || k.ID != c.KeyID {
			t.Errorf("made %v of %d and %d characters", k.ID, len(c.KeyID), len(c.Secret))
		}
		if _, err := s.Disable(t.Context(), k.ID, true); err != nil {
			t.Fatal(err)
		}
		s.Find(k.ID).use.touch(time.Now().Unix())
		closeStore(t, s)

		s = openStore(t, meta, dir)
		defer closeStore(t, s)
		all := s.List("")
		if len(all) != 2 || all[0].ID != k.ID || all[1].ID != admin.ID || len(s.List("000000000000")) != 0 {
			t.Fatalf("there are %+v", all)
		}
		got := all[0]
		if !got.Disabled || got.Regions[0] != "eu-west-1" || got.Policy == nil || !got.Expires.Equal(k.Expires) || !got.LastUsed.Equal(time.Now()) {
			t.Errorf("it came back as %+v", got)
		}
		if *s.Find(k.ID).material != c {
			t.Error("the secret came back as another")
		}
	})
}

// TestSecretsStayHidden looks for a secret in everything that a key is shown by.
func TestSecretsStayHidden(t *testing.T) {
	meta, dir := fake.New().Meta(), t.TempDir()
	s := openStore(t, meta, dir)
	defer closeStore(t, s)
	k, c := create(t, s, NewKey{Admin: true})
	entry, err := meta.Get(t.Context(), keyPrefix+"/"+k.ID)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := json.Marshal(s.List(""))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", k, "found", s.Find(k.ID))
	for name, text := range map[string]string{
		"store": string(entry.Value), "list": string(listed), "log": log.String(),
		"print": fmt.Sprintf("%v %+v %#v %v", k, s.Find(k.ID), k, *s.Find(k.ID)),
	} {
		if text == "" || strings.Contains(text, c.Secret) {
			t.Errorf("%s: %s", name, text)
		}
	}
	seal, err := os.Stat(filepath.Join(dir, sealName))
	if err != nil || seal.Mode().Perm() != 0o600 {
		t.Errorf("the sealing key: %v, %v", seal.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("beside the sealing key there are %v", left)
	}
}

// TestASealIsOfOneDirectoryAndOneKey moves sealed secrets to where they do not belong.
func TestASealIsOfOneDirectoryAndOneKey(t *testing.T) {
	meta := fake.New().Meta()
	s := openStore(t, meta, t.TempDir())
	k, _ := create(t, s, NewKey{Admin: true})
	other, _ := create(t, s, NewKey{})
	entry, err := meta.Get(t.Context(), keyPrefix+"/"+k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if s.load(other.ID, entry.Value) != nil {
		t.Error("the secret of one key opens as another's")
	}
	closeStore(t, s)
	s = openStore(t, meta, t.TempDir())
	defer closeStore(t, s)
	if s.Find(k.ID) != nil {
		t.Error("a key works with another sealing key")
	}
}

// TestNodesFollow has one node see what another one changes.
func TestNodesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meta, dir := fake.New().Meta(), t.TempDir()
		a, b := openStore(t, meta, dir), openStore(t, meta, dir)
		defer closeStore(t, a)
		defer closeStore(t, b)
		create(t, a, NewKey{Admin: true})
		k, _ := create(t, a, NewKey{})
		synctest.Wait()
		if b.Find(k.ID) == nil {
			t.Fatal("the other node has not the key")
		}
		if _, err := a.Disable(t.Context(), k.ID, true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !b.Find(k.ID).Disabled {
			t.Error("it works there still")
		}
		if err := b.Delete(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.Find(k.ID) != nil {
			t.Error("it was deleted here, and is there")
		}
	})
}

func TestTheLastAdministratorStays(t *testing.T) {
	s := openStore(t, fake.New().Meta(), t.TempDir())
	defer closeStore(t, s)
	if s.HasAdmin() {
		t.Error("nobody was made yet")
	}
	k, _ := create(t, s, NewKey{Admin: true})
	create(t, s, NewKey{Admin: true, Expires: time.Now().Add(time.Hour)}) // ends, and so does not count
	if _, err := s.Disable(t.Context(), k.ID, true); !faas.IsCode(err, faas.CodeConflict) {
		t.Errorf("disabled: %v", err)
	}
	if err := s.Delete(t.Context(), k.ID); !faas.IsCode(err, faas.CodeConflict) {
		t.Errorf("deleted: %v", err)
	}
	other, _ := create(t, s, NewKey{Admin: true})
	if err := s.Delete(t.Context(), k.ID); err != nil || s.Find(k.ID) != nil {
		t.Errorf("with another one: %v", err)
	}
	if !s.HasAdmin() || s.Find(other.ID) == nil {
		t.Error("the other one went, too")
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	s := openStore(t, fake.New().Meta(), t.TempDir())
	defer closeStore(t, s)
	for subject, in := range map[string]NewKey{
		"account": {Account: "1"},
		"name":    {Account: "123456789012", Name: "a/b"},
		"regions": {Account: "123456789012", Regions: []string{"Mars"}},
		"expires": {Account: "123456789012", Expires: time.Now().Add(-time.Second)},
		"policy":  {Account: "123456789012", Policy: &Policy{}},
	} {
		_, _, err := s.Create(t.Context(), in)
		var e *faas.Error
		if !faas.IsCode(err, faas.CodeInvalid) {
			t.Errorf("%s: %v", subject, err)
			continue
		}
		if e, _ = err.(*faas.Error); e.Subject != subject {
			t.Errorf("%s: it names %s", subject, e.Subject)
		}
	}
	for _, id := range []string{"", "HEARTHNOSUCHKEY", "a/b/c", strings.Repeat("x", 5000)} {
		if err := s.Delete(t.Context(), id); !faas.IsCode(err, faas.CodeNotFound) {
			t.Errorf("%.20q: %v", id, err)
		}
	}
	if n := len(s.List("")); n != 0 {
		t.Errorf("%d keys came of it", n)
	}
}
