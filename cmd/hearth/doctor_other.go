//go:build !linux

package main

import "runtime"

func hostFindings(string) []finding {
	return []finding{{
		Area: "host", Name: "process isolation", Detail: "this system is " + runtime.GOOS,
		Fix: "functions run without isolation here: --isolation none; production needs Linux",
	}}
}
