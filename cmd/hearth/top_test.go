package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hearth/api/native"
	"hearth/faas"
	"hearth/metric"
)

func someTop() *native.Top {
	l := native.Load{InFlight: metric.Levels{Now: 3, Minute: 4, LastMinute: 9}, Busy: metric.Levels{Now: 3, Minute: 4}, Idle: metric.Levels{Now: 2}}
	limits := faas.DefaultAccountLimits()
	limits.Expansion = 0
	return &native.Top{Account: "000000000000", Region: "us-east-1", Limits: &limits, Use: &native.AccountUse{MemoryMB: 64_000, Executions: 3, Starts: 5}, Load: l,
		Functions: []native.TopFunction{
			{Namespace: "default", Name: "two", Load: l, Minute: native.MinuteCounts{Cold: 7, Refused: 8}, Median: 1500 * time.Microsecond,
				Versions: []native.TopVersion{{Number: "$LATEST", Load: l}, {Number: "1", Load: l}},
				Aliases:  []native.TopAlias{{Name: "live", InFlight: metric.Levels{Now: 1, LastMinute: 2}}}},
			{Namespace: "other", Name: "one", Versions: []native.TopVersion{{Number: "5"}}},
		}, Left: 4}
}

func TestTopLines(t *testing.T) {
	text := strings.Join(topLines(someTop(), "default", 0, 0), "\n")
	for _, want := range []string{
		"in flight 3 (max 9)", "memory 64000 of 128000 MB (50 %)", "executions 3 of 1000 (0 %)", "starts 5 of no limit",
		"two        all      3         9    0     3     4    2     0       0      0     7       8          1.50 ms",
		"           $LATEST  3         9", "           @live    1         2", "other/one  5        0         0", "… 4 more functions",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for _, size := range []struct{ width, height int }{{40, 8}, {10, 3}, {1, 1}, {200, 7}} {
		lines := topLines(someTop(), "default", size.width, size.height)
		if len(lines) > size.height {
			t.Errorf("%d lines on a screen of %d", len(lines), size.height)
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > size.width {
				t.Errorf("a line of %d characters on a screen of %d: %q", n, size.width, line)
			}
		}
	}
	// On a screen of the usual 80 columns nothing that says something is cut.
	narrow := topLines(someTop(), "default", 80, 0)
	text = strings.Join(narrow, "\n")
	for _, want := range []string{
		"\ninstances  busy 3 (max 4)  idle 2  frozen 0  starting 0 (max 0)  draining 0\n           provisioned 0\n",
		"\nFUNCTION   VERSION  INFLIGHT  MAX  BUSY  MAX  IDLE  COLD/m  REFUSED/m  P50\n",
		"\n           @live    1         2\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text[:strings.Index(text, "more functions")-len("… 4 ")], "…") {
		t.Errorf("something is cut in\n%s", text)
	}
	hostile := someTop()
	hostile.Functions[0].Name = "f\x1b[2J"
	if text := strings.Join(topLines(hostile, "default", 0, 0), "\n"); strings.Contains(text, "\x1b") {
		t.Error("a name reached the terminal as it was")
	}
}

func TestKeysThatEndTheView(t *testing.T) {
	for _, keys := range []string{"q", "xyzQ", "\x03", "\x04", ""} {
		quit := make(chan struct{})
		rest := strings.NewReader(keys + "more")
		if keys == "" {
			rest = strings.NewReader("")
		}
		go watchKeys(rest, quit)
		<-quit
		left, _ := io.ReadAll(rest)
		if want := "more"; keys != "" && string(left) != want {
			t.Errorf("%q: %q was left, want %q", keys, left, want)
		}
	}
}

// One document a refresh, until the person who watches ends it.
func TestTopDocuments(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 4 {
			cancel()
		}
		_ = json.NewEncoder(w).Encode(someTop())
	}))
	defer server.Close()
	view := &topView{client: newClient(values{"server": server.URL}), namespace: "default", interval: time.Millisecond}
	var out bytes.Buffer
	if err := view.documents(ctx, &out, false); err != nil {
		t.Fatal(err)
	}
	documents := 0
	for d := json.NewDecoder(&out); ; documents++ {
		var top native.Top
		if err := d.Decode(&top); err == io.EOF {
			break
		} else if err != nil || top.Left != 4 {
			t.Fatalf("%v %+v", err, top)
		}
	}
	if documents != 3 && documents != 4 {
		t.Errorf("%d documents", documents)
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""}, {"a b c", 3, "a b\nc"}, {"longword b", 3, "longword\nb"}, {"one two three", 100, "one two three"}, {"bell\a", 9, "bell·"},
	} {
		if got := wrap(test.text, test.width); got != test.want {
			t.Errorf("wrap(%q, %d) is %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
