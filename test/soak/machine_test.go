package soak

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// footprint is what the server takes of the machine, as /proc tells.
type footprint struct {
	files   map[string]int // open descriptors by kind
	threads int
	rss     int // in kB
}

// kind is what a descriptor is of, without what tells two of a kind apart.
var kind = regexp.MustCompile(`\[\d+\]|[0-9a-f]{6,}|\d+`)

func measure(pid int) (footprint, error) {
	p := footprint{files: map[string]int{}}
	dir := fmt.Sprintf("/proc/%d", pid)
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return p, err
	}
	for _, fd := range fds {
		if target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err == nil {
			p.files[kind.ReplaceAllString(target, "#")]++
		}
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return p, err
	}
	p.threads, p.rss = field(status, "Threads:"), field(status, "VmRSS:")
	return p, nil
}

func field(status []byte, name string) int {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// grown names the kinds of descriptors of which there are more than slack above
// what there were.
func (p footprint) grown(before footprint, slack int) []string {
	var grown []string
	for kind, n := range p.files {
		if was := before.files[kind]; n > was+slack {
			grown = append(grown, fmt.Sprintf("%s: %d, were %d", kind, n, was))
		}
	}
	return grown
}

func (p footprint) count() (all int) {
	for _, n := range p.files {
		all += n
	}
	return all
}

func (p footprint) String() string {
	return fmt.Sprintf("%d files, %d threads, %d MB", p.count(), p.threads, p.rss>>10)
}

// watchedLog keeps the lines of the server's log that must not be there, with what
// follows them.
type watchedLog struct {
	mu   sync.Mutex
	rest []byte // of a line that has not ended
	bad  bytes.Buffer
	more int // lines to keep after a bad one
}

// after is how many lines after a bad one are kept: a race's two stacks.
const after = 60

func (w *watchedLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		switch {
		case bytes.Contains(line, []byte("DATA RACE")), bytes.Contains(line, []byte("level=ERROR")), bytes.HasPrefix(line, []byte("panic")), bytes.HasPrefix(line, []byte("fatal")):
			w.more = after
		case bytes.Contains(line, []byte("level=")):
			w.more = 0
		}
		if w.more > 0 && w.bad.Len() < 64<<10 {
			w.more--
			w.bad.Write(line)
			w.bad.WriteByte('\n')
		}
		w.rest = append(w.rest[:0], rest...)
	}
}

func (w *watchedLog) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bad.String()
}
