package cwlogs

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"hearth/faas"
	"hearth/logs"
)

const (
	// scanLines bounds how many lines one request looks at; then it answers with what
	// it has, and a token.
	scanLines = 500_000
	// scanTime bounds for how long it looks.
	scanTime = 5 * time.Second
	// maxStreams is how many streams may be named.
	maxStreams = 100
)

type filterInput struct {
	LogGroupName        *string  `json:"logGroupName"`
	LogGroupIdentifier  *string  `json:"logGroupIdentifier"`
	LogStreamNames      []string `json:"logStreamNames"`
	LogStreamNamePrefix *string  `json:"logStreamNamePrefix"`
	StartTime           *int64   `json:"startTime"`
	EndTime             *int64   `json:"endTime"`
	FilterPattern       *string  `json:"filterPattern"`
	NextToken           *string  `json:"nextToken"`
	Limit               *int     `json:"limit"`
}

type filteredOut struct {
	LogStreamName string `json:"logStreamName"`
	Timestamp     int64  `json:"timestamp"`
	Message       string `json:"message"`
	IngestionTime int64  `json:"ingestionTime"`
	EventID       string `json:"eventId"`
}

type filterOutput struct {
	Events []filteredOut `json:"events"`
	// SearchedLogStreams is always empty, as it has been since 2019.
	SearchedLogStreams []struct{} `json:"searchedLogStreams"`
	NextToken          string     `json:"nextToken,omitempty"`
}

