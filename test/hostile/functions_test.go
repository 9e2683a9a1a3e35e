package hostile

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/test/e2e"
)

// row is one thing that a bad function does, and what its caller gets.
type row struct {
	name     string
	event    map[string]any
	settings settings
	// want is the document, in which ID stands for the request's id. A row whose
	// answer is not the same in every language has check instead.
	want  string
	error bool // the answer is a function error
	// tree is how many processes the sandbox has at some moment of the call, at
	// least; where it is set none of them lives at the moment of the answer.
	tree  int
	check func(t *testing.T, s *stage, name string, in *invoked)
}

func timedOut(seconds int) string {
	return fmt.Sprintf(`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ID Error: Task timed out after %d.00 seconds"}`, seconds)
}

func exited(kind, reason string) string {
	return `{"errorType":"` + kind + `","errorMessage":"RequestId: ID Error: ` + reason + `"}`
}

// flood is what the flooder tries to write, a gigabyte. floodBurst is what the log
// takes at once; it takes 1 MB a second after that, and the function has three.
const (
	flood      = 1 << 30
	floodBurst = 8 << 20
)

var rows = []row{
	{name: "forks for ever", event: do("forkForever"), settings: settings{"timeoutSeconds": 4}, want: timedOut(4), error: true, tree: 100},
	{name: "spins", event: do("spin"), settings: settings{"timeoutSeconds": 1}, want: timedOut(1), error: true, tree: 2},
	{name: "fills the memory", event: do("fillMemory"), settings: settings{"memoryMB": 256}, error: true,
		want: exited("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")},
	{name: "has a child that fills the memory", event: do("childFillsMemory"), settings: settings{"memoryMB": 256}, error: true,
		want: exited("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")},
	{name: "opens files for ever", event: do("openForever"), check: checkOpenFiles},
	{name: "fills tmp", event: do("fillTmp"), check: checkFullTmp},
	{name: "floods the log", event: do("floodLogs", "bytes", flood), settings: settings{"timeoutSeconds": 3}, want: timedOut(3), error: true, tree: 2, check: checkLogs},
	{name: "writes a line without an end", event: do("endlessLine"), want: `{"written":4}`},
	{name: "closes its socket", event: do("closeSocket"), error: true, want: exited("Runtime.ExitError", "Runtime closed its connection")},
	{name: "closes its output", event: do("closeOutput"), want: `{"closed":[1,2]}`},
	{name: "writes rubbish to its socket", event: do("rubbishOnSocket"), error: true,
		want: exited("Runtime.ExitError", "Runtime sent an invalid message")},
	{name: "answers for another request", event: do("answerForAnother"), error: true,
		want: exited("Runtime.ExitError", "Runtime sent an invalid message")},
	{name: "announces 4 GB", event: do("announceTooMuch"), settings: settings{"timeoutSeconds": 1}, want: timedOut(1), error: true, tree: 2},
	{name: "returns 7 MB", event: do("large"), error: true, want: `{"errorType":"Function.ResponseSizeTooLarge",` +
		`"errorMessage":"Response payload size (7340034 bytes) exceeded maximum allowed payload size (6291556 bytes)."}`},
	{name: "returns what is no JSON", event: do("notJSON"), error: true, check: checkNotJSON},
	{name: "kills whatever it can", event: do("killAll"), error: true,
		want: exited("Runtime.ExitError", "Runtime exited with error: signal: killed")},
	{name: "stops itself", event: do("stop"), settings: settings{"timeoutSeconds": 1}, want: timedOut(1), error: true, tree: 2},
	{name: "exits", event: do("exit"), error: true, want: exited("Runtime.ExitError", "Runtime exited with error: exit status 7")},
	{name: "hangs with a tree that ignores SIGTERM", event: do("hang"), settings: settings{"timeoutSeconds": 3},
		want: timedOut(3), error: true, tree: 6},
	{name: "ignores SIGTERM", event: do("ignoreTerm"), want: `{"ignores":"SIGTERM"}`},
	{name: "spawns a daemon", event: do("daemon"), want: `{"count":1}`, check: checkAfterDaemon},
}

// longRows are those that take long for what they show: the error is logged too,
// and a function pays for a large log with its time.
var longRows = []row{
	{name: "throws 7 MB", event: do("throwLarge"), settings: settings{"timeoutSeconds": 120}, error: true, check: checkTooLarge},
}

