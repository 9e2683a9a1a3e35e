package hostile

import (
	"path/filepath"
	"testing"

	"hearth/test/e2e"
)

// TestKilled: kill -9 of Hearth while functions run. What they run dies with it;
// after a restart what was deployed is there, and nothing else.
func TestKilled(t *testing.T) {
	data := t.TempDir()
	s := &stage{Server: e2e.Open(t, data)}
	defer func() { s.Stop(t) }() // and nothing is left of either
	s.api = api{s.URL}
	s.languages = languages(t, s.Server)
	var cut []chan error
	for _, l := range s.languages {
		s.deploy(t, "lasting-"+l.name, l.settings)
		s.mustInvoke(t, "lasting-"+l.name, do("count"))
		s.mustInvoke(t, "lasting-"+l.name, do("daemon"))
		for _, action := range []string{"hang", "spin", "forkForever"} {
			s.deploy(t, action+"-"+l.name, l.settings.with(settings{"timeoutSeconds": 600, "egress": "internet"}))
			ended := make(chan error, 1)
			go func() {
				_, err := s.invoke(action+"-"+l.name, do(action))
				ended <- err
			}()
			cut = append(cut, ended)
		}
	}
	// Deep in the middle of things: the forking ones have many processes.
	eventually(t, "all six run", func() bool { return len(s.Processes()) > 200 })
	running := s.Processes()
	s.Kill()
	for _, ended := range cut {
		if err := <-ended; err == nil {
			t.Error("a call was answered by a server that was killed")
		}
	}
	eventually(t, "everything that ran is dead", func() bool { return len(e2e.Living(running)) == 0 })

	s.Server = e2e.Open(t, data, "--cells", "off") // every process would be a leftover
	s.api = api{s.URL}
	if left := e2e.Living(s.Processes()); len(left) > 0 {
		t.Errorf("after the restart there are %v", left)
	}
	for _, l := range s.languages {
		in := s.mustInvoke(t, "lasting-"+l.name, do("count"))
		if !sameJSON(in.Payload, `{"count":1}`) || in.Report.Cold != "restart" {
			t.Errorf("after the restart %s answered %s (%s)", l.name, in.Payload, in.Report.Cold)
		}
		// And the bad ones are still what they were.
		in = s.mustInvoke(t, "hang-"+l.name, do("count"))
		result[any](t, in)
	}
	images, err := filepath.Glob(filepath.Join(data, "sandboxes", "*.img"))
	if err != nil || len(images) > 0 {
		t.Errorf("images with names: %v, %v", images, err)
	}
}
