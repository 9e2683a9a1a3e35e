package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hearth/faas"
)

// TestStoredAndWriters asks who wrote, over segments that are full and the last one,
// after a restart, and when the first ones are gone.
func TestStoredAndWriters(t *testing.T) {
	dir, now := t.TempDir(), newClock()
	options := Options{Dir: dir, Clock: now.read, MaxBytesPerFunction: leastMaxBytes}
	s := openStore(t, options)
	st, w := openStream(t, s, function)
	began := now.read()
	line := strings.Repeat("x", 1<<10)
	print(t, w, "%s\n", line)
	st.Settle("r")
	now.advance(time.Minute)
	for i := range 200 { // some segments, less than the bound
		st.Begin(fmt.Sprint(i), "")
		print(t, w, "%s\n", line)
		st.Settle(fmt.Sprint(i))
	}
	check := func(s *Store, what string, first, last time.Time) {
		t.Helper()
		for range 2 { // the second time from what is remembered
			writers, err := s.Writers(t.Context(), function)
			if err != nil || len(writers) != 1 || writers[0].Instance != "i-1" || writers[0].Version != faas.Latest ||
				!writers[0].First.Equal(first) || !writers[0].Last.Equal(last) {
				t.Errorf("%s: the writers are %+v, %v", what, writers, err)
			}
		}
		for _, id := range []faas.FunctionID{function, {Scope: function.Scope}} {
			stored, err := s.Stored(t.Context(), id)
			if err != nil || len(stored) != 1 || stored[0].Function != function || stored[0].Bytes < 100<<10 || !stored[0].First.Equal(first) || !stored[0].Last.Equal(last) {
				t.Errorf("%s: stored is %+v, %v", what, stored, err)
			}
		}
	}
	check(s, "at first", began, now.read())
	s.Close()
	s = openStore(t, options)
	check(s, "after a restart", began, now.read())
	for _, id := range []faas.FunctionID{named("silent"), {Scope: faas.Scope{Account: "111111111111"}}} {
		if stored, err := s.Stored(t.Context(), id); err != nil || len(stored) != 0 {
			t.Errorf("%v has %+v, %v", id, stored, err)
		}
	}
	if writers, err := s.Writers(t.Context(), named("silent")); err != nil || len(writers) != 0 {
		t.Errorf("nobody wrote: %+v, %v", writers, err)
	}
}

func TestSkipAndInstance(t *testing.T) {
	now := newClock()
	s := openStore(t, Options{Clock: now.read})
	st, w := openStream(t, s, function)
	print(t, w, "a\nb\nc\n") // of one instant
	st.Settle("")
	at := now.read()
	now.advance(time.Second)
	print(t, w, "d\n")
	st.Settle("")
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Since: at, Skip: 2}, "|c\n|d\n"},
		{Query{Since: at, Skip: 1, Limit: 2}, "|b\n|c\n"},
		{Query{Since: at, Skip: 4}, ""},
		{Query{Since: at, Skip: 9}, ""},
		{Query{Since: at.Add(1)}, "|d\n"},
		{Query{Instance: "i-1", Limit: 1}, "|a\n"},
		{Query{Instance: "i-2"}, ""},
		{Query{Tail: 1, Skip: 1}, "|d\n"},
	} {
		if got := text(find(t, s, c.q)); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
}

func TestPeekWriter(t *testing.T) {
	for _, src := range []Source{
		{Version: "$LATEST", Instance: "i-1"}, {Version: "", Instance: ""}, {Version: `a"b`, Instance: `c\d`}, {Version: "1", Instance: `,"v":"2","i":"3"`},
	} {
		raw := appendRecord(nil, 5, &src, `r,"v":"9","i":"8"`, []byte(`line,"v":"7","i":"6"`+"\n"))
		if at, version, instance, ok := peekWriter(raw); !ok || at != 5 || version != src.Version || instance != src.Instance {
			t.Errorf("%s: %d %q %q %v", raw, at, version, instance, ok)
		}
	}
	for _, damaged := range []string{"", `{"t":5}`, `{"t":5,"v":"1"}`, `{"t":x,"v":"1","i":"2"}`} {
		if _, _, _, ok := peekWriter([]byte(damaged)); ok {
			t.Errorf("%q was taken for a record", damaged)
		}
	}
}
