package registry

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"hearth/faas"
)

// URLPatch changes the fields of a function URL that are not nil.
type URLPatch struct {
	Auth *faas.URLAuth
	Mode *faas.URLMode
	CORS **faas.CORS
}

// URLTarget is what a function URL leads to.
type URLTarget struct {
	Function faas.FunctionID
	URL      faas.FunctionURL // shared: not to be changed
}

// CreateURL makes the URL of a function, or of the alias that u.Qualifier names; its
// ID and times are set here. faas.CodeConflict where there is one.
func (r *Registry) CreateURL(ctx context.Context, id faas.FunctionID, u faas.FunctionURL) (*faas.FunctionURL, error) {
	u = u.Clone()
	return r.changeURL(ctx, id, u.Qualifier, func(s *snapshot, rec *record, at int, found bool) (*faas.FunctionURL, error) {
		if !s.takesURL(u.Qualifier) {
			return nil, noURLFunction(id)
		}
		if found {
			arn := faas.FunctionARN(id, u.Qualifier)
			return nil, faas.Errorf(faas.CodeConflict, arn, "Failed to create function url config for [functionArn = %s]. "+
				"Error message:  FunctionUrlConfig exists for this Lambda function", arn)
		}
		u.ID = newURLID()
		u.Created = r.clock().UTC().Round(0)
		u.Modified = u.Created
		rec.URLs = slices.Insert(rec.URLs, at, u)
		return &u, nil
	})
}

// UpdateURL changes the URL of a function or an alias.
func (r *Registry) UpdateURL(ctx context.Context, id faas.FunctionID, qualifier string, patch URLPatch) (*faas.FunctionURL, error) {
	return r.changeURL(ctx, id, qualifier, func(s *snapshot, rec *record, at int, found bool) (*faas.FunctionURL, error) {
		if !s.takesURL(qualifier) {
			return nil, noURLFunction(id)
		}
		if !found {
			return nil, noURL(id, qualifier)
		}
		u := rec.URLs[at]
		patchField(&u.Auth, patch.Auth)
		patchField(&u.Mode, patch.Mode)
		patchField(&u.CORS, patch.CORS)
		u = u.Clone()
		u.Modified = r.clock().UTC().Round(0)
		rec.URLs[at] = u
		return &u, nil
	})
}

// DeleteURL removes the URL of a function or an alias; it never comes back.
func (r *Registry) DeleteURL(ctx context.Context, id faas.FunctionID, qualifier string) error {
	if r.table.load(id) == nil {
		return noURL(id, qualifier)
	}
	_, err := r.changeURL(ctx, id, qualifier, func(_ *snapshot, rec *record, at int, found bool) (*faas.FunctionURL, error) {
		if !found {
			return nil, noURL(id, qualifier)
		}
		gone := rec.URLs[at]
		rec.URLs = slices.Delete(rec.URLs, at, at+1)
		return &gone, nil
	})
	return err
}

// GetURL returns the URL of a function or an alias; a copy, which the caller may change.
func (r *Registry) GetURL(_ context.Context, id faas.FunctionID, qualifier string) (*faas.FunctionURL, error) {
	s := r.table.load(id)
	if s == nil {
		return nil, noURL(id, qualifier)
	}
	at, found := s.record.urlAt(qualifier)
	if !found {
		return nil, noURL(id, qualifier)
	}
	u := s.record.URLs[at].Clone()
	return &u, nil
}

// ListURLs returns a page of a function's URLs, by qualifier.
func (r *Registry) ListURLs(_ context.Context, id faas.FunctionID, marker string, max int) (Page[*faas.FunctionURL], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.FunctionURL]{}, err
	}
	s := r.table.load(id)
	if s == nil {
		return Page[*faas.FunctionURL]{}, noURLFunction(id)
	}
	page := newPage[*faas.FunctionURL](max)
	at, _ := s.record.urlAt(from.name)
	for _, u := range s.record.URLs[at:] {
		u = u.Clone()
		if !page.add(&u, position{name: u.Qualifier}) {
			break
		}
	}
	return page.Page, nil
}

// ResolveURL returns what a function URL leads to. It waits for nothing.
func (r *Registry) ResolveURL(urlID string) (URLTarget, bool) {
	target, ok := r.table.urls.Load(urlID)
	if !ok {
		return URLTarget{}, false
	}
	return target.(URLTarget), true
}

type urlChange func(s *snapshot, clone *record, at int, found bool) (*faas.FunctionURL, error)

func (r *Registry) changeURL(ctx context.Context, id faas.FunctionID, qualifier string, next urlChange) (*faas.FunctionURL, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if r.table.load(id) == nil {
		return nil, noURLFunction(id)
	}
	var made *faas.FunctionURL
	err = r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		rec := s.record.clone()
		at, found := rec.urlAt(qualifier)
		var err error
		made, err = next(s, rec, at, found)
		return rec, err
	})
	if err != nil {
		return nil, err
	}
	u := made.Clone()
	return &u, nil
}

// takesURL reports whether a qualifier is one that can have a URL: the function
// itself or an alias.
func (s *snapshot) takesURL(qualifier string) bool {
	return qualifier == "" || s.aliases[qualifier] != nil
}

// urlAt returns where a qualifier's URL is in URLs, or would be.
func (r *record) urlAt(qualifier string) (at int, found bool) {
	return slices.BinarySearchFunc(r.URLs, qualifier, func(u faas.FunctionURL, qualifier string) int {
		return strings.Compare(u.Qualifier, qualifier)
	})
}

// dropURL removes an alias's URL, if any, from a clone.
func (r *record) dropURL(qualifier string) {
	if at, found := r.urlAt(qualifier); found {
		r.URLs = slices.Delete(r.URLs, at, at+1)
	}
}

// indexURLs keeps the index of URLs in step with a function's snapshot.
func (t *table) indexURLs(id faas.FunctionID, old, now *snapshot) {
	if now != nil {
		for _, u := range now.record.URLs {
			t.urls.Store(u.ID, URLTarget{Function: id, URL: u})
		}
	}
	if old == nil {
		return
	}
	for _, u := range old.record.URLs {
		if now == nil || !slices.ContainsFunc(now.record.URLs, func(n faas.FunctionURL) bool { return n.ID == u.ID }) {
			t.urls.Delete(u.ID)
		}
	}
}

// newURLID returns 32 random lower-case letters and digits: 160 bits, which nobody
// guesses.
func newURLID() string { return strings.ToLower(rand.Text() + rand.Text())[:32] }

func noURLFunction(id faas.FunctionID) error {
	return &faas.Error{Code: faas.CodeNotFound, Subject: faas.FunctionARN(id, ""), Message: "Function does not exist", Cause: faas.ErrNoFunction}
}

func noURL(id faas.FunctionID, qualifier string) error {
	return faas.Errorf(faas.CodeNotFound, faas.FunctionARN(id, qualifier), "The resource you requested does not exist.")
}
