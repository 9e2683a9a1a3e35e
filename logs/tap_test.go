package logs

import (
	"strings"
	"testing"
)

// A tap sees whole lines of output, whose they are, and nothing of Hearth's own.
func TestTap(t *testing.T) {
	noLeaks(t)
	s := openStore(t, Options{})
	st, w := openStream(t, s, function)
	print(t, w, "before\n")
	st.Begin("r0", "START r0")
	st.Settle("r0", "END r0")
	var seen strings.Builder
	st.Tap(func(request string, lines []byte) {
		for line := range strings.Lines(string(lines)) {
			seen.WriteString(request + "|" + line)
		}
	})
	st.Begin("r1", "START r1")
	print(t, w, "one\ntwo\nno end")
	st.Settle("r1", "END r1", "REPORT r1")
	st.Platform("", "EXTENSION")
	print(t, w, "background\nlast words")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if want := "r1|one\nr1|two\nr1|no end\n|background\n|last words\n"; seen.String() != want {
		t.Errorf("seen\n%s\nwant\n%s", seen.String(), want)
	}
}
