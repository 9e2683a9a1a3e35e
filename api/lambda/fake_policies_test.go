package lambda

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hearth/faas"
	"hearth/registry"
)

// fakeAccess keeps the resource policies and URLs of a fakeRegistry's functions.
// What a statement may be it knows from package faas.
type fakeAccess struct {
	functions *fakeRegistry
	policies  map[string]*registry.Policy
	urls      map[faas.FunctionID][]faas.FunctionURL
}

func newFakeAccess(r *fakeRegistry) *fakeAccess {
	return &fakeAccess{functions: r, policies: map[string]*registry.Policy{}, urls: map[faas.FunctionID][]faas.FunctionURL{}}
}

func (a *fakeAccess) AddPermission(ctx context.Context, id faas.FunctionID, qualifier string, s faas.Statement, revision string) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if qualifier == faas.Latest {
		return faas.Errorf(faas.CodeInvalid, "qualifier", "We currently do not support adding policies for $LATEST.")
	}
	if _, err := a.functions.Get(ctx, id, qualifier); err != nil {
		return err
	}
	arn := faas.FunctionARN(id, qualifier)
	p := a.policies[arn]
	if p == nil {
		p = &registry.Policy{Qualifier: qualifier}
		a.policies[arn] = p
	}
	if revision != "" && revision != p.RevisionID {
		return faas.Errorf(faas.CodePrecondition, arn, "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
	}
	if slices.ContainsFunc(p.Statements, func(is faas.Statement) bool { return is.ID == s.ID }) {
		return faas.Errorf(faas.CodeConflict, arn, "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", s.ID)
	}
	p.Statements, p.RevisionID = append(p.Statements, s), a.functions.revision()
	return nil
}

func (a *fakeAccess) RemovePermission(_ context.Context, id faas.FunctionID, qualifier, statement, _ string) error {
	arn := faas.FunctionARN(id, qualifier)
	p := a.policies[arn]
	if p == nil {
		return faas.Errorf(faas.CodeNotFound, arn, "No policy is associated with the given resource.")
	}
	before := len(p.Statements)
	p.Statements = slices.DeleteFunc(p.Statements, func(s faas.Statement) bool { return s.ID == statement })
	if len(p.Statements) == before {
		return faas.Errorf(faas.CodeNotFound, arn, "Statement %s is not found in resource policy.", statement)
	}
	if len(p.Statements) == 0 {
		delete(a.policies, arn)
	}
	return nil
}

func (a *fakeAccess) Policy(ctx context.Context, id faas.FunctionID, qualifier string) (*registry.Policy, error) {
	if _, err := a.functions.Get(ctx, id, qualifier); err != nil {
		return nil, err
	}
	if p := a.policies[faas.FunctionARN(id, strings.TrimPrefix(qualifier, faas.Latest))]; p != nil {
		return p, nil
	}
	return nil, faas.Errorf(faas.CodeNotFound, "policy", "The resource you requested does not exist.")
}

func (a *fakeAccess) at(id faas.FunctionID, qualifier string) int {
	return slices.IndexFunc(a.urls[id], func(u faas.FunctionURL) bool { return u.Qualifier == qualifier })
}

func noFakeURL() error {
	return faas.Errorf(faas.CodeNotFound, "url", "The resource you requested does not exist.")
}

func (a *fakeAccess) CreateURL(ctx context.Context, id faas.FunctionID, u faas.FunctionURL) (*faas.FunctionURL, error) {
	if _, err := a.functions.Get(ctx, id, u.Qualifier); err != nil {
		return nil, faas.Errorf(faas.CodeNotFound, "url", "Function does not exist")
	}
	if a.at(id, u.Qualifier) >= 0 {
		return nil, faas.Errorf(faas.CodeConflict, "url", "Failed to create function url config for [functionArn = %s]. Error message:  FunctionUrlConfig exists for this Lambda function", faas.FunctionARN(id, u.Qualifier))
	}
	u.ID, u.Created, u.Modified = fmt.Sprintf("%032d", len(a.urls[id])+1), fakeNow, fakeNow
	a.urls[id] = append(a.urls[id], u)
	return &u, nil
}

func (a *fakeAccess) UpdateURL(_ context.Context, id faas.FunctionID, qualifier string, p registry.URLPatch) (*faas.FunctionURL, error) {
	at := a.at(id, qualifier)
	if at < 0 {
		return nil, noFakeURL()
	}
	u := &a.urls[id][at]
	set(&u.Auth, p.Auth)
	set(&u.Mode, p.Mode)
	set(&u.CORS, p.CORS)
	return u, nil
}

func (a *fakeAccess) GetURL(_ context.Context, id faas.FunctionID, qualifier string) (*faas.FunctionURL, error) {
	if at := a.at(id, qualifier); at >= 0 {
		return &a.urls[id][at], nil
	}
	return nil, noFakeURL()
}

func (a *fakeAccess) DeleteURL(_ context.Context, id faas.FunctionID, qualifier string) error {
	at := a.at(id, qualifier)
	if at < 0 {
		return noFakeURL()
	}
	a.urls[id] = slices.Delete(a.urls[id], at, at+1)
	return nil
}

func (a *fakeAccess) ListURLs(ctx context.Context, id faas.FunctionID, marker string, max int) (registry.Page[*faas.FunctionURL], error) {
	if _, err := a.functions.Get(ctx, id, ""); err != nil {
		return registry.Page[*faas.FunctionURL]{}, faas.Errorf(faas.CodeNotFound, "url", "Function does not exist")
	}
	var items []*faas.FunctionURL
	for i := range a.urls[id] {
		items = append(items, &a.urls[id][i])
	}
	return page(items, marker, max), nil
}
