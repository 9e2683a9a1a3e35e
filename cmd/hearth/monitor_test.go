package main

import "testing"

func TestMonitorSetting(t *testing.T) {
	for _, test := range []struct {
		args           []string
		value, changed string
		again          bool
	}{
		{[]string{"serve", "--auth", "off"}, "", awake, true},
		{[]string{"up"}, "gctrace=1", "gctrace=1," + awake, true},
		{[]string{"serve"}, awake, "", false},
		{[]string{"serve"}, "gctrace=1," + awake, "gctrace=1", false},
		{[]string{"serve"}, "schedtrace=1000", "schedtrace=1000", false},
		{[]string{"invoke", "serve"}, "gctrace=1", "gctrace=1", false},
		{nil, "", "", false},
	} {
		changed, again := monitorSetting(test.args, test.value)
		if changed != test.changed || again != test.again {
			t.Errorf("monitorSetting(%q, %q) = %q, %v; want %q, %v", test.args, test.value, changed, again, test.changed, test.again)
		}
	}
}
