package main

import (
	"math"
	"testing"
)

func TestParseMeminfo(t *testing.T) {
	for _, tt := range []struct {
		text string
		used float64
		ok   bool
	}{
		{"MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    250 kB\n", .75, true},
		{"MemTotal: 1000 kB\nMemAvailable: 2000 kB\n", 0, true},
		{"MemTotal: 1000 kB\nMemFree: 10 kB\n", 0, false},
		{"MemAvailable: 10 kB\n", 0, false},
		{"MemTotal: many kB\nMemAvailable: 1 kB\n", 0, false},
		{"", 0, false},
	} {
		if used, ok := parseMeminfo([]byte(tt.text)); ok != tt.ok || math.Abs(used-tt.used) > 1e-9 {
			t.Errorf("%q: %v, %v; want %v, %v", tt.text, used, ok, tt.used, tt.ok)
		}
	}
}

func FuzzMeminfo(f *testing.F) {
	f.Add([]byte("MemTotal: 1000 kB\nMemAvailable: 250 kB\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if used, _ := parseMeminfo(text); !(used >= 0 && used <= 1) {
			t.Errorf("%v in use", used)
		}
	})
}
