package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hearth/logs"
)

// maxLine bounds one line of the log stream, in bytes: a log line of 256 KiB
// whose every byte needs six in JSON, and its envelope.
const maxLine = 2 << 20

func logsCommand(t *terminal) *cobra.Command {
	var requestID, since, until, contains, qualifier string
	var follow bool
	var tail int
	cmd := command(&cobra.Command{
		Use:               "logs NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Show what a function wrote",
		Example: `  hearth logs thumbnail --since 10m
  hearth logs thumbnail --request-id 0b9c… 
  hearth logs thumbnail --follow`,
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		if err := checkNumbers(cmd.Flags(), "tail"); err != nil {
			return err
		}
		q := url.Values{"function": {args[0]}}
		for name, value := range map[string]string{
			"requestId": requestID, "since": since, "until": until, "contains": contains, "version": qualifier,
		} {
			if value != "" {
				q.Set(name, value)
			}
		}
		if follow {
			q.Set("follow", "1")
		}
		if tail > 0 {
			q.Set("tail", strconv.Itoa(tail))
		}
		response, err := newClient(v).send(cmd.Context(), http.MethodGet, "logs", q, nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		err = t.printLines(response.Body, v["output"] == "json")
		if cmd.Context().Err() != nil {
			return nil // the person who followed has seen enough
		}
		return err
	})
	flags := cmd.Flags()
	flags.StringVar(&requestID, "request-id", "", "only the lines of this invocation")
	flags.StringVar(&since, "since", "", "an age (10m) or a time (2026-01-02T15:04:05Z)")
	flags.StringVar(&until, "until", "", "likewise")
	flags.StringVar(&contains, "contains", "", "only lines with this text")
	flags.StringVar(&qualifier, "version", "", "only this version")
	flags.IntVar(&tail, "tail", 0, "only the last N lines")
	flags.BoolVarP(&follow, "follow", "f", false, "go on with new lines")
	return cmd
}

func (t *terminal) printLines(from io.Reader, raw bool) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		if raw {
			fmt.Fprintln(t.out, lines.Text())
			continue
		}
		var line logs.Line
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("the server sent a log line that cannot be read: %w", err)
		}
		printLine(t.out, line)
	}
	return lines.Err()
}

// printLine prints one line for people. Runtimes write a message of several
// lines as one, with carriage returns between: here they are lines again. Other
// control characters of the function do not reach the terminal.
func printLine(w io.Writer, line logs.Line) {
	text := strings.ReplaceAll(printable(strings.TrimRight(line.Text, "\r")), "\r", "\n    ")
	fmt.Fprintf(w, "%s %s/%.8s %s\n", line.Time.Local().Format("15:04:05.000"), line.Version, line.Instance, text)
}

// printable replaces what could move a terminal's cursor or change its state,
// but for tabs and carriage returns.
func printable(s string) string {
	clean := []rune(s)
	for i, r := range clean {
		if r < ' ' && r != '\t' && r != '\r' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			clean[i] = '·'
		}
	}
	return string(clean)
}
