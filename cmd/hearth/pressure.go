package main

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memoryPressure returns what tells how much of the machine's memory is in use,
// 0..1; nil where the system does not say.
func memoryPressure() func() float64 {
	if _, ok := readMeminfo(); !ok {
		return nil
	}
	var mu sync.Mutex
	var used float64
	var read time.Time
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(read) >= pressureAge {
			used, _ = readMeminfo()
			read = time.Now()
		}
		return used
	}
}

// pressureAge is how old an answer may be. The kernel looks at every block device for one,
// and whoever prepares instances asks before each.
const pressureAge = 100 * time.Millisecond

func readMeminfo() (used float64, ok bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	return parseMeminfo(text)
}

// parseMeminfo returns the share of memory that is not available without
// swapping.
func parseMeminfo(text []byte) (used float64, ok bool) {
	total, available := meminfoKB(text)
	if total == 0 || available < 0 {
		return 0, false
	}
	return min(1, max(0, 1-available/total)), true
}

// meminfoKB returns the machine's memory and what of it is available; the former is
// 0 and the latter -1 where the text does not say.
func meminfoKB(text []byte) (total, available float64) {
	available = -1
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		v, err := strconv.ParseUint(fields[0], 10, 63)
		switch {
		case err != nil:
		case name == "MemTotal":
			total = float64(v)
		case name == "MemAvailable":
			available = float64(v)
		}
	}
	return total, available
}