func (h *Handler) filterLogEvents(c *call, in *filterInput) (any, error) {
	group, err := c.groupNamed(in.LogGroupName, in.LogGroupIdentifier, "")
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(in.Limit, maxEvents, maxEvents)
	if err != nil {
		return nil, err
	}
	pattern, err := parsePattern(value(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	if in.LogStreamNamePrefix != nil && len(in.LogStreamNames) > 0 {
		return nil, invalid("logStreamNamePrefix and logStreamNames are mutually exclusive parameters.")
	}
	if len(in.LogStreamNames) > maxStreams {
		return nil, invalid("1 validation error detected: Value at 'logStreamNames' failed to satisfy constraint: Member must have length less than or equal to %d", maxStreams)
	}
	ids, err := h.functionsOf(c, group)
	if err != nil {
		return nil, err
	}
	f := &search{h: h, c: c, ids: ids, in: in, pattern: pattern, limit: limit, names: map[[3]string]string{}}
	if err := f.nameStreams(); err != nil {
		return nil, err
	}
	return f.run()
}

// search is one FilterLogEvents on its way through the lines of a group.
type search struct {
	h       *Handler
	c       *call
	ids     []faas.FunctionID
	in      *filterInput
	pattern pattern
	limit   int
	names   map[[3]string]string // of streams, by function, version and instance
	out     filterOutput
	size    int // of the messages
	looked  int // at lines
}

func (f *search) nameStreams() error {
	for _, id := range f.ids {
		writers, err := f.h.logs.Writers(f.c.ctx, id)
		if err != nil {
			return err
		}
		for _, w := range writers {
			f.names[[3]string{id.Name, w.Version, w.Instance}] = streamName(w)
		}
	}
	for _, name := range f.in.LogStreamNames {
		if _, _, ok := instanceOf(name); !ok || !f.known(name) {
			return &apiError{"ResourceNotFoundException", "The specified log stream does not exist."}
		}
	}
	return nil
}

func (f *search) known(name string) bool {
	for _, have := range f.names {
		if have == name {
			return true
		}
	}
	return false
}

// run goes through the lines in the order of time, from the token's position on.
func (f *search) run() (any, error) {
	from := position{at: nanos(millis(f.in.StartTime))}
	if token := value(f.in.NextToken); token != "" {
		var err error
		if from, err = parsePosition(token); err != nil {
			return nil, err
		}
	}
	f.out.Events, f.out.SearchedLogStreams = []filteredOut{}, []struct{}{}
	began := f.h.now()
	for {
		lines, end, err := f.page(from)
		if err != nil {
			return nil, err
		}
		for i := range lines {
			if f.full(&lines[i]) {
				f.out.NextToken = from.String()
				return f.out, nil
			}
			if at := lines[i].Time.UnixNano(); at == from.at {
				from.skip++
			} else {
				from = position{at, 1}
			}
			f.take(&lines[i], from)
		}
		switch {
		case end == allRead:
			return f.out, nil
		case len(lines) == 0: // all before it was taken
			from = position{at: end}
		}
		if f.looked += len(lines); f.looked >= scanLines || f.h.now().Sub(began) > scanTime {
			f.out.NextToken = from.String()
			return f.out, nil
		}
	}
}

// allRead is where a page ends that has all lines.
const allRead int64 = -1

// page returns the next lines of all functions in order, and the instant from which
// on there are more. Each function gives a page's worth; beyond the earliest end of
// such a page others might come first, so nothing is taken from there.
func (f *search) page(from position) (all []logs.Line, end int64, err error) {
	q := logs.Query{Since: from.time(), Limit: maxEvents}
	if f.in.EndTime != nil {
		q.Until = millis(f.in.EndTime).Add(time.Millisecond) // included, here
	}
	if len(f.ids) == 1 {
		q.Function, q.Skip = f.ids[0], from.skip
		lines, err := f.h.logs.Find(f.c.ctx, q)
		if len(lines) > 0 && endsEarly(lines) {
			return lines, lines[len(lines)-1].Time.UnixNano(), err
		}
		return lines, allRead, err
	}
	end = allRead
	for _, id := range f.ids {
		q.Function = id
		lines, more, err := f.findOver(q)
		if err != nil {
			return nil, 0, err
		}
		if last := lines[max(0, len(lines)-1):]; more && (end == allRead || last[0].Time.UnixNano() < end) {
			end = last[0].Time.UnixNano()
		}
		all = append(all, lines...)
	}
	slices.SortStableFunc(all, func(a, b logs.Line) int { return a.Time.Compare(b.Time) })
	if end != allRead {
		all = all[:slices.IndexFunc(all, func(l logs.Line) bool { return l.Time.UnixNano() >= end })]
	}
	return all[min(from.skip, len(all)):], end, nil
}

// findOver is Find, and tells whether there may be more lines; where one instant
// fills the page, it reads on until that is over.
func (f *search) findOver(q logs.Query) (lines []logs.Line, more bool, err error) {
	for {
		q.Skip = len(lines)
		next, err := f.h.logs.Find(f.c.ctx, q)
		lines = append(lines, next...)
		if err != nil || !endsEarly(next) {
			return lines, false, err
		}
		if !lines[len(lines)-1].Time.Equal(lines[0].Time) {
			return lines, true, nil
		}
	}
}

// endsEarly reports whether lines may be cut off by a bound of the store: its number
// of lines, or its bytes, of which a line has 256 KiB at most.
func endsEarly(lines []logs.Line) bool {
	size := 0
	for i := range lines {
		size += len(lines[i].Text)
	}
	return len(lines) >= maxEvents || size > 15<<20
}

// full reports whether the answer has no room for a line.
func (f *search) full(line *logs.Line) bool {
	n := len(f.out.Events)
	return n >= f.limit || n > 0 && f.size+len(line.Text)+eventCost > maxAnswer
}

func (f *search) take(line *logs.Line, at position) {
	name := f.names[[3]string{line.Function.Name, line.Version, line.Instance}]
	if name == "" { // it began to write just now
		name = streamName(logs.Writer{Version: line.Version, Instance: line.Instance, First: line.Time})
	}
	if len(f.in.LogStreamNames) > 0 && !slices.Contains(f.in.LogStreamNames, name) ||
		!strings.HasPrefix(name, value(f.in.LogStreamNamePrefix)) || !f.pattern.matches(line.Text) {
		return
	}
	f.size += len(line.Text) + eventCost
	ms := line.Time.UnixMilli()
	f.out.Events = append(f.out.Events, filteredOut{name, ms, message(*line), ms, eventID(line, at)})
}

// eventID is a number that stays this line's: its time, where it came from, and which
// of the instant's lines it is.
func eventID(line *logs.Line, at position) string {
	sum := fnv.New32a()
	fmt.Fprint(sum, line.Function.Name, "/", line.Instance, "/", line.Text)
	return fmt.Sprintf("%020d%020d%016d", at.at, sum.Sum32(), at.skip)
}
