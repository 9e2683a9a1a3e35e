package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
)

func explainCommand(t *terminal) *cobra.Command {
	var function string
	cmd := command(&cobra.Command{
		Use:               "explain REQUEST_ID",
		ValidArgsFunction: cobra.NoFileCompletions,
		Short:             "Say where the time of a call went, why it was cold, or what refused it",
		Long: `Says of any call where its time went, whether it was cold and why, or which limit
refused it, with the limit's value, what was in use of it and how to raise it. The
request id is in the answer of every call (x-amzn-RequestId, 'hearth invoke
--timeline', 'hearth describe') and in the log.

The last calls are explained from memory, older ones from their REPORT line for as
long as the log is kept.`,
		Example: `  hearth explain 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4
  hearth explain 753b6992-b3e3-44b4-b2d4-f1ead4e6f5a4 --function thumbnail --output json`,
	}, true, names(1, "one REQUEST_ID"), func(cmd *cobra.Command, args []string, v values) error {
		q := url.Values{}
		if function != "" {
			q.Set("function", function)
		}
		var e native.Explanation
		if err := newClient(v).do(cmd.Context(), http.MethodGet, "invocations/"+url.PathEscape(args[0]), q, nil, &e); err != nil {
			return err
		}
		return t.show(v, e, func() { printExplanation(t, &e, v["namespace"]) })
	})
	cmd.Flags().StringVar(&function, "function", "", "look only into this function's log, which is faster")
	completeFlag(cmd, "function", func(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeFunctions(cmd, nil, prefix)
	})
	return cmd
}

func printExplanation(t *terminal, e *native.Explanation, namespace string) {
	id := e.Version.Function
	name := strings.TrimSuffix(qualifiedName(id.Namespace, id.Name, namespace)+":"+e.Version.Number, ":")
	if e.Qualifier != "" && e.Qualifier != e.Version.Number {
		name += " (" + e.Qualifier + ")"
	}
	outcome := e.Status
	if e.Event != nil {
		outcome = statusText(e.Event, time.Now())
	}
	if e.ErrorType != "" {
		outcome += " (" + printable(e.ErrorType) + ")"
	}
	fmt.Fprintf(t.out, "%s  %s  %s\n%s\n\n", name, e.Began.Local().Format(time.DateTime), outcome, wrap(e.Why, textWidth))
	if e.Event != nil {
		fmt.Fprintf(t.out, "'hearth events show %s' lists its attempts\n\n", e.RequestID)
	}
	switch {
	case e.Source == native.SourceHistory: // no timeline
		return
	case e.Instance == "": // no part but the wait
		fmt.Fprintf(t.out, "answered after %.3f ms\n", milliseconds(e.Timeline.Queue))
		return
	}
	printTimeline(t.out, &e.Report)
	for _, note := range notes(&e.Report) {
		fmt.Fprintln(t.out, wrap(note, textWidth))
	}
}

// textWidth is how wide sentences are printed, in characters.
const textWidth = 100

// notes says what could make a call faster, where its timeline shows it.
func notes(r *faas.Report) []string {
	parts := r.Timeline
	start := parts.Sandbox + parts.Runtime + parts.Code + parts.Init
	if r.Start == faas.StartCold && start > 0 && parts.Init*2 > start && parts.Init > 100*time.Millisecond {
		return []string{"\nMost of the start is init: the code outside the handler. More memory gives it more CPU; 'hearth quota provision' keeps instances that have done it."}
	}
	return nil
}

// wrap breaks a text into lines at spaces.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Split(printable(text), " ") {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
