package hostile

import (
	"fmt"
	"io/fs"
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
	check func(t *testing.T, s *stage, in *invoked)
}

func timedOut(seconds int) string {
	return fmt.Sprintf(`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ID Error: Task timed out after %d.00 seconds"}`, seconds)
}

func exited(kind, reason string) string {
	return `{"errorType":"` + kind + `","errorMessage":"RequestId: ID Error: ` + reason + `"}`
}

// floodBytes is what the flooder tries to write; floodLimit is what may have
// become of it on the disk within its three seconds: 1 MB/s and a burst of 8 MB.
var (
	floodBytes = 64 << 20
	floodLimit = int64(24 << 20)
)

var rows = []row{
	{name: "forks for ever", event: do("forkForever"), settings: settings{"timeoutSeconds": 2}, want: timedOut(2), error: true, tree: 200},
	{name: "spins", event: do("spin"), settings: settings{"timeoutSeconds": 1}, want: timedOut(1), error: true, tree: 2},
	{name: "fills the memory", event: do("fillMemory"), settings: settings{"memoryMB": 256}, error: true,
		want: exited("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")},
	{name: "fills tmp", event: do("fillTmp"), check: checkFullTmp},
	{name: "floods the log", settings: settings{"timeoutSeconds": 3}, want: timedOut(3), error: true, tree: 2, check: checkLogs},
	{name: "closes its socket", event: do("closeSocket"), error: true, want: exited("Runtime.ExitError", "Runtime closed its connection")},
	{name: "closes its output", event: do("closeOutput"), want: `{"closed":[1,2]}`},
	{name: "writes rubbish to its socket", event: do("rubbishOnSocket"), error: true,
		want: exited("Runtime.ExitError", "Runtime sent an invalid message")},
	{name: "returns 7 MB", event: do("large"), error: true, want: `{"errorType":"Function.ResponseSizeTooLarge",` +
		`"errorMessage":"Response payload size (7340034 bytes) exceeded maximum allowed payload size (6291556 bytes)."}`},
	{name: "returns what is no JSON", event: do("notJSON"), error: true, check: checkNotJSON},
	{name: "exits", event: do("exit"), error: true, want: exited("Runtime.ExitError", "Runtime exited with error: exit status 7")},
	{name: "hangs with a tree that ignores SIGTERM", event: do("hang"), settings: settings{"timeoutSeconds": 1},
		want: timedOut(1), error: true, tree: 6},
	{name: "ignores SIGTERM", event: do("ignoreTerm"), want: `{"ignores":"SIGTERM"}`},
	{name: "spawns a daemon", event: do("daemon"), want: `{"count":1}`, check: checkAfterDaemon},
}

// TestFunctions: what each bad function's caller gets, in each language.
func TestFunctions(t *testing.T) {
	if long() {
		floodBytes = 1 << 30
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
	const name = "bad"
	if r.event == nil {
		r.event = do("floodLogs", "bytes", floodBytes)
	}
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
			r.check(t, s, in)
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

func checkFullTmp(t *testing.T, _ *stage, in *invoked) {
	full := result[struct {
		Error     string
		Megabytes int
	}](t, in)
	// 512 MB, less what the file system needs for itself.
	if full.Error != "ENOSPC" || full.Megabytes < 450 || full.Megabytes > 512 {
		t.Errorf("%+v, want 450 to 512 MB and then ENOSPC", full)
	}
}

// checkLogs: the flood cost the flooder its time and the disk little.
func checkLogs(t *testing.T, s *stage, _ *invoked) {
	var size int64
	err := filepath.WalkDir(filepath.Join(s.Data, "logs"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > floodLimit {
		t.Errorf("%d bytes of logs, %v", size, err)
	}
}

func checkNotJSON(t *testing.T, _ *stage, in *invoked) {
	said := strings.Contains(string(in.Payload), "serialize a BigInt") ||
		strings.Contains(string(in.Payload), "Unable to marshal response: Object of type complex is not JSON serializable")
	if in.Report.ErrorType != "Runtime.MarshalError" || !said {
		t.Errorf("answered %s", in.Payload)
	}
}

// checkAfterDaemon: the instance serves on beside its daemon.
func checkAfterDaemon(t *testing.T, s *stage, in *invoked) {
	again, most, left := s.watched(t, "bad", do("daemon", "ms", 200))
	if again.Report.Instance != in.Report.Instance || !sameJSON(again.Payload, `{"count":2}`) {
		t.Errorf("the second call answered %s in %s, the first was in %s", again.Payload, again.Report.Instance, in.Report.Instance)
	}
	if most == 0 && len(left) == 0 {
		t.Error("no daemon lives")
	}
}
