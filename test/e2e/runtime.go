package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// Newest is the newest runtime of a family that this machine has.
func (s *Server) Newest(t *testing.T, family string) string {
	t.Helper()
	out, err := s.Run(context.Background(), t, "runtimes", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name      string
		Installed bool
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("hearth runtimes: %v in %s", err, out)
	}
	for _, r := range list {
		if r.Installed && strings.HasPrefix(r.Name, family) {
			return r.Name
		}
	}
	t.Fatalf("this machine has no %s runtime: %s", family, out)
	return ""
}
