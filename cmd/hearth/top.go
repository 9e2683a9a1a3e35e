package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hearth/api/native"
)

const (
	usualTopInterval = time.Second
	leastTopInterval = 100 * time.Millisecond
)

func topCommand(t *terminal) *cobra.Command {
	var once bool
	var interval time.Duration
	cmd := command(&cobra.Command{
		Use:   "top",
		Short: "Watch what runs: calls in flight and instances, exactly",
		Long: `Shows the functions with most calls in flight and their instances, refreshed each
second. Values are counted, not sampled: MAX is the true maximum of this minute and
the one before, however short it was. WAIT are calls that wait for an instance, START
instances that are starting, PROV provisioned ones that are ready; COLD and REFUSED
are calls of the last 60 s, P50 the median of the last 32 handlers. QUEUED are
asynchronous invocations that wait, AGE that of the oldest; see 'hearth queues'. q or
Ctrl-C ends.

Where standard output is no terminal one table is printed. --output json prints one
document for each refresh.`,
		Example: `  hearth top
  hearth top --once
  hearth top --output json | jq -r '.functions[0].name'`,
	}, true, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		if interval < leastTopInterval {
			return usageError("--interval must be at least %s, not %s", leastTopInterval, interval)
		}
		top := &topView{client: newClient(v), namespace: v["namespace"], interval: interval}
		screen, isTerminal := t.out.(*os.File)
		isTerminal = isTerminal && term.IsTerminal(int(screen.Fd()))
		switch {
		case v["output"] == "json":
			return top.documents(cmd.Context(), t.out, once)
		case once || !isTerminal:
			return top.table(cmd.Context(), t.out)
		}
		return top.live(cmd.Context(), t.in, screen)
	})
	cmd.Flags().BoolVar(&once, "once", false, "print what there is and end")
	cmd.Flags().DurationVar(&interval, "interval", usualTopInterval, "time between two refreshes")
	return cmd
}

// topView asks a server again and again what runs.
type topView struct {
	client    *client
	namespace string
	interval  time.Duration
}

func (v *topView) fetch(ctx context.Context) (*native.Top, error) {
	out := new(native.Top)
	return out, v.client.do(ctx, http.MethodGet, "top", url.Values{}, nil, out)
}

// documents prints one JSON document a refresh, until ctx ends.
func (v *topView) documents(ctx context.Context, to io.Writer, once bool) error {
	out := json.NewEncoder(to)
	for {
		top, err := v.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // the person who watched has seen enough
		case err != nil:
			return err
		}
		if err := out.Encode(top); err != nil || once {
			return err
		}
		if !v.pause(ctx, nil) {
			return nil
		}
	}
}

func (v *topView) table(ctx context.Context, to io.Writer) error {
	top, err := v.fetch(ctx)
	if err != nil {
		return err
	}
	for _, line := range topLines(top, v.namespace, 0, 0) {
		fmt.Fprintln(to, line)
	}
	return nil
}

// Sequences that every terminal of the last decades understands (ECMA-48, xterm).
const (
	screenOpen  = "\x1b[?1049h\x1b[?25l" // a screen of our own, no cursor
	screenClose = "\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
	lineEnd     = "\x1b[K\r\n" // clear the rest of the line
	screenEnd   = "\x1b[J"     // clear the rest of the screen
)

// live shows the table on a screen of its own until q, Ctrl-C or the end of ctx,
// and leaves the terminal as it was.
func (v *topView) live(ctx context.Context, in io.Reader, screen *os.File) error {
	top, err := v.fetch(ctx)
	if err != nil {
		return err // later ones may pass
	}
	quit := make(chan struct{})
	if keyboard, ok := in.(*os.File); ok && term.IsTerminal(int(keyboard.Fd())) {
		before, err := term.MakeRaw(int(keyboard.Fd()))
		if err != nil {
			return fmt.Errorf("the terminal cannot be set up (--once prints one table): %w", err)
		}
		defer func() { _ = term.Restore(int(keyboard.Fd()), before) }()
		go watchKeys(keyboard, quit) // ends with the process: a read cannot be called off
	}
	fmt.Fprint(screen, screenOpen)
	defer fmt.Fprint(screen, screenClose)
	for ; ; top, err = v.fetch(ctx) {
		if ctx.Err() != nil {
			return nil
		}
		width, height, sizeErr := term.GetSize(int(screen.Fd()))
		if sizeErr != nil {
			width, height = 80, 24
		}
		lines := []string{}
		var refused *exitError
		switch {
		case err == nil:
			lines = topLines(top, v.namespace, width, height)
		case errors.As(err, &refused): // the server answered, and will again the same
			return err
		default:
			lines = append(lines, clip(err.Error(), width), "", "trying again; q ends")
		}
		if err := draw(screen, lines); err != nil {
			return err
		}
		if !v.pause(ctx, quit) {
			return nil
		}
	}
}

// draw replaces what is on the screen.
func draw(screen io.Writer, lines []string) error {
	out := bufio.NewWriter(screen)
	fmt.Fprint(out, screenHome)
	for i, line := range lines {
		if i > 0 {
			fmt.Fprint(out, lineEnd)
		}
		fmt.Fprint(out, line)
	}
	fmt.Fprint(out, "\x1b[K"+screenEnd)
	return out.Flush()
}

// pause waits for the next refresh; false where there is to be none.
func (v *topView) pause(ctx context.Context, quit <-chan struct{}) bool {
	timer := time.NewTimer(v.interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-quit:
		return false
	case <-ctx.Done():
		return false
	}
}

// watchKeys closes quit when one of the keys that end the view is pressed, or no
// more can come.
func watchKeys(keys io.Reader, quit chan<- struct{}) {
	defer close(quit)
	var key [1]byte
	for {
		if _, err := keys.Read(key[:]); err != nil {
			return
		}
		switch key[0] {
		case 'q', 'Q', 3, 4: // Ctrl-C, Ctrl-D: in raw mode they are keys
			return
		}
	}
}