// TestFunctions: what each bad function's caller gets, in each language.
func TestFunctions(t *testing.T) {
	if long() {
		rows = append(rows, longRows...)
	}
	s := newStage(t)
	for _, l := range s.languages {
		for _, r := range rows {
			t.Run(l.name+"/"+r.name, func(t *testing.T) { s.play(t, l, r) })
		}
	}
	for _, n := range s.neighbours {
		answers, worst, _ := n.state()
		t.Logf("%s: %d answers, the slowest after %v", n.name, answers, worst)
	}
}

// play runs a row in a function of its own, invokes that twice where it survives,
// and deletes it.
func (s *stage) play(t *testing.T, l language, r row) {
	name := l.name + "-" + strings.ReplaceAll(r.name, " ", "-")
	s.undisturbed(t, func() {
		s.deploy(t, name, l.settings.with(r.settings))
		defer s.remove(t, name)
		in, most, left := s.watched(t, name, r.event)
		if r.tree > 0 && len(left) > 0 {
			t.Errorf("alive when the answer came: %v", left)
		}
		if most < r.tree {
			t.Errorf("saw a tree of %d processes, want %d", most, r.tree)
		}
		checkAnswer(t, in, r)
		if r.check != nil {
			r.check(t, s, name, in)
		}
		// Whatever it did: the next call of the same function is served.
		result[any](t, s.mustInvoke(t, name, do("count")))
	})
}

// watched invokes a function, counts the processes that this adds meanwhile, and
// looks for them at the moment of the answer.
func (s *stage) watched(t *testing.T, name string, event any) (in *invoked, most int, left []e2e.Process) {
	t.Helper()
	before := s.Processes()
	answer := make(chan error, 1)
	go func() {
		var err error
		in, err = s.invoke(name, event)
		left = s.since(before)
		answer <- err
	}()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			most = max(most, len(s.since(before)))
		case err := <-answer:
			if err != nil {
				t.Fatal(err)
			}
			return in, most, left
		}
	}
}

func checkAnswer(t *testing.T, in *invoked, r row) {
	t.Helper()
	if (in.FunctionError != "") != r.error {
		t.Errorf("function error %q: %s\n%s", in.FunctionError, in.Payload, in.LogTail)
	}
	if r.want != "" && !sameJSON(in.Payload, document(in, r.want)) {
		t.Errorf("answered %.500s\nwant %s", in.Payload, document(in, r.want))
	}
}

func checkFullTmp(t *testing.T, _ *stage, _ string, in *invoked) {
	full := result[struct {
		Error     string
		Megabytes int
	}](t, in)
	// 512 MB, less what the file system needs for itself.
	if full.Error != "ENOSPC" || full.Megabytes < 450 || full.Megabytes > 512 {
		t.Errorf("%+v, want 450 to 512 MB and then ENOSPC", full)
	}
}

func checkOpenFiles(t *testing.T, _ *stage, _ string, in *invoked) {
	opened := result[struct {
		Error string
		Files int
	}](t, in)
	if opened.Error != "EMFILE" || opened.Files < 900 || opened.Files > 1024 {
		t.Errorf("%+v, want an end at 1,024", opened)
	}
}

func checkTooLarge(t *testing.T, _ *stage, _ string, in *invoked) {
	if in.Report.ErrorType != "Function.ResponseSizeTooLarge" || len(in.Payload) > 1<<10 {
		t.Errorf("answered %.500s", in.Payload)
	}
}

