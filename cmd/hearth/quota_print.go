package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"hearth/api/native"
	"hearth/faas"
)

// printQuotas prints the account's limits, and its functions; those outside the
// namespace have theirs before the name.
func printQuotas(t *terminal, q *native.AccountQuotas, namespace string) {
	fmt.Fprintf(t.out, "account %s  region %s\n\n", q.Account, q.Region)
	expansion := limitText(q.Limits.Expansion, faas.UnitStarts)
	if q.Limits.Expansion > 0 {
		expansion += " in any 60 s"
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIMIT\tVALUE\tIN USE\tNOT RESERVED")
	fmt.Fprintf(w, "%s\t%d MB\t%d MB\t%d MB\n", faas.LimitMemory, q.Limits.MemoryMB, q.Use.MemoryMB, q.Unreserved.MemoryMB)
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", faas.LimitExecutions, q.Limits.Executions, q.Use.Executions, q.Unreserved.Executions)
	fmt.Fprintf(w, "%s\t%s\t-\t-\n", faas.LimitFunction, limitText(q.Limits.FunctionMaximum, faas.UnitInstances))
	fmt.Fprintf(w, "%s\t%s\t%d\t-\n", faas.LimitExpansion, expansion, q.Use.Starts)
	w.Flush()
	if len(q.Functions) == 0 {
		return
	}
	fmt.Fprintln(t.out)
	w = tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FUNCTION\tIN FLIGHT\tINSTANCES\tMEMORY\tRESERVED\tMAXIMUM\tPROVISIONED")
	for _, f := range q.Functions {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d MB\t%s\t%s\t%s\n", qualifiedName(f.Namespace, f.Name, namespace), f.Use.Executions, f.Use.Instances,
			f.Use.MemoryMB, reservedText(&f), maximumText(&f), provisionedText(f.Provisioned))
	}
	w.Flush()
}

func qualifiedName(namespace, name, here string) string {
	if namespace == here {
		return name
	}
	return namespace + "/" + name
}

// limitText is a limit where 0 is none.
func limitText(n int, unit faas.Unit) string {
	if n == 0 {
		return "off"
	}
	return faas.Amount{Unit: unit, Value: n}.String()
}

func reservedText(f *native.FunctionQuotas) string {
	switch {
	case f.Reserved == nil:
		return "-"
	case f.Reserved.Value == 0:
		return "0 (switched off)"
	}
	text := f.Reserved.String()
	if g := f.Use.Guaranteed; g != nil && g.Value < f.Reserved.Value {
		text += fmt.Sprintf(" (%d guaranteed)", g.Value)
	}
	return text
}

func maximumText(f *native.FunctionQuotas) string {
	switch {
	case f.Reserved != nil:
		return "-" // the reservation is the maximum
	case f.Maximum == nil:
		return "default"
	}
	return limitText(*f.Maximum, faas.UnitInstances)
}

// provisionedText lists qualifiers with the instances that are ready of those wanted.
func provisionedText(all []native.Provisioned) string {
	var parts []string
	for _, p := range all {
		parts = append(parts, fmt.Sprintf("%s %d/%d", p.Qualifier, p.Status.Available, p.Status.Requested))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// printProvisioned prints a table, and below it the reasons, which are sentences.
func printProvisioned(t *terminal, all []native.Provisioned) {
	if len(all) == 0 {
		fmt.Fprintln(t.out, "no instances are kept ready; 'hearth quota provision --help' says how to")
		return
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FUNCTION\tQUALIFIER\tCONFIGURED\tWANTED\tALLOCATED\tAVAILABLE\tSTATUS")
	for _, p := range all {
		s := p.Status
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", p.Function, p.Qualifier, configuredText(&p), s.Requested, s.Allocated, s.Available, s.State)
	}
	w.Flush()
	for _, p := range all {
		if p.Status.Reason != "" {
			fmt.Fprintf(t.out, "\n%s\n", wrap(fmt.Sprintf("%s:%s: %s", p.Function, p.Qualifier, p.Status.Reason), textWidth))
		}
	}
}

// configuredText is what was asked for, with the rules that change it.
func configuredText(p *native.Provisioned) string {
	var parts []string
	if p.Amount.Value > 0 {
		parts = append(parts, p.Amount.String())
	}
	if k := p.Tracking; k != nil {
		parts = append(parts, fmt.Sprintf("tracking %g in %d..%d", k.Target, k.Min, k.Max))
	}
	for _, s := range p.Schedules {
		parts = append(parts, "schedule "+s.Name)
	}
	return strings.Join(parts, ", ")
}
