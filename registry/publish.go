package registry

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"hearth/faas"
)

// Publish makes a version of the head's code and configuration. Where nothing
// changed since the last version that exists, it returns that one.
func (r *Registry) Publish(ctx context.Context, in PublishInput) (*faas.Version, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if in.Description != nil && len([]rune(*in.Description)) > r.limits.MaxDescription {
		return nil, descriptionTooLong(*in.Description, r.limits)
	}
	var made *faas.Version
	release := func() {} // what the last try claimed
	defer func() { release() }()
	err = r.change(ctx, in.Function, func(ctx context.Context, s *snapshot) (*record, error) {
		if err := checkPublish(in, s.record.Head); err != nil {
			return nil, err
		}
		if made = s.unchanged(); made != nil {
			return nil, nil
		}
		release()
		if release, err = r.claim(in.Function.Scope, s.record.Head.Code.Size); err != nil {
			release = func() {}
			return nil, err
		}
		next := s.record.clone()
		made, err = r.addVersion(ctx, next, in.Description)
		return next, err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func descriptionTooLong(text string, l faas.Limits) error {
	return faas.Alias{Name: "a", Version: faas.Latest, Description: text}.Validate(l)
}

func checkPublish(in PublishInput, head *faas.Version) error {
	id := head.ID.Function
	if err := busy(id, head); err != nil {
		return err
	}
	if in.RevisionID != "" && in.RevisionID != head.RevisionID {
		return stale(faas.FunctionARN(id, ""))
	}
	if head.State != faas.StateActive || head.Update == faas.UpdateFailed {
		return faas.Errorf(faas.CodeConflict, faas.FunctionARN(id, ""),
			"The function's last change failed, so there is nothing to publish. Update its code or configuration first. (%s)",
			strings.TrimSpace(head.StateReason+" "+head.UpdateReason))
	}
	if in.CodeSHA256 != "" && !strings.EqualFold(in.CodeSHA256, head.Code.SHA256) {
		return faas.Errorf(faas.CodeInvalid, "codeSha256",
			"CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.",
			in.CodeSHA256, head.Code.SHA256)
	}
	return nil
}

// unchanged returns the latest published version if the head still equals what
// was published as it.
func (s *snapshot) unchanged() *faas.Version {
	if len(s.numbers) == 0 {
		return nil
	}
	n := s.numbers[len(s.numbers)-1]
	last := s.contents[n]
	cfg := last.Version.Config
	cfg.Description = last.HeadDescription
	if s.versions[faas.VersionNumber(n)].State == faas.StateFailed || last.Version.Code != s.record.Head.Code || !cfg.Equal(s.record.Head.Config) {
		return nil
	}
	return s.versions[faas.VersionNumber(n)]
}

// addVersion writes the content of a version made of the record's head, and
// lists it in the record; the commit of the record makes it exist. It is pending
// for as long as the head is. Only a holder of the function's turn calls it.
func (r *Registry) addVersion(ctx context.Context, rec *record, description *string) (*faas.Version, error) {
	id := rec.Head.ID.Function
	n := rec.LastNumber + 1
	cfg := rec.Head.Config.Clone()
	if description != nil {
		cfg.Description = *description
	}
	v := r.newVersion(id, faas.VersionNumber(n), cfg, rec.Head.Code)
	v.Update = faas.UpdateSuccessful
	content := &versionRecord{
		Format: recordFormat, Incarnation: rec.Incarnation,
		Version: v, HeadDescription: rec.Head.Config.Description,
	}
	if err := r.writeContent(ctx, id, n, content); err != nil {
		return nil, err
	}
	rec.LastNumber = n
	p := published{Number: n, Pending: rec.pending()}
	rec.Published = append(rec.Published, p)
	return p.apply(v), nil
}

// writeContent writes a version's key. One may be there already that no record
// ever listed; it is overwritten.
func (r *Registry) writeContent(ctx context.Context, id faas.FunctionID, n int64, content *versionRecord) error {
	value, err := json.Marshal(content)
	if err != nil {
		return internal("write version", err)
	}
	for range changeAttempts {
		revision, err := r.write(ctx, versionKey(id, n), value, r.table.versionRevision(id, n))
		if err == nil {
			r.table.putVersion(id, n, revision, content)
			return nil
		}
		if !errors.Is(err, errChanged) {
			return engineError("write version", err)
		}
		if err := r.refreshContent(ctx, id, n); err != nil {
			return err
		}
	}
	return engineError("write version", errChanged)
}
