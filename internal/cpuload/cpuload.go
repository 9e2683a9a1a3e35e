// Package cpuload tells whether the CPUs of this machine have had time to spare.
//
// It must not know what runs on them.
package cpuload

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// interval is the least time that is judged: the kernel counts in ticks of 10 ms.
	interval = 50 * time.Millisecond
	// stale is how old the last look may be at most to begin a judgement from.
	stale = time.Second
	// spare is the part of the CPU time that is idle where there is some to spare.
	spare = 0.1
)

// Meter looks at /proc/stat when it is asked. Safe for concurrent use.
type Meter struct {
	mu     sync.Mutex
	at     time.Time
	last   times
	judged bool
}

// Saturated reports whether all CPUs have had next to nothing to spare since it was
// asked before, a second ago at most; false where that cannot be known.
func (m *Meter) Saturated() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	since := now.Sub(m.at)
	if since < interval {
		return m.judged
	}
	text, err := os.ReadFile("/proc/stat")
	read, ok := parse(string(text))
	if err != nil || !ok {
		return false
	}
	m.judged = since <= stale && saturated(m.last, read)
	m.at, m.last = now, read
	return m.judged
}

// times is CPU time since the machine was started, in ticks of all CPUs together.
type times struct{ idle, all uint64 }

// saturated says whether next to nothing of the time between two looks was idle.
func saturated(from, to times) bool {
	if to.all <= from.all || to.idle < from.idle {
		return false
	}
	return float64(to.idle-from.idle) < spare*float64(to.all-from.all)
}

// parse reads the first line of /proc/stat: cpu user nice system idle iowait irq
// softirq steal. What follows is part of user and nice already.
func parse(text string) (t times, ok bool) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 5 || fields[0] != "cpu" {
		return times{}, false
	}
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(field, 10, 60)
		if err != nil {
			return times{}, false
		}
		t.all += n
		if i == 3 || i == 4 {
			t.idle += n
		}
	}
	return t, true
}
