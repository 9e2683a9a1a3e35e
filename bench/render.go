package bench

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hearth/bench/record"
	"hearth/bench/report"
	"hearth/bench/stage"
)

// Render writes RESULTS.md and its plots anew from the samples in raw/.
func Render(out string) error {
	records, err := record.ReadAll(filepath.Join(out, "raw"))
	if err != nil {
		return err
	}
	return results(records).Write(out)
}

// results concludes from the records, in the order of the rows.
func results(records map[string]*record.Record) *report.Report {
	r := &report.Report{}
	var whole []*record.Record
	for _, row := range rows {
		rec := records[row.name]
		if rec == nil {
			rec = &record.Record{Row: row.name, Absent: "it was not run"}
		} else {
			whole = append(whole, rec)
		}
		s := row.section(rec)
		s.Notes = append(s.Notes, rec.Notes...)
		s.Text = strings.TrimSpace(s.Text) + " " + circumstances(rec)
		switch {
		case rec.Absent != "":
			s.State = "Not measured: " + rec.Absent + "."
		case rec.Failure != "":
			s.State = "Failed: " + strings.ReplaceAll(rec.Failure, "\n", " ")
		}
		if !rec.Whole() {
			s.Plots, s.Tables = nil, nil // of a part of the rounds
		}
		r.Sections = append(r.Sections, s)
	}
	r.Facts, r.Warnings = facts(whole)
	return r
}

// circumstances says when and under what a record was made.
func circumstances(r *record.Record) string {
	if r.Started.IsZero() {
		return ""
	}
	return fmt.Sprintf("(`make bench ROWS=%s`; %s UTC, %d rounds in %v; others used up to %.0f %% of the processors.)",
		r.Row, r.Started.Format("2006-01-02 15:04"), len(r.Rests), r.Took.Round(time.Second), 100*r.Busiest())
}

// A row with others so busy beside it is marked as one not to be quoted.
const quietShare = 0.1

// facts are what the records say of machine and software, and what a reader has to
// be warned of.
func facts(records []*record.Record) (list []report.Fact, warnings []string) {
	if len(records) == 0 {
		return nil, []string{"Nothing was measured."}
	}
	software, versions, isolation := map[string]string{}, map[string]bool{}, map[string]bool{}
	var short, loud []string
	for _, r := range records {
		maps.Copy(software, r.Software)
		versions["Hearth "+r.Version] = true
		isolation[r.Isolation] = true
		if r.Short {
			short = append(short, r.Row)
		}
		if r.Busiest() > quietShare {
			loud = append(loud, r.Row)
		}
	}
	if len(short) > 0 {
		warnings = append(warnings, "A trial of the harness, too short to be quoted: "+strings.Join(short, ", ")+".")
	}
	if len(loud) > 0 {
		warnings = append(warnings, fmt.Sprintf("Not a quiet machine, others used more than %.0f %% of it before a round; not to be quoted: %s.",
			100*quietShare, strings.Join(loud, ", ")))
	}
	m := records[0].Machine
	list = append(list,
		report.Fact{Name: "machine", Value: fmt.Sprintf("%s, %d cores, %d MB; kernel %s, cgroups %s, CPU governor %s", m.CPU, m.Cores, m.MemoryMB, m.Kernel, m.Cgroups, m.Governor)},
		report.Fact{Name: "measured", Value: strings.Join(slices.Sorted(maps.Keys(versions)), ", ")},
		report.Fact{Name: "isolation of Hearth", Value: isolationText(isolation)},
		report.Fact{Name: "memory of a function", Value: fmt.Sprintf("%d MB, one CPU, where nothing else is said", memoryMB)},
		report.Fact{Name: "event", Value: "`" + string(stage.Event) + "`"})
	for _, name := range slices.Sorted(maps.Keys(software)) {
		list = append(list, report.Fact{Name: name, Value: software[name]})
	}
	return list, warnings
}

func isolationText(seen map[string]bool) string {
	if len(seen) == 1 && seen["process"] {
		return "process: namespaces (pid, mount, ipc, uts, net), own root, own user, seccomp, cgroup limits; no egress"
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ") + ": see the rows"
}

// under makes the conditions of a figure about calls that wait for their answer.
func under(r *record.Record, others string) report.Conditions {
	isolation := r.Isolation
	if isolation == "" {
		isolation = "process"
	}
	if others != "" {
		isolation += "; " + others
	}
	return report.Conditions{Isolation: isolation, Durability: "nothing stored; logs in batches, unsynced", Payload: stage.Payload()}
}
