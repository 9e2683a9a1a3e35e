package runtimes

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hearth/faas"
	"hearth/logs"
)

func TestTextReport(t *testing.T) {
	r := &faas.Report{RequestID: "id", Duration: 1234567 * time.Nanosecond, Billed: 1234567 * time.Nanosecond, MemoryMB: 128,
		MaxMemory: 30<<20 - 5, Start: faas.StartWarm, Status: "success", Timeline: faas.Timeline{Queue: 2 * time.Microsecond}}
	want := "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t"
	if got := textReport(r); got != want {
		t.Errorf("warm\n%q, want\n%q", got, want)
	}
	r.Start, r.Init, r.Cold = faas.StartCold, 90120*time.Microsecond, faas.ColdScaleOut
	r.Timeline = faas.Timeline{Queue: time.Millisecond, Sandbox: 2 * time.Millisecond, Runtime: 3 * time.Millisecond, Code: 4 * time.Millisecond}
	want += "Init Duration: 90.12 ms\tQueue: 1.00 ms\tSandbox: 2.00 ms\tRuntime: 3.00 ms\tCode: 4.00 ms\tCold: scale-out\t"
	if got := textReport(r); got != want {
		t.Errorf("cold\n%q, want\n%q", got, want)
	}
	r.Start, r.Timeline.Settle = faas.StartWarm, 5*time.Millisecond
	if got := textReport(r); !strings.HasSuffix(got, "Max Memory Used: 30 MB\tQueue: 1.00 ms\tSettle: 5.00 ms\t") {
		t.Errorf("a warm one that waited %q", got)
	}
	r.Timeline = faas.Timeline{Thaw: time.Microsecond} // told however short it is
	if got := textReport(r); !strings.HasSuffix(got, "Max Memory Used: 30 MB\tThaw: 0.01 ms\t") {
		t.Errorf("a warm one that was frozen %q", got)
	}
	r.Start, r.Status, r.ErrorType = faas.StartWarm, "oom", "Runtime.OutOfMemory\nEND RequestId: forged"
	if got := textReport(r); !strings.HasSuffix(got, "Status: error\tError Type: Runtime.OutOfMemory_END RequestId: forged\t") {
		t.Errorf("error %q", got)
	}
}

// What the REPORT line tells in either format can be read again by package logs.
func TestReportsAreReadAgain(t *testing.T) {
	want := faas.Report{RequestID: "id", Version: faas.VersionID{Number: "3"}, Instance: "i", Start: faas.StartCold, Cold: faas.ColdIdle,
		Duration: 1230 * time.Microsecond, Billed: 92 * time.Millisecond, Init: 90120 * time.Microsecond, MemoryMB: 128, MaxMemory: 30 << 20,
		Status: "timeout", ErrorType: "Sandbox.Timedout",
		Timeline: faas.Timeline{Queue: time.Millisecond, Sandbox: 2 * time.Millisecond, Runtime: 3 * time.Millisecond, Code: 4 * time.Millisecond,
			Init: 90120 * time.Microsecond, Handler: 1230 * time.Microsecond, Settle: 5 * time.Millisecond}}
	cold, warm := want, want
	warm.Start, warm.Cold, warm.Init, warm.Status, warm.ErrorType = faas.StartWarm, "", 0, "success", ""
	warm.Timeline = faas.Timeline{Handler: warm.Duration, Queue: time.Second, Thaw: 100 * time.Microsecond}
	j := newJournal(nil, &faas.Version{Config: faas.Config{Logging: faas.Logging{Format: "JSON"}}})
	for _, want := range []faas.Report{cold, warm} {
		for format, text := range map[string]string{"text": textReport(&want), "JSON": j.jsonReport(&want)} {
			got, ok := logs.ParseReport(logs.Line{Version: "3", Instance: "i", RequestID: "id", Text: text})
			got.Began = want.Began
			if format == "text" {
				got.ErrorType = want.ErrorType // a timeout's line has none
			}
			if !ok || got != want {
				t.Errorf("%s: %s\nread as %+v,\nwant    %+v", format, text, got, want)
			}
		}
	}
}

