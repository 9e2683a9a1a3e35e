package runtimes

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hearth/faas"
)

func TestTextReport(t *testing.T) {
	r := &faas.Report{RequestID: "id", Duration: 1234567 * time.Nanosecond, Billed: 1234567 * time.Nanosecond, MemoryMB: 128,
		MaxMemory: 30<<20 - 5, Start: faas.StartWarm, Status: "success"}
	want := "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t"
	if got := textReport(r); got != want {
		t.Errorf("warm\n%q, want\n%q", got, want)
	}
	r.Start, r.Init = faas.StartCold, 90120*time.Microsecond
	r.Timeline = faas.Timeline{Queue: time.Millisecond, Sandbox: 2 * time.Millisecond, Runtime: 3 * time.Millisecond, Code: 4 * time.Millisecond}
	want += "Init Duration: 90.12 ms\tQueue: 1.00 ms\tSandbox: 2.00 ms\tRuntime: 3.00 ms\tCode: 4.00 ms\t"
	if got := textReport(r); got != want {
		t.Errorf("cold\n%q, want\n%q", got, want)
	}
	r.Start, r.Status, r.ErrorType = faas.StartWarm, "oom", "Runtime.OutOfMemory\nEND RequestId: forged"
	if got := textReport(r); !strings.HasSuffix(got, "Status: error\tError Type: Runtime.OutOfMemory_END RequestId: forged\t") {
		t.Errorf("error %q", got)
	}
}

func TestJSONLogs(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for _, v := range []*faas.Version{
			b.version("nodejs20.x", "index.handler", js("exports.handler = async () => { console.debug('hidden'); console.log({k: 1}); console.error('e', new TypeError('t')) }")),
			b.version("python3.11", "index.handler", py("import logging\ndef handler(e, c):\n  logging.debug('hidden')\n  logging.info({'k': 1}, extra={'mine': 2})\n  try: 1/0\n  except Exception: logging.exception('e')")),
		} {
			v.Config.Logging = faas.Logging{Format: "JSON", AppLevel: "INFO", SystemLevel: "INFO", Group: "g"}
			_, tail, err := b.start(v).ready().invoke("{}")
			if err != nil {
				t.Fatal(err)
			}
			kinds := map[string]int{}
			for line := range strings.Lines(tail) {
				var record struct{ Type, Level, RequestID, ErrorType string }
				if err := json.Unmarshal([]byte(line), &record); err != nil {
					t.Errorf("not JSON: %q", line)
				}
				kinds[record.Type+record.Level+record.ErrorType]++
				if record.Level != "" && record.RequestID != "request-1" {
					t.Errorf("no request id: %s", line)
				}
			}
			if strings.Contains(tail, "hidden") || kinds["platform.start"] != 1 || kinds["platform.report"] != 1 || kinds["INFO"] != 1 ||
				kinds["ERRORTypeError"]+kinds["ERRORZeroDivisionError"] != 1 {
				t.Errorf("%s: %v\n%s", v.Config.Runtime, kinds, tail)
			}
		}
	})
}
