package workload

import (
	"strings"
	"testing"
	"time"
)

func TestAzure2019(t *testing.T) {
	l, err := Azure2019(1)
	if err != nil {
		t.Fatal(err)
	}
	functions, calls := 0, 0
	for _, a := range l.Apps {
		functions += len(a.Functions)
		calls += len(a.Calls)
		if a.MemoryMB <= 0 || a.Cold <= 0 || len(a.Calls) == 0 {
			t.Errorf("app %d: %v MB, cold %v, %d calls", a.ID, a.MemoryMB, a.Cold, len(a.Calls))
		}
		for i, c := range a.Calls {
			if c.At < 0 || c.At >= l.Span || i > 0 && c.At < a.Calls[i-1].At {
				t.Fatalf("app %d: call %d at %v", a.ID, i, c.At)
			}
		}
	}
	if functions != 252 || calls < 1e5 {
		t.Errorf("%d functions, %d calls", functions, calls)
	}
}

func TestBadTraces(t *testing.T) {
	const head = "app,trigger,ms25,ms50,ms75,mb,minute:calls\n"
	for _, row := range []string{
		"x,http,1,1,1,1,0:1", "0,http,1,1,1,-1,0:1", "0,http,1,1,1,1,480:1", "0,http,1,1,1,1,1", "0,http,1,1,1,1,1:0",
		"0,http,1,NaN,1,1,0:1", "0,http", `0,"http`,
	} {
		if _, err := readTrace(strings.NewReader(head+row), 1, 8*time.Hour); err == nil {
			t.Errorf("%s: no error", row)
		}
	}
	if l, err := readTrace(strings.NewReader(head+"0,http,1,2,3,100,0:2 5:1"), 1, 8*time.Hour); err != nil || len(l.Apps) != 1 || len(l.Apps[0].Calls) != 3 {
		t.Errorf("a good row: %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add("app,trigger,ms25,ms50,ms75,mb,minute:calls\n0,http,1,2,3,100,0:2 5:1")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, ":") > 3 || len(text) > 200 {
			return // many calls take long to draw
		}
		l, err := readTrace(strings.NewReader(text), 1, time.Hour)
		if err != nil {
			return
		}
		for _, a := range l.Apps {
			for i, c := range a.Calls {
				if c.At < 0 || c.At >= l.Span || i > 0 && c.At < a.Calls[i-1].At || int(c.Function) >= len(a.Functions) {
					t.Fatalf("call %+v", c)
				}
			}
		}
	})
}