// platformLines is a LogStream that keeps the lines of the platform.
type platformLines struct{ lines []string }

func (r *platformLines) Begin(_ string, line string)      { r.add(line) }
func (r *platformLines) Settle(_ string, lines ...string) { r.add(lines...) }
func (r *platformLines) Tail(string) []byte               { return nil }
func (r *platformLines) Platform(_ string, line string)   { r.add(line) }
func (r *platformLines) Close() error                     { return nil }
func (r *platformLines) add(lines ...string) {
	for _, line := range lines {
		if line != "" {
			r.lines = append(r.lines, line)
		}
	}
}

// The system log's level decides which of the platform's lines there are, as Lambda's
// table of levels has it, and all of them are JSON.
func TestJSONSystemLevels(t *testing.T) {
	for _, test := range []struct {
		level, status, want string
	}{
		{"DEBUG", "success", "platform.start platform.runtimeDone platform.report"},
		{"INFO", "success", "platform.start platform.report"},
		{"WARN", "success", ""},
		{"INFO", "error", "platform.start platform.runtimeDone platform.report"},
		{"WARN", "exit", "ERROR platform.runtimeDone platform.report"},
	} {
		r := &platformLines{}
		j := newJournal(r, &faas.Version{Config: faas.Config{Logging: faas.Logging{Format: "JSON", SystemLevel: test.level}}})
		j.begin("id")
		if test.status == "exit" {
			j.failed("id", failureDocument("id", "Runtime.ExitError", "Runtime exited with error: exit status 3"))
		}
		j.settle(&faas.Report{RequestID: "id", Status: test.status, ErrorType: "Runtime.ExitError", ResponseBytes: 7}, false)
		var kinds []string
		for _, line := range r.lines {
			var record struct {
				Type, Level, Message string
				Record               struct {
					Status  string
					Metrics struct{ ProducedBytes int }
				}
			}
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Errorf("not JSON: %q", line)
			}
			kinds = append(kinds, record.Type+record.Level)
			if record.Type == "platform.runtimeDone" && (record.Record.Metrics.ProducedBytes != 7 ||
				record.Record.Status != map[string]string{"success": "success", "error": "error", "exit": "failure"}[test.status]) {
				t.Errorf("%s", line)
			}
			if record.Level != "" && record.Message != "RequestId: id Error: Runtime exited with error: exit status 3 Runtime.ExitError" {
				t.Errorf("%s", line)
			}
		}
		if got := strings.Join(kinds, " "); got != test.want {
			t.Errorf("%s at %s: %s, want %s", test.status, test.level, got, test.want)
		}
	}
}

func TestInitReport(t *testing.T) {
	for format, want := range map[string]string{
		"Text": "INIT_REPORT Init Duration: 1.50 ms\tPhase: init\tStatus: error\tError Type: A\t",
		"JSON": `"type":"platform.initReport","record":{"errorType":"A","initializationType":"on-demand","metrics":{"durationMs":1.5},"phase":"init","status":"error"}}`,
	} {
		r := &platformLines{}
		newJournal(r, &faas.Version{Config: faas.Config{Logging: faas.Logging{Format: format}}}).initFailed(1500*time.Microsecond, "error", "A")
		if len(r.lines) != 1 || !strings.HasSuffix(r.lines[0], want) {
			t.Errorf("%s: %q, want %q", format, r.lines, want)
		}
	}
}

func TestJSONLogs(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		for _, v := range []*faas.Version{
			b.version(hostNode(t), "index.handler", js("exports.handler = async () => { console.debug('hidden'); console.log({k: 1}); console.error('e', new TypeError('t')) }")),
			b.version("python3.11", "index.handler", py("import logging\ndef handler(e, c):\n  logging.debug('hidden')\n  logging.log(25, {'k': 1}, extra={'mine': 2})\n  try: 1/0\n  except Exception: logging.exception('e')")),
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
