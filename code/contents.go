package code

import (
	"context"

	"hearth/faas"
)

// Inspect says what a stored package holds. It reads the archive's directory and
// unpacks nothing.
func (s *Store) Inspect(ctx context.Context, code faas.Code) (faas.Contents, error) {
	zip, err := s.Read(ctx, code)
	if err != nil {
		return faas.Contents{}, err
	}
	a, err := parse(zip, s.limits)
	if err != nil {
		return faas.Contents{}, err
	}
	return faas.Contents{Bytes: a.bytes, Libraries: a.tree.nodes["lib"] != nil, Extensions: a.tree.nodes["extensions"] != nil}, nil
}
