package registry

import (
	"context"
	"slices"
	"strings"

	"hearth/faas"
	"hearth/internal/uuid"
)

// Policy is the resource policy of a function or of one version or alias of it.
type Policy struct {
	Qualifier  string           `json:"qualifier,omitempty"` // "" is the function itself
	Statements []faas.Statement `json:"statements"`
	// RevisionID of a version's policy: its own record is immutable. The function
	// and its aliases have new revision ids themselves.
	RevisionID string `json:"revisionId,omitempty"`
}

// AddPermission adds a statement to the policy of a function, version or alias.
// RevisionID is a precondition where it is not "". Errors are faas.CodeConflict
// for an ID that is taken, faas.CodePrecondition, faas.CodeInvalid, and
// faas.CodePolicyLimit above faas.MaxPolicy.
func (r *Registry) AddPermission(ctx context.Context, id faas.FunctionID, qualifier string, s faas.Statement, revisionID string) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if qualifier == faas.Latest {
		return faas.Errorf(faas.CodeInvalid, "qualifier", "We currently do not support adding policies for $LATEST.")
	}
	return r.changePolicy(ctx, id, qualifier, func(p *Policy, revision string) error {
		if revisionID != "" && revisionID != revision {
			return staleFor(faas.FunctionARN(id, qualifier), "GetPolicy")
		}
		if p.statementAt(s.ID) >= 0 {
			return faas.Errorf(faas.CodeConflict, "statementId",
				"The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", s.ID)
		}
		p.Statements = append(p.Statements, s)
		if size := len(faas.PolicyDocument(faas.FunctionARN(id, qualifier), p.Statements)); size > faas.MaxPolicy {
			return faas.Errorf(faas.CodePolicyLimit, "policy", "The final policy size (%d) is bigger than the limit (%d).", size, faas.MaxPolicy)
		}
		return nil
	})
}

// RemovePermission removes a statement. One that is not there is faas.CodeNotFound.
func (r *Registry) RemovePermission(ctx context.Context, id faas.FunctionID, qualifier, statement, revisionID string) error {
	if r.table.load(id) == nil {
		return faas.Errorf(faas.CodeNotFound, "policy", "No policy found for: %s", faas.FunctionARN(id, ""))
	}
	return r.changePolicy(ctx, id, policyQualifier(qualifier), func(p *Policy, revision string) error {
		if len(p.Statements) == 0 {
			return faas.Errorf(faas.CodeNotFound, "policy", "No policy is associated with the given resource.")
		}
		at := p.statementAt(statement)
		if at < 0 {
			return faas.Errorf(faas.CodeNotFound, "statementId", "Statement %s is not found in resource policy.", statement)
		}
		if revisionID != "" && revisionID != revision {
			return staleFor(faas.FunctionARN(id, qualifier), "GetPolicy")
		}
		p.Statements = slices.Delete(p.Statements, at, at+1)
		return nil
	})
}

// Policy returns the policy of a function, version or alias with the revision id
// that a change of it may name; a copy, which the caller may change.
// faas.CodeNotFound where there is none.
func (r *Registry) Policy(_ context.Context, id faas.FunctionID, qualifier string) (*Policy, error) {
	qualifier = policyQualifier(qualifier)
	s := r.table.load(id)
	if s == nil || s.find(qualifier) == nil {
		return nil, noFunction(id, qualifier)
	}
	at, found := s.record.policyAt(qualifier)
	if !found {
		return nil, faas.Errorf(faas.CodeNotFound, "policy", "The resource you requested does not exist.")
	}
	p := s.record.Policies[at]
	p.Statements = slices.Clone(p.Statements)
	p.RevisionID = s.record.revisionOf(qualifier)
	return &p, nil
}

// Permits reports whether the policy of a function, version or alias lets a caller
// through. It waits for nothing.
func (r *Registry) Permits(id faas.FunctionID, qualifier string, a faas.Access) bool {
	s := r.table.load(id)
	if s == nil {
		return false
	}
	at, found := s.record.policyAt(policyQualifier(qualifier))
	return found && slices.ContainsFunc(s.record.Policies[at].Statements, func(s faas.Statement) bool { return s.Allows(a) })
}

// changePolicy lets next change a qualifier's policy, and gives a new revision id to
// what it belongs to.
func (r *Registry) changePolicy(ctx context.Context, id faas.FunctionID, qualifier string, next func(p *Policy, revision string) error) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	return r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		if s.find(qualifier) == nil {
			return nil, noFunction(id, qualifier)
		}
		rec := s.record.clone()
		at, found := rec.policyAt(qualifier)
		p := Policy{Qualifier: qualifier}
		if found {
			p.Statements = slices.Clone(rec.Policies[at].Statements)
		}
		if err := next(&p, rec.revisionOf(qualifier)); err != nil {
			return nil, err
		}
		p.RevisionID = rec.touch(qualifier)
		switch {
		case len(p.Statements) == 0 && found:
			rec.Policies = slices.Delete(rec.Policies, at, at+1)
		case found:
			rec.Policies[at] = p
		default:
			rec.Policies = slices.Insert(rec.Policies, at, p)
		}
		return rec, nil
	})
}

// revisionOf returns the revision id that a change of a qualifier's policy may name.
func (r *record) revisionOf(qualifier string) string {
	if qualifier == "" {
		return r.Head.RevisionID
	}
	if at, found := findAlias(r.Aliases, qualifier); found {
		return r.Aliases[at].RevisionID
	}
	if at, found := r.policyAt(qualifier); found {
		return r.Policies[at].RevisionID
	}
	return ""
}

// touch gives what a qualifier names in a clone a new revision id, and returns it.
func (r *record) touch(qualifier string) string {
	revision := uuid.New()
	if qualifier == "" {
		head := *r.Head
		head.RevisionID = revision
		r.Head = &head
	} else if at, found := findAlias(r.Aliases, qualifier); found {
		r.Aliases[at].RevisionID = revision
	}
	return revision
}

func (p *Policy) statementAt(id string) int {
	return slices.IndexFunc(p.Statements, func(s faas.Statement) bool { return s.ID == id })
}

// policyQualifier is the qualifier under which a policy is kept.
func policyQualifier(qualifier string) string {
	if qualifier == faas.Latest {
		return ""
	}
	return qualifier
}

// policyAt returns where a qualifier's policy is in Policies, or would be.
func (r *record) policyAt(qualifier string) (at int, found bool) {
	return slices.BinarySearchFunc(r.Policies, qualifier, func(p Policy, qualifier string) int {
		return strings.Compare(p.Qualifier, qualifier)
	})
}

// dropPolicy removes a qualifier's policy, if any, from a clone.
func (r *record) dropPolicy(qualifier string) {
	if at, found := r.policyAt(qualifier); found {
		r.Policies = slices.Delete(r.Policies, at, at+1)
	}
}
