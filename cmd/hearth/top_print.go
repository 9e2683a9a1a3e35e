package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"hearth/api/native"
	"hearth/faas"
	"hearth/metric"
)

// topLines are the lines of a table of what runs, cut to a screen; 0 is any size.
func topLines(top *native.Top, namespace string, width, height int) []string {
	lines := append(topHeader(top), topTable(top, namespace)...)
	if height > 0 && len(lines) > height {
		lines = append(lines[:height-1], fmt.Sprintf("… %d more lines", len(lines)-height+1))
	}
	for i, line := range lines {
		lines[i] = clip(line, width)
	}
	return lines
}

// clip cuts a line to so many characters; 0 is any number.
func clip(line string, width int) string {
	line = printable(line)
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

func topHeader(top *native.Top) []string {
	load := top.Load
	lines := []string{
		fmt.Sprintf("hearth top  %s  account %s  region %s", top.At.Local().Format(time.TimeOnly), top.Account, top.Region),
		fmt.Sprintf("calls      in flight %s  waiting %s", withMost(load.InFlight), withMost(load.Waiting)),
		fmt.Sprintf("instances  busy %s  idle %d  frozen %d  starting %s  draining %d  provisioned %d", withMost(load.Busy),
			load.Idle.Now, load.Frozen.Now, withMost(load.Starting), load.Draining.Now, load.Provisioned.Now),
	}
	if top.Limits != nil && top.Use != nil {
		lines = append(lines, fmt.Sprintf("quotas     memory %s  executions %s  starts %s",
			used(top.Use.MemoryMB, top.Limits.MemoryMB, faas.UnitMemoryMB),
			used(top.Use.Executions, top.Limits.Executions, ""), used(top.Use.Starts, top.Limits.Expansion, "")))
	}
	return append(lines, "")
}

// used is what is in use of a limit, where 0 is none.
func used(use, limit int, unit faas.Unit) string {
	of := "no limit"
	percent := ""
	if limit > 0 {
		of = strconv.Itoa(limit)
		percent = fmt.Sprintf(" (%d %%)", use*100/limit)
	}
	return strings.TrimSpace(fmt.Sprintf("%d of %s %s", use, of, unit)) + percent
}

// most is the maximum of this minute and the one before.
func most(l metric.Levels) int { return max(l.Minute, l.LastMinute) }

func withMost(l metric.Levels) string { return fmt.Sprintf("%d (max %d)", l.Now, most(l)) }

func topTable(top *native.Top, namespace string) []string {
	if len(top.Functions) == 0 {
		return []string{"nothing ran in this minute or the one before"}
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FUNCTION\tVERSION\tINFLIGHT\tMAX\tWAIT\tBUSY\tMAX\tIDLE\tFROZEN\tSTART\tPROV\tCOLD/m\tREFUSED/m\tP50")
	for _, f := range top.Functions {
		name := qualifiedName(f.Namespace, f.Name, namespace)
		version := "all"
		if len(f.Versions) == 1 && len(f.Aliases) == 0 {
			version = f.Versions[0].Number
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", name, version, loadCells(f.Load), f.Minute.Cold, f.Minute.Refused, medianText(f.Median))
		if version != "all" {
			continue
		}
		for _, v := range f.Versions {
			fmt.Fprintf(w, "\t%s\t%s\t\t\t\n", v.Number, loadCells(v.Load))
		}
		for _, a := range f.Aliases {
			fmt.Fprintf(w, "\t@%s\t%d\t%d\t\t\t\t\t\t\t\t\t\t\n", a.Name, a.InFlight.Now, most(a.InFlight))
		}
	}
	w.Flush()
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	if top.Left > 0 {
		lines = append(lines, fmt.Sprintf("… %d more functions", top.Left))
	}
	return lines
}

func loadCells(l native.Load) string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d", l.InFlight.Now, most(l.InFlight), l.Waiting.Now,
		l.Busy.Now, most(l.Busy), l.Idle.Now, l.Frozen.Now, l.Starting.Now, l.Provisioned.Now)
}

func medianText(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", milliseconds(d))
	case d < 10*time.Second:
		return fmt.Sprintf("%.0f ms", milliseconds(d))
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