// checkLogs: the flood cost the flooder its time and the disk little.
func checkLogs(t *testing.T, s *stage, name string, _ *invoked) {
	files, err := filepath.Glob(filepath.Join(s.Data, "logs", "*", "*", "*", name, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, file := range files {
		if info, err := os.Stat(file); err == nil { // an old segment may be dropped meanwhile
			size += info.Size()
		}
	}
	if size < floodBurst/2 || size > 3*floodBurst {
		t.Errorf("%d bytes of log in %v", size, files)
	}
}

func checkNotJSON(t *testing.T, _ *stage, _ string, in *invoked) {
	said := strings.Contains(string(in.Payload), "serialize a BigInt") ||
		strings.Contains(string(in.Payload), "Unable to marshal response: Object of type complex is not JSON serializable")
	if in.Report.ErrorType != "Runtime.MarshalError" || !said {
		t.Errorf("answered %s", in.Payload)
	}
}

// checkAfterDaemon: the instance serves on beside its daemon.
func checkAfterDaemon(t *testing.T, s *stage, name string, in *invoked) {
	before := s.Processes()
	again := s.mustInvoke(t, name, do("daemon"))
	if again.Report.Instance != in.Report.Instance || !sameJSON(again.Payload, `{"count":2}`) {
		t.Errorf("the second call answered %s in %s, the first was in %s", again.Payload, again.Report.Instance, in.Report.Instance)
	}
	// The answer comes while the daemon is still being forked: one look may fall
	// between the end of its parent and its own beginning.
	eventually(t, "a daemon lives", func() bool { return len(s.since(before)) > 0 })
}

// TestInit: what goes wrong before the handler.
func TestInit(t *testing.T) {
	s := newStage(t)
	endless := map[string]map[string]string{
		"node":   {"index.mjs": "await new Promise((resolve) => setTimeout(resolve, 3600000));\nexport const handler = async () => 1;\n"},
		"python": {"app.py": "import time\ntime.sleep(3600)\ndef handler(event, context):\n    return 1\n"},
	}
	exits := map[string]map[string]string{
		"node":   {"index.mjs": "process.exit(5);\n"},
		"python": {"app.py": "import os\nos._exit(5)\n"},
	}
	for _, l := range s.languages {
		t.Run(l.name+"/never ends", func(t *testing.T) {
			s.undisturbed(t, func() {
				s.deploy(t, "endless", l.settings.with(settings{"zip": pack(t, endless[l.name]), "initTimeoutSeconds": 1, "timeoutSeconds": 1}))
				defer s.remove(t, "endless")
				in, most, left := s.watched(t, "endless", nil)
				if want := document(in, timedOut(1)); !sameJSON(in.Payload, want) || most == 0 || len(left) > 0 {
					t.Errorf("answered %s with %v alive of %d", in.Payload, left, most)
				}
			})
		})
		t.Run(l.name+"/exits", func(t *testing.T) {
			s.undisturbed(t, func() {
				s.deploy(t, "exits", l.settings.with(settings{"zip": pack(t, exits[l.name])}))
				defer s.remove(t, "exits")
				for range 3 {
					in := s.mustInvoke(t, "exits", nil)
					if want := document(in, exited("Runtime.ExitError", "Runtime exited with error: exit status 5")); !sameJSON(in.Payload, want) {
						t.Errorf("answered %s", in.Payload)
					}
				}
			})
		})
	}
}

// TestLambdaAnswers: a function error as the Lambda API sends it, and a caller who
// hangs up.
func TestLambdaAnswers(t *testing.T) {
	s := newStage(t)
	for _, l := range s.languages {
		t.Run(l.name, func(t *testing.T) {
			s.undisturbed(t, func() {
				s.deploy(t, "erring", l.settings)
				defer s.remove(t, "erring")
				r := s.must(t, http.MethodPost, functionsPath+"/erring/invocations", do("exit"))
				want := strings.ReplaceAll(exited("Runtime.ExitError", "Runtime exited with error: exit status 7"), "ID", r.requestID)
				if r.status != http.StatusOK || r.functionError != "Unhandled" || string(r.body) != want {
					t.Errorf("answered %v with function error %q, want %s", r, r.functionError, want)
				}
				s.hangUp(t, "erring")
			})
		})
	}
}

// hangUp calls a function and goes away: the call runs to its end, and the
// instance serves on.
func (s *stage) hangUp(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if r, err := s.callAs(ctx, http.MethodPost, functionsPath+"/"+name+"/invocations", do("slow", "ms", 1500)); err == nil {
			t.Errorf("a caller who hung up got %v", r)
		}
	}()
	eventually(t, "the call is in flight", func() bool {
		busy, _, _ := s.instances(t, name)
		return busy == 1
	})
	cancel()
	<-gone
	eventually(t, "the call has ended", func() bool {
		_, idle, _ := s.instances(t, name)
		return idle == 1
	})
	if in := s.mustInvoke(t, name, do("count")); !sameJSON(in.Payload, `{"count":2}`) {
		t.Errorf("after a call whose caller hung up the function answered %s", in.Payload)
	}
}
