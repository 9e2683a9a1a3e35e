package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"hearth/faas"
	"hearth/internal/uuid"
)

// AddLayerPermission lets a principal use a version. It returns the version with its
// new policy. A statement of that name is faas.CodeConflict; revision, unless "", is
// that of the policy before.
func (r *Registry) AddLayerPermission(ctx context.Context, id faas.LayerID, number int64, s faas.LayerStatement, revision string) (*faas.LayerVersion, error) {
	return r.changeLayerPolicy(ctx, id, number, revision, func(policy []faas.LayerStatement) ([]faas.LayerStatement, error) {
		if slices.ContainsFunc(policy, func(have faas.LayerStatement) bool { return have.SID == s.SID }) {
			return nil, faas.Errorf(faas.CodeConflict, s.SID,
				"The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", s.SID)
		}
		policy = append(policy, s)
		if size := layerPolicyBytes(policy, id, number); size > faas.MaxLayerPolicyBytes {
			return nil, &faas.Error{Code: faas.CodeTooLarge, Subject: "policy", Cause: faas.ErrPolicyTooLong,
				Message: fmt.Sprintf("The final policy size (%d) is bigger than the limit (%d).", size, faas.MaxLayerPolicyBytes)}
		}
		return policy, nil
	})
}

// RemoveLayerPermission removes a statement.
func (r *Registry) RemoveLayerPermission(ctx context.Context, id faas.LayerID, number int64, sid, revision string) error {
	_, err := r.changeLayerPolicy(ctx, id, number, revision, func(policy []faas.LayerStatement) ([]faas.LayerStatement, error) {
		at := slices.IndexFunc(policy, func(s faas.LayerStatement) bool { return s.SID == sid })
		if at < 0 {
			return nil, faas.Errorf(faas.CodeNotFound, sid, "Statement %s is not found in resource policy.", sid)
		}
		return slices.Delete(policy, at, at+1), nil
	})
	return err
}

func (r *Registry) changeLayerPolicy(ctx context.Context, id faas.LayerID, number int64, revision string, change func([]faas.LayerStatement) ([]faas.LayerStatement, error)) (*faas.LayerVersion, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	var made *faas.LayerVersion
	err = r.changeLayer(ctx, id, number, func(ctx context.Context, v *faas.LayerVersion, last uint64) error {
		next := *v
		policy, err := change(slices.Clone(v.Policy))
		if err != nil {
			return err
		}
		if revision != "" && revision != v.PolicyRevision {
			return faas.Errorf(faas.CodePrecondition, v.ARN(),
				"The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id")
		}
		next.Policy, next.PolicyRevision = policy, uuid.New()
		made = &next
		return r.writeLayer(ctx, made, last)
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// layerPolicyBytes is about how long a policy is as its document.
func layerPolicyBytes(policy []faas.LayerStatement, id faas.LayerID, number int64) int {
	const around, frame = 80, 60 // of a statement, of the document
	size := frame
	for _, s := range policy {
		b, err := json.Marshal(s)
		if err != nil { // three strings always have a JSON form
			return size
		}
		size += around + len(b) + len(faas.LayerVersionARN(id, number))
	}
	return size
}
