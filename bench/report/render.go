package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const intro = `Written by ` + "`make bench`" + `; do not edit.

**Read this first.** The client and all servers share the processors of one machine, unpinned, over loopback. A *bare
server* is the same handler file behind the plainest HTTP server of its language (` + "`bench/peers`" + `): one process, no isolation, no
time limit, no logs: the lower bound, not a rival. Hearth is called through the Lambda API. A number is the median
over the rounds, with the smallest and the largest round in parentheses; sides are measured one right after the other within a
round, in changing order, and differences and ratios are taken within a round. Every answer was checked. Latency counts at the client; in an
open loop from the scheduled time. *Reached* looks at the median.
`

// Markdown returns the text of RESULTS.md.
func (r *Report) Markdown() string {
	var b strings.Builder
	b.WriteString("# Results\n\n" + intro + "\n")
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "**%s**\n\n", w)
	}
	facts := Table{Head: []string{"what", "is"}}
	for _, f := range r.Facts {
		facts.Add(f.Name, f.Value)
	}
	facts.write(&b)
	t := r.Tally()
	fmt.Fprintf(&b, "## What was to be reached\n\nOf %d figures with a goal: %d reach the aim too, %d the must only, %d neither, %d were not measured.\n\n",
		t[Aim]+t[Must]+t[Missed]+t[Unmeasured], t[Aim], t[Must], t[Missed], t[Unmeasured])
	var all []Figure
	for _, s := range r.Sections {
		for _, f := range s.Figures {
			if f.Goal != nil {
				all = append(all, f)
			}
		}
	}
	figures(all).write(&b)
	for _, s := range r.Sections {
		s.write(&b)
	}
	return b.String()
}

func (s Section) write(b *strings.Builder) {
	fmt.Fprintf(b, "## %s\n\n%s\n\n", s.Title, strings.TrimSpace(s.Text))
	if s.State != "" {
		fmt.Fprintf(b, "**%s**\n\n", strings.TrimSpace(s.State))
	}
	for _, note := range s.Notes {
		fmt.Fprintf(b, "- %s\n", strings.ReplaceAll(strings.TrimSpace(note), "\n", " "))
	}
	if len(s.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, p := range s.Plots {
		fmt.Fprintf(b, "![%s](%s)\n\n", p.Title, p.File)
	}
	var shown []Figure // those with a goal are in the first table
	for _, f := range s.Figures {
		if f.Goal == nil {
			shown = append(shown, f)
		}
	}
	figures(shown).write(b)
	for _, t := range s.Tables {
		t.write(b)
	}
}

// figures makes the table of figures: what each holds under stands beside it.
func figures(list []Figure) *Table {
	t := &Table{Head: []string{"what", "measured", "must", "aim", "reached", "samples", "isolation", "durability", "payload"}}
	for _, f := range list {
		must, aim := "", ""
		if f.Goal != nil {
			must, aim = f.bound(f.Goal.Must), f.bound(f.Goal.Aim)
		}
		what := f.What
		if f.Unit.Name != "" {
			what += ", " + f.Unit.Name
		}
		t.Add(what, f.Unit.Spread(f.Value), must, aim, f.Verdict().String(), fmt.Sprint(f.N), f.Isolation, f.Durability, f.Payload)
	}
	return t
}

func (t *Table) write(b *strings.Builder) {
	if len(t.Rows) == 0 {
		return
	}
	if t.Caption != "" {
		fmt.Fprintf(b, "%s\n\n", t.Caption)
	}
	line := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			fmt.Fprintf(b, " %s |", strings.ReplaceAll(c, "|", "\\|"))
		}
		b.WriteString("\n")
	}
	line(t.Head)
	b.WriteString("|" + strings.Repeat("---|", len(t.Head)) + "\n")
	for _, row := range t.Rows {
		line(row)
	}
	b.WriteString("\n")
}

// Write writes RESULTS.md and the plots into a directory, each whole or not at all.
func (r *Report) Write(dir string) error {
	files := map[string]string{"RESULTS.md": strings.TrimRight(r.Markdown(), "\n") + "\n"}
	for _, s := range r.Sections {
		for _, p := range s.Plots {
			files[p.File] = p.SVG()
		}
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
