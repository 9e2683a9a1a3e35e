package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// TestLeftoversAreSeen: what Stop looks for is what a running server has, so that
// finding nothing means something.
func TestLeftoversAreSeen(t *testing.T) {
	s := Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := languages[1]
	f := &life{t: t, ctx: ctx, client: newGoClient(t, s), name: "seen", lang: l}
	f.create(l.runtime(t, s))
	found := s.kernelObjects(s.dataID())
	for _, kind := range []string{"cgroup ", "link ", "table "} {
		if !slices.ContainsFunc(found, func(what string) bool { return strings.HasPrefix(what, kind) }) {
			t.Errorf("no %sof a running server among %q", kind, found)
		}
	}
	if len(Living(s.Processes())) == 0 {
		t.Error("no process of an instance that is there")
	}
}
