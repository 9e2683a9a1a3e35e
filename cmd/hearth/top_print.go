package main

import (
	"fmt"
	"slices"
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
	var lines []string
	for _, line := range topHeader(top) {
		lines = append(lines, wrapFields(line, width)...)
	}
	lines = append(lines, topTable(top, namespace, width)...)
	if height > 0 && len(lines) > height {
		lines = append(lines[:height-1], fmt.Sprintf("… %d more lines", len(lines)-height+1))
	}
	for i, line := range lines {
		lines[i] = clip(line, width)
	}
	return lines
}

// wrapFields breaks a line of the header between two of its fields, where it is too
// wide for the screen.
func wrapFields(line string, width int) []string {
	name, _, _ := strings.Cut(line, "  ")
	indent := strings.Repeat(" ", len("instances  "))
	var lines []string
	for width > 0 && utf8.RuneCountInString(line) > width {
		at := strings.LastIndex(line[:min(width+1, len(line))], "  ")
		if at <= max(len(indent), len(name)) {
			break
		}
		lines = append(lines, strings.TrimRight(line[:at], " "))
		line = indent + strings.TrimLeft(line[at:], " ")
	}
	return append(lines, line)
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
	if len(top.Cells) > 0 {
		lines = append(lines, cellLine(top.Cells))
	}
	if b := top.Backlog; b.Waiting > 0 {
		lines = append(lines, fmt.Sprintf("queues     waiting %d  %s  oldest %s", b.Waiting, size(b.Bytes), ageText(b.Age)))
	}
	return append(lines, "")
}

// cellLine sums up the stem cells of all classes.
func cellLine(classes []metric.Cells) string {
	var all metric.Cells
	for _, c := range classes {
		all.Parked += c.Parked
		all.Wanted += c.Wanted
		all.Hits += c.Hits
		all.Misses += c.Misses
		all.Refills += c.Refills
		all.RefillCPU += c.RefillCPU
	}
	line := fmt.Sprintf("cells      parked %d of %d  hits %d  empty %d  refills %d", all.Parked, all.Wanted, all.Hits, all.Misses, all.Refills)
	if all.Refills > 0 {
		line += fmt.Sprintf(" (%.0f ms of CPU each)", milliseconds(all.RefillCPU)/float64(all.Refills))
	}
	return line
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

// topTable is the table of the functions. Where it is wider than the screen, columns
// in which all is 0 are left out, one after the other, until it fits.
func topTable(top *native.Top, namespace string, width int) []string {
	if len(top.Functions) == 0 {
		return []string{"nothing ran in this minute or the one before"}
	}
	rows := topRows(top, namespace)
	lines := aligned(rows)
	for _, column := range []string{"FROZEN", "PROV", "START", "WAIT", "REFUSED/m", "COLD/m", "IDLE"} {
		if width <= 0 || widest(lines) <= width {
			break
		}
		rows = withoutZeros(rows, slices.Index(rows[0], column))
		lines = aligned(rows)
	}
	if top.Left > 0 {
		lines = append(lines, fmt.Sprintf("… %d more functions", top.Left))
	}
	return lines
}

func widest(lines []string) int {
	most := 0
	for _, line := range lines {
		most = max(most, utf8.RuneCountInString(line))
	}
	return most
}

// withoutZeros leaves a column out if every number in it is 0.
func withoutZeros(rows [][]string, column int) [][]string {
	for _, row := range rows[1:] {
		if cell := row[column]; cell != "" && cell != "0" {
			return rows
		}
	}
	out := make([][]string, len(rows))
	for i, row := range rows {
		out[i] = slices.Delete(slices.Clone(row), column, column+1)
	}
	return out
}

// aligned is a table with its columns one below the other.
func aligned(rows [][]string) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

// topRows are the cells of the table; the first row has the names of the columns.
func topRows(top *native.Top, namespace string) [][]string {
	rows := [][]string{{"FUNCTION", "VERSION", "INFLIGHT", "MAX", "WAIT", "BUSY", "MAX", "IDLE", "FROZEN", "START", "PROV", "COLD/m", "REFUSED/m", "P50"}}
	queues := top.Backlog.Waiting > 0 // else the columns would say nothing
	if queues {
		rows[0] = append(rows[0], "QUEUED", "AGE")
	}
	add := func(name, version string, load []string, rest ...string) {
		rows = append(rows, append(append([]string{name, version}, load...), rest...))
	}
	for _, f := range top.Functions {
		name := qualifiedName(f.Namespace, f.Name, namespace)
		version := "all"
		if len(f.Versions) == 1 && len(f.Aliases) == 0 {
			version = f.Versions[0].Number
		}
		cells := []string{fmt.Sprint(f.Minute.Cold), fmt.Sprint(f.Minute.Refused), medianText(f.Median)}
		if queues {
			cells = append(cells, strconv.Itoa(f.Backlog.Waiting), ageText(f.Backlog.Age))
		}
		add(printable(name), version, loadCells(f.Load), cells...)
		if version != "all" {
			continue
		}
		for _, v := range f.Versions {
			add("", v.Number, loadCells(v.Load), "", "", "")
		}
		for _, alias := range f.Aliases {
			calls := make([]string, len(loadCells(native.Load{})))
			calls[0], calls[1] = strconv.Itoa(alias.InFlight.Now), strconv.Itoa(most(alias.InFlight))
			add("", "@"+alias.Name, calls, "", "", "")
		}
	}
	return rows
}

// loadCells are the columns from INFLIGHT to PROV.
func loadCells(l native.Load) []string {
	var cells []string
	for _, n := range []int{l.InFlight.Now, most(l.InFlight), l.Waiting.Now, l.Busy.Now, most(l.Busy),
		l.Idle.Now, l.Frozen.Now, l.Starting.Now, l.Provisioned.Now} {
		cells = append(cells, strconv.Itoa(n))
	}
	return cells
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
