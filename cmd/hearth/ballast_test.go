package main

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
)

// The ballast delays collections and takes no memory.
func TestBallast(t *testing.T) {
	defer func() { ballast = nil }()
	before := resident(t)
	takeBallast()
	runtime.GC()
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	if got := goal[0].Value.Uint64(); got < 2*ballastBytes {
		t.Errorf("the next collection is at %d bytes, want at least %d", got, 2*ballastBytes)
	}
	if grown := resident(t) - before; grown > ballastBytes/2 {
		t.Errorf("it takes %d bytes of memory", grown)
	}
	runtime.KeepAlive(ballast)
}

// resident is the memory of this process, in bytes.
func resident(t *testing.T) int {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
