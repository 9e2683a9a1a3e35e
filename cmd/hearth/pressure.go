package main

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// memoryPressure returns what tells how much of the machine's memory is in use,
// 0..1; nil where the system does not say.
func memoryPressure() func() float64 {
	if _, ok := readMeminfo(); !ok {
		return nil
	}
	return func() float64 {
		used, _ := readMeminfo()
		return used
	}
}

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
	values := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if v, err := strconv.ParseUint(fields[0], 10, 63); err == nil {
				values[name] = float64(v)
			}
		}
	}
	total, available := values["MemTotal"], values["MemAvailable"]
	if _, known := values["MemAvailable"]; !known || total == 0 {
		return 0, false
	}
	return min(1, max(0, 1-available/total)), true
}
