package logs

import (
	"testing"
	"time"

	"hearth/faas"
)

const reportLine = "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 92 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t" +
	"Init Duration: 90.12 ms\tQueue: 1.00 ms\tSandbox: 2.00 ms\tRuntime: 3.00 ms\tCode: 4.00 ms\tCold: idle\t"

func TestParseReport(t *testing.T) {
	wrote := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r, ok := ParseReport(Line{Time: wrote, Version: "1", Instance: "i", RequestID: "id", Text: reportLine})
	if !ok || r.Cold != faas.ColdIdle || r.Start != faas.StartCold || r.Timeline.Code != 4*time.Millisecond || r.MaxMemory != 30<<20 {
		t.Errorf("%v %+v", ok, r)
	}
	if want := wrote.Add(-101350 * time.Microsecond); !r.Began.Equal(want) {
		t.Errorf("it began at %v, want %v", r.Began, want)
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"another request's":  "REPORT RequestId: other\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t",
		"a part is missing":  "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t",
		"no unit":            "REPORT RequestId: id\tDuration: 1.23\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t",
		"negative":           "REPORT RequestId: id\tDuration: -1 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t",
		"not a number":       "REPORT RequestId: id\tDuration: NaN ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t",
		"JSON of the caller": `{"type":"platform.report","requestId":"id"}`,
		"another's JSON":     `{"type":"platform.report","record":{"requestId":"x","metrics":{"durationMs":1,"billedDurationMs":1}}}`,
	} {
		if r, ok := ParseReport(Line{RequestID: "id", Text: text}); ok {
			t.Errorf("%s is read as %+v", name, r)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add(reportLine)
	f.Add(`{"type":"platform.report","record":{"requestId":"id","metrics":{"durationMs":1.5,"billedDurationMs":2,"memorySizeMB":128},"timeline":{"queueMs":1}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := ParseReport(Line{RequestID: "id", Text: text})
		if !ok && r != (faas.Report{}) {
			t.Errorf("no report, but %+v", r)
		}
		p := r.Timeline
		for _, d := range []time.Duration{r.Duration, r.Billed, r.Init, p.Queue, p.Thaw, p.Sandbox, p.Runtime, p.Code, p.Init, p.Handler, p.Settle} {
			if d < 0 || d > longest {
				t.Errorf("a part takes %v", d)
			}
		}
		if r.MemoryMB < 0 || r.MaxMemory < 0 {
			t.Errorf("memory is %d MB, %d", r.MemoryMB, r.MaxMemory)
		}
	})
}
